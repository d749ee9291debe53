"""Large bodies in the broker's own store, written and read piece by piece.

Every piece has a subject of its own below its endpoint's name, so that a worker's rights can end there:
`$O.bodies.C.<endpoint>.<digest>.<number>` and, written last, `$O.bodies.M.<endpoint>.<digest>` with the size. Pieces
are asked for by name, one when one is wanted. (A NATS Object Store, ADR-20, names neither: whoever may read one of
its objects may read all.)
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from typing import Final, Protocol

from holdfast_contract import names
from holdfast_services.connection import BrokerDown, BrokerError, Connection

__all__ = ["Bodies", "BodyMissing", "BodyStore", "BodyWriter"]

_CHUNK_BYTES: Final = 128 * 1024
_TIMEOUT_S: Final = 10.0
_BUCKET: Final = names.BUCKET_BODIES
_GET: Final = f"$JS.API.DIRECT.GET.OBJ_{_BUCKET}"
_FRESH_S: Final = (0.02, 0.05, 0.1, 0.3, 0.5, 1.0)
"""Waits before what is missing is really missing: any server answers, also one that is a moment behind."""
_REMOVALS: Final = 16
"""Pieces that are removed at the same time."""


class BodyMissing(BrokerError):
    """No such body (any more)."""


class BodyWriter(Protocol):
    """Writes one body. Nothing can be read before `finish`."""

    name: str

    async def write(self, data: bytes) -> None:
        """Append. Returns when whole pieces are stored: that is the backpressure."""

    async def finish(self) -> None:
        """Store the rest and make the body readable."""

    async def abandon(self) -> None:
        """Remove what was written."""


class BodyStore(Protocol):
    """The bodies of requests and results. Names: `names.body_name`. What a store cannot do is a BrokerError."""

    def writer(self, name: str) -> BodyWriter:
        """Start a body. `name` must be new."""

    async def size(self, name: str) -> int:
        """Bytes. Raises BodyMissing."""

    def read(self, name: str) -> AsyncIterator[bytes]:
        """The body, in pieces, each fetched when it is asked for. Raises BodyMissing, also in the middle."""

    async def delete(self, name: str) -> None:
        """Remove a body; nothing happens where there is none."""


def _address(name: str) -> str:
    """Endpoint and digest. A digest, since a subject cannot hold every name."""
    endpoint = name.split(".", 1)[0]
    return f"{endpoint}.{hashlib.sha256(name.encode()).hexdigest()[:32]}"


def _meta_subject(name: str) -> str:
    return f"$O.{_BUCKET}.M.{_address(name)}"


def _chunk_subject(name: str, number: int) -> str:
    return f"$O.{_BUCKET}.C.{_address(name)}.{number}"


class _Writer:
    def __init__(self, bodies: Bodies, name: str) -> None:
        self._bodies = bodies
        self.name = name
        self._size = 0
        self._chunks = 0
        self._buffer = bytearray()

    async def write(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= _CHUNK_BYTES:
            chunk = bytes(self._buffer[:_CHUNK_BYTES])
            del self._buffer[:_CHUNK_BYTES]
            await self._store(chunk)

    async def finish(self) -> None:
        if self._buffer:
            await self._store(bytes(self._buffer))
            self._buffer.clear()
        meta = {"name": self.name, "size": self._size, "chunks": self._chunks}
        await self._bodies.put(_meta_subject(self.name), json.dumps(meta).encode())

    async def abandon(self) -> None:
        self._buffer.clear()
        await self._bodies.clear(self.name, self._chunks)

    async def _store(self, chunk: bytes) -> None:
        number = self._chunks
        self._chunks += 1  # before: what is perhaps stored must be removed as well
        await self._bodies.put(_chunk_subject(self.name, number), chunk)
        self._size += len(chunk)


class Bodies:
    """A BodyStore in the broker. Every method may raise BrokerDown or Ambiguous besides."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def writer(self, name: str) -> BodyWriter:
        """See `BodyStore`."""
        return _Writer(self, name)

    async def size(self, name: str) -> int:
        """See `BodyStore`."""
        size, _ = await self._meta(name)
        return size

    async def read(self, name: str) -> AsyncIterator[bytes]:
        """See `BodyStore`."""
        _, chunks = await self._meta(name)
        for number in range(chunks):
            data = await self._get(_chunk_subject(name, number))
            if not data:
                raise BodyMissing(f"a part of body {name} is not in the store")
            yield data

    async def delete(self, name: str) -> None:
        """See `BodyStore`."""
        stored = await self._get(_meta_subject(name))
        if stored:
            await self.clear(name, int(json.loads(stored)["chunks"]))

    async def clear(self, name: str, chunks: int) -> None:
        """Put nothing in the place of a body and its first `chunks` pieces."""
        await self.put(_meta_subject(name), b"")
        for first in range(0, chunks, _REMOVALS):
            numbers = range(first, min(first + _REMOVALS, chunks))
            await asyncio.gather(*(self.put(_chunk_subject(name, number), b"") for number in numbers))

    async def put(self, subject: str, payload: bytes) -> None:
        """Store under a subject, in the place of what was there."""
        answer = await self._connection.request(subject, payload, {"Nats-Rollup": "sub"}, _TIMEOUT_S)
        raw = json.loads(answer.data) if answer.data else {"error": {"description": "no store"}}
        if "error" in raw:
            raise BrokerDown(f"store of bodies: {raw['error'].get('description')}")

    async def _meta(self, name: str) -> tuple[int, int]:
        stored = await self._get(_meta_subject(name))
        if stored is None:
            raise BodyMissing(f"body {name} is not in the store (bodies are kept 24 hours)")
        if not stored:
            raise BodyMissing(f"body {name} was removed")
        meta = json.loads(stored)
        return int(meta["size"]), int(meta["chunks"])

    async def _get(self, subject: str) -> bytes | None:
        """What stands under a subject; None: nothing, empty: it was removed."""
        for wait_s in (*_FRESH_S, None):
            answer = await self._connection.request(f"{_GET}.{subject}", b"", None, _TIMEOUT_S)
            status = (answer.headers or {}).get("Status")
            if status is None:
                return bytes(answer.data)
            if status == "503":
                raise BrokerDown("no store of bodies")
            if wait_s is not None:
                await asyncio.sleep(wait_s)
        return None
