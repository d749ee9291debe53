"""Structured logs: one JSON object a line on standard output.

Every line has `time` (Unix seconds), `level`, `service`, `event`, and whatever fields the caller gives, among
them `request_id` and `endpoint` wherever a request is meant. Values of headers, tokens and bodies are never
fields.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import logging
import sys
import time
from typing import Any, Final, TextIO

__all__ = ["Log", "configure"]

_ROOT: Final = "holdfast"
_encode: Final = json.JSONEncoder(default=str, separators=(",", ":")).encode


class _Lines:
    """Writes the lines of one turn of the event loop at once; a warning or worse at once, with all before it.

    A `LogRecord`, a handler and a system call for each line were 7 % of a busy gateway's processor time.
    """

    def __init__(self, service: str, out: TextIO) -> None:
        self._service = service
        self._out = out
        self._pending: list[str] = []

    def add(self, level: int, event: str, fields: dict[str, object]) -> None:
        """One event."""
        line = {
            "time": round(time.time(), 6),
            "level": logging.getLevelName(level).lower(),
            "service": self._service,
            "event": event,
            **fields,
        }
        self._pending.append(_encode(line) + "\n")
        if level >= logging.WARNING:
            self.flush()
        elif len(self._pending) == 1:
            try:
                asyncio.get_running_loop().call_soon(self.flush)
            except RuntimeError:  # no loop runs: nobody would come back to it
                self.flush()

    def flush(self) -> None:
        """Write what is pending."""
        if self._pending:
            text = "".join(self._pending)
            self._pending.clear()
            self._out.write(text)
            self._out.flush()


_lines: _Lines | None = None
"""Where lines go once `configure` was called; until then, as in tests, to the standard library's logging."""


class _JsonLines(logging.Formatter):
    """A record as one line of JSON."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": round(record.created, 6),
            "level": record.levelname.lower(),
            "service": self._service,
            "event": record.getMessage(),
        }
        line.update(getattr(record, "fields", {}))
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = repr(record.exc_info[1])
            line["trace"] = self.formatException(record.exc_info)
        return _encode(line)


class Log:
    """Writes events of one part of a service."""

    __slots__ = ("_logger",)

    def __init__(self, part: str) -> None:
        self._logger = logging.getLogger(f"{_ROOT}.{part}")

    def debug(self, event: str, /, **fields: object) -> None:
        """For people who look for a fault."""
        self._write(logging.DEBUG, event, fields)

    def info(self, event: str, /, **fields: object) -> None:
        """What happens in the normal course."""
        self._write(logging.INFO, event, fields)

    def warning(self, event: str, /, **fields: object) -> None:
        """Somebody may have to do something."""
        self._write(logging.WARNING, event, fields)

    def error(self, event: str, /, *, trace: BaseException | None = None, **fields: object) -> None:
        """Something of ours failed. `trace` is written with its stack."""
        if self._logger.isEnabledFor(logging.ERROR):
            if _lines is not None:
                _lines.flush()
            info = (type(trace), trace, trace.__traceback__) if trace is not None else None
            self._logger.error(event, extra={"fields": fields}, exc_info=info)

    def _write(self, level: int, event: str, fields: dict[str, object]) -> None:
        if not self._logger.isEnabledFor(level):
            return
        if _lines is not None:
            _lines.add(level, event, fields)
        else:
            self._logger.log(level, event, extra={"fields": fields})


class _NotOurOwnAborts(logging.Filter):
    """Drops the server library's complaint about answers that we break off on purpose.

    Ending an ASGI call before its answer is complete is how a connection is aborted, so that a client sees a
    broken transfer instead of a clean end.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        return "without completing response" not in str(record.msg)


def configure(service: str, level: str = "info") -> None:
    """Send all logs to standard output as JSON lines. `level`: debug, info, warning or error.

    Raises ValueError for another level.
    """
    global _lines
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"log level is {level!r}, not one of debug, info, warning, error: use one of these")
    # What our lines do not show is not looked up for each of them (measured: 4 % of a busy gateway's time).
    logging.logProcesses = logging.logThreads = logging.logMultiprocessing = False
    _lines = _Lines(service, sys.stdout)
    atexit.register(_lines.flush)
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_JsonLines(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(_ROOT).setLevel(number)
    logging.getLogger("uvicorn.error").addFilter(_NotOurOwnAborts())
    logging.Formatter.converter = time.gmtime
