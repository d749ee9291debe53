"""HTTP/1.1 by the server library, with two bounds that it does not set itself: header bytes and header time."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["BoundedHttp"]

_MAX_HEAD_BYTES: Final = 80 * 1024
"""Request line and headers. Above what the gateway forwards, so that usual excess gets a proper problem."""
_HEAD_S: Final = 30.0
"""From the connection, or from the end of the previous answer, a head must be complete once it has begun."""


class BoundedHttp(HttpToolsProtocol):
    """Closes connections whose head is too large or too slow."""

    _head_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._head_bytes = 0
        if self._head_timer is None:
            self._start_head_timer()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._stop_head_timer()
        super().on_headers_complete()

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > _MAX_HEAD_BYTES:
            # Inside a parser callback an exception becomes a parser error: 400, and the connection closes.
            raise ValueError("request head too large")

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(_HEAD_S, self._head_too_slow)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_too_slow(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.close()
