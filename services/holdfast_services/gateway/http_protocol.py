"""HTTP/1.1 by the server library, with bounds that it does not set itself: on the size and the time of a head, and on
all that is no body. The parser below it collects a header or trailer until its line ends, however long that takes.

An answer may come before its request has ended. To close then with bytes unread would reset the connection, and the
reset overtakes the answer: the rest of the body is read and thrown away first, within bounds of its own.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from holdfast_services.gateway.connections import Connections
from holdfast_services.gateway.together import Together

__all__ = ["FULL", "BoundedHttp"]

FULL: Final = "holdfast.full"
"""In a request's `state`: as many connections are at work as may be, and it is to be refused."""

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
_REST_S: Final = 30.0
"""How long the rest of a body is read after its answer."""
_REST_SILENT_S: Final = 5.0
"""The connection closes when nothing of the rest came for this long, or twice as long at most."""
_REST_BYTES: Final = 256 * 1024 * 1024
"""Most of the rest of a body that is read after its answer."""


class BoundedHttp(HttpToolsProtocol):
    """Closes connections whose head is too large or too slow, or whose body goes on for too long after its answer, and
    idle ones where there are too many."""

    def __init__(self, connections: Connections, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._connections = connections

    _head_bytes = 0
    _hosts = 0
    _head_complete = False
    _overhead_bytes = 0
    _head_since: float | None = None
    """When the head began that is not complete; on the loop's clock."""
    _head_timer: asyncio.TimerHandle | None = None
    _rest_timer: asyncio.TimerHandle | None = None
    """Runs while the rest of a body is read after its answer."""
    _rest_bytes = 0
    _rest_until = 0.0
    """On the loop's clock."""
    _closes = False
    """Whether the connection closes after that rest."""

    def connection_made(self, transport: Any) -> None:
        self._together = Together(transport, self.loop, self._lingers)
        super().connection_made(self._together)  # type: ignore[arg-type]
        self._start_head_timer()
        self._connections.arrive(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
        if self._rest_timer is not None:
            self._rest_timer.cancel()
        self._connections.depart(self)
        super().connection_lost(exc)
        self._together.lost()

    def leave(self) -> bool:
        """See Leaving. Aborted: who is to be got rid of must not hold it open by not taking part in TLS's goodbye."""
        if self.transport.get_write_buffer_size():
            return False
        self.transport.abort()
        return True

    def data_received(self, data: bytes) -> None:
        self._overhead_bytes += len(data)
        self._rest_bytes += len(data)
        super().data_received(data)
        if self._overhead_bytes > _MAX_OVERHEAD_BYTES and not self.transport.is_closing():
            self.transport.close()
        if self._rest_timer is not None and self._rest_bytes > _REST_BYTES:
            self.transport.close()

    def on_message_begin(self) -> None:
        # The rest of a body may have ended in the same piece.
        self._unset_keepalive_if_required()
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
        if self._closes:
            return  # what comes after the last request of a connection must not be executed
        if not self._connections.work(self):
            self.scope["state"][FULL] = True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._overhead_bytes = max(0, self._overhead_bytes - _BODY_PAYS_FOR * len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._overhead_bytes = 0
        super().on_message_complete()
        if self._rest_timer is not None:
            self._end_rest()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing() or not self.cycle.response_complete:
            return
        self._connections.rest(self, proven=not self.cycle.more_body)
        if self.cycle.more_body:
            self._rest_bytes, self._rest_until = 0, self.loop.time() + _REST_S
            self._rest_timer = self.loop.call_later(_REST_SILENT_S, self._look_at_rest, 0)

    def _answered_early(self) -> bool:
        cycle = self.cycle
        return cycle is not None and cycle.response_complete and cycle.more_body

    def _lingers(self) -> bool:
        """Whether the connection that is to be closed after an answer waits for the rest of the body."""
        if self._rest_timer is not None or not self._answered_early():
            return False
        self._closes = True
        return True

    def _look_at_rest(self, seen_bytes: int) -> None:
        if self._rest_bytes == seen_bytes or self.loop.time() >= self._rest_until:
            self.transport.close()
        else:
            self._rest_timer = self.loop.call_later(_REST_SILENT_S, self._look_at_rest, self._rest_bytes)

    def _end_rest(self) -> None:
        assert self._rest_timer is not None
        self._rest_timer.cancel()
        self._rest_timer = None
        self.cycle.more_body = False
        if self._closes:
            self.transport.close()
        else:
            self._connections.rest(self, proven=True)
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

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
