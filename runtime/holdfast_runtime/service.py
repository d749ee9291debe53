"""The class that an author writes, and what its code may ask while it works."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from typing import Any, ClassVar, Final


class Service:
    """One model with its routes. Subclass it in `service.py`; the class must be constructible without arguments.

    `setup` runs once before anything is served. `infer` is the route `/infer` and `/`; every further public method
    is a route of its name. Parameters and answers are read from annotations. A method may be `async`; one that is
    not runs in a thread: with concurrency 1 always the same one, the one that ran `setup`. A generator streams.
    """

    concurrency: ClassVar[int] = 1
    """Calls that run at a time; further ones wait in the order of their arrival. An endpoint's
    `scaling.concurrency` must not be above it."""
    hung_after_s: ClassVar[float] = 900
    """Seconds without progress (an answer, or an item of a stream) after which a call counts as hung: the health
    check then answers 503 and the replica is restarted. 900 by default: an endpoint's `max_request_s`."""
    max_body_bytes: ClassVar[int] = 256 * 1024 * 1024
    """The largest request body; 256 MiB by default, as the gateway's. More is answered 413."""

    def setup(self) -> Any:
        """Load the model. May be `async`. What it raises ends the process, with the reason in the log."""

    def teardown(self) -> Any:
        """Called once when the process stops, after the last call has ended; not where one hangs. May be `async`."""


RESERVED: Final = frozenset({"setup", "teardown", "healthcheck", "openapi"})
"""Public names of a service that are no routes of its own."""

_SIGNAL: ContextVar[threading.Event | None] = ContextVar("holdfast_cancelled", default=None)


class Cancelled(BaseException):
    """Raised by `check_cancelled`: the caller has gone. Not an `Exception`, so that `except Exception` lets it by."""


def cancelled() -> bool:
    """Whether the request that this code works on was cancelled or its caller has gone; False outside of a call.

    Code in a thread cannot be interrupted: ask between steps. `async` code is cancelled as any asyncio task.
    """
    signal = _SIGNAL.get()
    return signal is not None and signal.is_set()


def check_cancelled() -> None:
    """Raise `Cancelled` where `cancelled()`: the shortest way out of a loop."""
    if cancelled():
        raise Cancelled


def bind_signal(signal: threading.Event) -> None:
    """Make `cancelled()` in this context tell what `signal` says."""
    _SIGNAL.set(signal)
