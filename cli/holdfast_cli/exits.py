"""What the command's exit code says. Scripts may rely on these numbers."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Every exit code of `holdfast`."""

    OK = 0
    """It worked."""
    FAILED = 1
    """It did not work, for a reason that no other code names; the message says which."""
    USAGE = 2
    """The command line is wrong: an unknown option, a missing argument, a value of the wrong shape."""
    NOT_UP = 3
    """The sandbox, or what was asked about, is there but not running."""
    NOT_FOUND = 4
    """The endpoint, request or template does not exist."""
    NOT_ALLOWED = 5
    """No token, a wrong one, or another endpoint's."""
    REFUSED = 6
    """The gateway refused the request itself: malformed, too large, a key used twice."""
    BUSY = 7
    """Queue full, rate limited or unavailable, after all retries: try again later."""
    TIMEOUT = 8
    """No answer within the time allowed."""
    MODEL = 9
    """The model answered, with an error of its own."""
    UNREACHABLE = 10
    """The gateway cannot be reached."""
    CANCELED = 11
    """The request was canceled before it had a result."""
    EXISTS = 12
    """What was to be made is there already; nothing was changed."""
    INTERRUPTED = 130
    """Ctrl-C."""


MEANINGS: dict[Exit, str] = {
    Exit.OK: "it worked",
    Exit.FAILED: "it did not work; the message says why",
    Exit.USAGE: "the command line is wrong",
    Exit.NOT_UP: "the sandbox (or what was asked about) is not running",
    Exit.NOT_FOUND: "no such endpoint, request or template",
    Exit.NOT_ALLOWED: "no token, a wrong one, or another endpoint's",
    Exit.REFUSED: "the gateway refused the request as malformed, too large or a key used twice",
    Exit.BUSY: "queue full, rate limited or unavailable, after all retries",
    Exit.TIMEOUT: "no answer within the time allowed",
    Exit.MODEL: "the model answered with an error of its own",
    Exit.UNREACHABLE: "the gateway cannot be reached",
    Exit.CANCELED: "the request was canceled before it had a result",
    Exit.EXISTS: "what was to be made is there already; nothing was changed",
    Exit.INTERRUPTED: "interrupted with Ctrl-C",
}
"""One line each, for the help and the reference page."""
