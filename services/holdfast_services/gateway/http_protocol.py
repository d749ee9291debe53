"""HTTP/1.1 by the server library, with bounds that it does not set itself: on the size and the time of a head, and on
all that is no body. The parser below it collects a header or trailer until its line ends, however long that takes.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from holdfast_services.gateway.together import Together

__all__ = ["BoundedHttp"]

_MAX_HEAD_BYTES: Final = 80 * 1024
"""Request line and headers. Above what the gateway forwards, so that usual excess gets a proper problem."""
_HEADER_BYTES: Final = 32
"""What a header counts for besides its own bytes, as in RFC 9113, 6.5.2: an empty one costs memory as well."""
_MAX_OVERHEAD_BYTES: Final = 128 * 1024
"""Received and neither body nor a complete head: half a head, chunk extensions, trailers."""
_BODY_PAYS_FOR: Final = 16
"""Bytes of chunk framing that a byte of body stands for: chunks of one byte take six."""
_HEAD_S: Final = 30.0
"""From the connection, or from the end of the previous answer, a head must be complete once it has begun."""


class BoundedHttp(HttpToolsProtocol):
    """Closes connections whose head is too large or too slow."""

    _head_bytes = 0
    _hosts = 0
    _head_complete = False
    _overhead_bytes = 0
    _head_since: float | None = None
    """When the head began that is not complete; on the loop's clock."""
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(Together(transport, self.loop))  # type: ignore[arg-type]
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._overhead_bytes += len(data)
        super().data_received(data)
        if self._overhead_bytes > _MAX_OVERHEAD_BYTES and not self.transport.is_closing():
            self.transport.close()

    def on_message_begin(self) -> None:
        self._head_bytes = self._hosts = 0
        self._head_complete = False
        if self._head_since is None:
            self._start_head_timer()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + _HEADER_BYTES)
        if len(name) == 4 and name.lower() == b"host":
            self._hosts += 1
            if self._hosts > 1:
                # RFC 9112, 3.2: a proxy before us may have read the other.
                raise ValueError("two Host headers")
        if not self._head_complete:  # a trailer must not become a header, which has been judged already
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._head_since = None
        self._overhead_bytes = 0
        self._head_complete = True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._overhead_bytes = max(0, self._overhead_bytes - _BODY_PAYS_FOR * len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._overhead_bytes = 0
        super().on_message_complete()

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > _MAX_HEAD_BYTES:
            # Inside a parser callback an exception becomes a parser error: 400, and the connection closes.
            raise ValueError("request head too large")

    def _start_head_timer(self) -> None:
        self._head_since = self.loop.time()
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(_HEAD_S, self._look_at_head)

    def _look_at_head(self) -> None:
        """One timer for many heads: almost every head is complete at once, and a timer for each costs more than it."""
        self._head_timer = None
        if self._head_since is None:
            return
        left_s = self._head_since + _HEAD_S - self.loop.time()
        if left_s > 0:
            self._head_timer = self.loop.call_later(left_s, self._look_at_head)
        elif not self.transport.is_closing():
            self.transport.close()
