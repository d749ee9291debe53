"""Large bodies by way of a gateway, where they lie in a bucket: replicas have no rights there, and no way out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final
from urllib.parse import quote

import aiohttp

from holdfast_contract import names
from holdfast_services.bodies import BodyMissing, BodyWriter
from holdfast_services.connection import BrokerDown

__all__ = ["GatewayBodies"]

_PIECE_BYTES: Final = 128 * 1024
_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=3, sock_read=60)
_FAULTS: Final = (aiohttp.ClientError, OSError, TimeoutError)


class GatewayBodies:
    """A BodyStore at a gateway's internal port. Raises BrokerDown where no gateway does its part."""

    def __init__(self, url: str, key: str) -> None:
        """`url`: of the internal port; `key`: this endpoint's, see `tokens.body_key`."""
        self._url = url.rstrip("/")
        self._headers = {"authorization": f"Bearer {key}"}
        self._session = aiohttp.ClientSession(timeout=_TIMEOUT, auto_decompress=False)

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    def writer(self, name: str) -> BodyWriter:
        """See `BodyStore`."""
        return _Upload(self, name)

    async def size(self, name: str) -> int:
        """See `BodyStore`."""
        try:
            async with self._session.head(self._at(name), headers=self._headers) as answer:
                _check(answer, name)
                return int(answer.headers["content-length"])
        except _FAULTS as error:
            raise BrokerDown(f"gateway: HEAD body {name}: {error!r}") from error

    async def read(self, name: str) -> AsyncIterator[bytes]:
        """See `BodyStore`."""
        try:
            async with self._session.get(self._at(name), headers=self._headers) as answer:
                _check(answer, name)
                async for piece in answer.content.iter_chunked(_PIECE_BYTES):
                    yield piece
        except _FAULTS as error:
            raise BrokerDown(f"gateway: GET body {name}: {error!r}") from error

    async def delete(self, name: str) -> None:
        """See `BodyStore`."""
        try:
            async with self._session.delete(self._at(name), headers=self._headers) as answer:
                _check(answer, name)
        except _FAULTS as error:
            raise BrokerDown(f"gateway: DELETE body {name}: {error!r}") from error

    async def put(self, name: str, source: AsyncIterator[bytes]) -> None:
        """Send a whole body."""
        try:
            async with self._session.put(self._at(name), data=source, headers=self._headers) as answer:
                _check(answer, name)
        except _FAULTS as error:
            raise BrokerDown(f"gateway: PUT body {name}: {error!r}") from error

    def _at(self, name: str) -> str:
        return f"{self._url}{names.PATH_BODIES}/{quote(name, safe='')}"


class _Upload:
    """One request that is fed while it runs."""

    def __init__(self, bodies: GatewayBodies, name: str) -> None:
        self.name = name
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue(1)
        self._task = asyncio.create_task(bodies.put(name, self._source()))

    async def write(self, data: bytes) -> None:
        for start in range(0, len(data), _PIECE_BYTES):
            await self._hand(data[start : start + _PIECE_BYTES])

    async def finish(self) -> None:
        await self._hand(None)
        await self._task

    async def abandon(self) -> None:
        # The gateway sees the connection end without the end of the body, and drops what it has.
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _source(self) -> AsyncIterator[bytes]:
        while (piece := await self._pieces.get()) is not None:
            yield piece

    async def _hand(self, piece: bytes | None) -> None:
        handing = asyncio.create_task(self._pieces.put(piece))
        try:
            await asyncio.wait({handing, self._task}, return_when=asyncio.FIRST_COMPLETED)
            if not handing.done():
                await self._task  # raises: it ended before it had everything
                raise BrokerDown(f"gateway: body {self.name} was answered before its end")
        finally:
            handing.cancel()


def _check(answer: aiohttp.ClientResponse, name: str) -> None:
    if answer.status == 404:
        raise BodyMissing(f"body {name} is not in the store (bodies are kept 24 hours)")
    if answer.status not in (200, 204):
        raise BrokerDown(f"gateway: {answer.method} body {name}: status {answer.status}")
