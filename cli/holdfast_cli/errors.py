"""An error that a person reads: what went wrong, and what to do next."""

from __future__ import annotations

from holdfast_cli.exits import Exit


class CommandError(Exception):
    """Ends the command with a message and an exit code, without a traceback.

    `message`: what is wrong, with path and value. `remedy`: what to do next, a sentence or a command.
    """

    def __init__(self, message: str, remedy: str = "", exit_code: Exit = Exit.FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.exit_code = exit_code
