"""Whole answers to gateways over kept connections: one write and one short receipt each.

Every answer of a quick model goes this way. A general HTTP client spends a sixth of the worker's processor time on
it; the other end is our own gateway, whose receipts are a status and nothing else.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, cast

import httptools

from holdfast_contract import names

__all__ = ["Line", "Lines"]

_CONNECT_S: Final = 3.0
_MAX_RECEIPT_BYTES: Final = 16 * 1024
_KEEP_S: Final = 30.0
"""Shorter than the gateway keeps an idle connection, so that none is closed just as it is used."""


class Line(asyncio.Protocol):
    """One connection; one answer at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._receipt: asyncio.Future[int] | None = None
        self._received = 0
        self.used_at = 0.0
        """When its last answer was received, on the loop's clock."""

    @property
    def usable(self) -> bool:
        """Whether another answer may be sent."""
        return self._transport is not None and not self._transport.is_closing()

    async def send(self, request: bytes) -> int:
        """The status of the receipt. Raises OSError where the connection breaks before there is one."""
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError("the connection is closed")
        self._receipt = asyncio.get_running_loop().create_future()
        self._received = 0
        self._transport.write(request)
        try:
            return await self._receipt
        except asyncio.CancelledError:
            self.close()  # a receipt that comes later must not be taken for another's
            raise
        finally:
            self._receipt = None

    def close(self) -> None:
        """At once, whatever is under way."""
        if self._transport is not None:
            self._transport.abort()

    # --- of the event loop --------------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed."""
        self._transport = None
        self._fail(exc or ConnectionResetError("the gateway closed the connection"))

    def data_received(self, data: bytes) -> None:
        """A piece of a receipt."""
        self._received += len(data)
        if self._receipt is None or self._received > _MAX_RECEIPT_BYTES:
            self._fail(ConnectionAbortedError("the gateway sent what is no receipt"))
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(ConnectionAbortedError(repr(error)))
            self.close()

    # --- of the parser ------------------------------------------------------------------------------------
    def on_message_complete(self) -> None:
        """The receipt is there."""
        status = self._parser.get_status_code()
        if status < 200:
            return  # `100 Continue`, which nobody asked for
        if not self._parser.should_keep_alive():
            self.close()
        if self._receipt is not None and not self._receipt.done():
            self._receipt.set_result(status)

    def _fail(self, error: Exception) -> None:
        if self._receipt is not None and not self._receipt.done():
            self._receipt.set_exception(error)


class Lines:
    """Open connections to gateways."""

    def __init__(self) -> None:
        self._idle: dict[str, list[Line]] = {}

    async def post(self, url: str, ack_subject: str, frame: bytes) -> int:
        """Send a whole answer; the status of its receipt. Raises OSError, also TimeoutError, where the gateway is
        not reached, and ValueError for a URL that is none of a gateway's."""
        address, target = _parts(url)
        if not ack_subject.isascii() or not ack_subject.isprintable():
            raise ValueError(
                f"acknowledgement subject {ack_subject[:100]!r} has characters no header may have"
            )
        line = self._kept(address) or await _open(address)
        head = (
            f"POST {target} HTTP/1.1\r\nHost: {address}\r\n"
            f"{names.HEADER_ACK}: {ack_subject}\r\nContent-Length: {len(frame)}\r\n\r\n"
        )
        status = await line.send(head.encode() + frame)
        if line.usable:
            line.used_at = asyncio.get_running_loop().time()
            self._idle.setdefault(address, []).append(line)
        return status

    def close(self) -> None:
        """Close those that are idle."""
        for lines in self._idle.values():
            for line in lines:
                line.close()
        self._idle.clear()

    def _kept(self, address: str) -> Line | None:
        """The one that was used last."""
        kept = self._idle.get(address, [])
        now = asyncio.get_running_loop().time()
        while kept:
            line = kept.pop()
            if line.usable and now - line.used_at < _KEEP_S:
                return line
            line.close()
        self._idle.pop(address, None)  # gateways come and go
        return None


async def _open(address: str) -> Line:
    host, _, port = address.rpartition(":")
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(_CONNECT_S):
        made: Any = await loop.create_connection(Line, host.strip("[]"), int(port))
    line: Line = made[1]
    return line


def _parts(url: str) -> tuple[str, str]:
    """`host:port`, and what follows it. Raises ValueError."""
    address, slash, rest = url.removeprefix("http://").partition("/")
    port = address.rpartition(":")[2]
    plain = url.startswith("http://") and url.isascii() and url.isprintable() and " " not in url
    if not plain or not slash or not port.isdigit():
        raise ValueError(f"{url[:100]!r} is no address of a gateway")
    return address, f"/{rest}"
