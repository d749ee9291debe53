"""Connections to servers that are not ours, such as a model or a webhook's receiver: what they send besides bodies is
bounded.

aiohttp bounds every header and their number. It bounds neither interim answers (`103 Early Hints`), which it reads and
forgets without ever leaving the processor to anybody else, nor what stands between the pieces of a chunked body.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, Final

from aiohttp import TCPConnector
from aiohttp.client_proto import ResponseHandler

__all__ = ["MAX_OVERHEAD_BYTES", "BoundedConnector"]

MAX_OVERHEAD_BYTES: Final = 256 * 1024
"""Received of one answer, and not its body. Heads that are passed on may have a quarter of it."""
_BODY_PAYS_FOR: Final = 16
"""Bytes of chunk framing that a byte of body stands for: chunks of one byte take six."""


class _BoundedAnswer(ResponseHandler):
    """Closes the connection above the bound: the request fails as if the server had gone away."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._received_bytes = 0
        self._earlier: Any = None

    def set_response_params(self, **params: Any) -> None:
        """Called before every request."""
        self._received_bytes = 0
        self._earlier = self._payload
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        super().data_received(data)
        self._received_bytes += len(data)
        if self._received_bytes <= MAX_OVERHEAD_BYTES:
            return
        payload = self._payload
        body_bytes = payload.total_bytes if payload is not None and payload is not self._earlier else 0
        overhead_bytes = self._received_bytes - _BODY_PAYS_FOR * body_bytes
        if overhead_bytes > MAX_OVERHEAD_BYTES and self.transport is not None:
            self.transport.close()


class BoundedConnector(TCPConnector):
    """As aiohttp's."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory = partial(_BoundedAnswer, loop=self._loop)  # type: ignore[assignment]  # a subclass
