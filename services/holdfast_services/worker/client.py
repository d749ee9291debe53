"""HTTP/1.1 as the worker speaks it: to its model, and to the gateways that hold its callers.

Every request makes two of these exchanges. A general client library took a third of a busy worker's processor time for
them, and two fifths of its start for being loaded. Here an exchange is one write, one parser and one future; what a
server sends is bounded, whatever it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final

from holdfast_services.worker.exchange import Answer, Body, Broken, Link

__all__ = ["Client", "split_url"]

_WITHOUT_BODY: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""An empty body of these is not mentioned."""
_REPEATABLE: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
"""RFC 9110, 9.2.2: sent twice these are as good as sent once."""

Headers = Iterable[tuple[str, str]]


def _nothing() -> None:
    """Nobody waits for the end."""


class Client:
    """Connections to servers, kept open between exchanges."""

    def __init__(self, *, keep_s: float, connect_s: float) -> None:
        """`keep_s`: longest that an idle connection is used again; shorter than servers keep it. `connect_s`:
        longest that a new one may take."""
        self._keep_s = keep_s
        self._connect_s = connect_s
        self._idle: dict[str, list[Link]] = {}

    async def request(
        self,
        method: str,
        address: str,
        target: str,
        headers: Headers,
        body: Body = b"",
        length: int | None = None,
        on_complete: Callable[[], None] = _nothing,
    ) -> Answer:
        """Send a request to `address` (`host:port`); returns at the head of the answer.

        `length`: bytes of a `body` that comes in pieces; None: not known, and it is sent in chunks. `on_complete`:
        called from where the end of the whole answer is seen, which may be before this returns, or never. Raises
        OSError (TimeoutError, Broken and others) where there is no answer, ValueError for what no request may have,
        and whatever `body` raises.
        """
        if isinstance(body, bytes):
            length = len(body)
        head = _head(method, address, target, headers, length)
        link = self._kept(address)
        if link is not None:
            try:
                return await link.exchange(method, head, body, length, on_complete)
            except Broken:
                # The server may have closed it while it was idle.
                if method not in _REPEATABLE or not isinstance(body, bytes):
                    raise
        link = await self._open(address)
        return await link.exchange(method, head, body, length, on_complete)

    def close(self) -> None:
        """Close those that are idle."""
        for links in self._idle.values():
            for link in links:
                link.abort()
        self._idle.clear()

    def _kept(self, address: str) -> Link | None:
        """The one that was used last."""
        kept = self._idle.get(address)
        if kept is None:
            return None
        now = asyncio.get_running_loop().time()
        while kept:
            link = kept.pop()
            if link.usable and now - link.kept_at < self._keep_s:
                return link
            link.abort()
        del self._idle[address]  # servers come and go
        return None

    async def _open(self, address: str) -> Link:
        host, _, port = address.rpartition(":")
        loop = asyncio.get_running_loop()

        def keep(link: Link) -> None:
            link.kept_at = loop.time()
            self._idle.setdefault(address, []).append(link)

        async with asyncio.timeout(self._connect_s):
            made: Any = await loop.create_connection(lambda: Link(keep), host.strip("[]"), int(port))
        link: Link = made[1]
        return link


def split_url(url: str) -> tuple[str, str]:
    """`host:port`, and what follows it. Raises ValueError."""
    address, _, rest = url.removeprefix("http://").partition("/")
    host, _, port = address.rpartition(":")
    plain = url.startswith("http://") and url.isascii() and url.isprintable() and " " not in url
    if not plain or not host or not port.isdigit():
        raise ValueError(f"{url[:100]!r} is no URL of the form http://host:port/path")
    return address, f"/{rest}"


def _head(method: str, address: str, target: str, headers: Headers, length: int | None) -> bytes:
    """Request line and headers. Raises ValueError where something in it would become a line of its own."""
    lines = [f"{method} {target} HTTP/1.1\r\n", f"host: {address}\r\n"]
    if length is None:
        lines.append("transfer-encoding: chunked\r\n")
    elif length or method not in _WITHOUT_BODY:
        lines.append(f"content-length: {length}\r\n")
    lines += [f"{name}: {value}\r\n" for name, value in headers]
    text = "".join(lines)
    if not text.count("\r") == text.count("\n") == len(lines) or lines[0].count(" ") != 2 or "\0" in text:
        raise ValueError(
            f"request {lines[0][:100]!r} or one of its headers has characters that it may not have"
        )
    return text.encode("latin-1") + b"\r\n"
