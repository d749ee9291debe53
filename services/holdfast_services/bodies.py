"""Large bodies in the broker's object store, written and read piece by piece.

The format is that of NATS Object Stores (ADR-20), so that any NATS tool reads it. nats-py's own reader buffers
whole objects where the consumer is slow; this one asks for a piece when it wants one.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Final

from holdfast_contract import names
from holdfast_services.broker import Broker, BrokerDown, BrokerError

__all__ = ["Bodies", "BodyMissing", "BodyWriter"]

_CHUNK_BYTES: Final = 128 * 1024
_TIMEOUT_S: Final = 10.0
_BUCKET: Final = names.BUCKET_BODIES


class BodyMissing(BrokerError):
    """No such body (any more)."""


def _meta_subject(name: str) -> str:
    return f"$O.{_BUCKET}.M.{base64.urlsafe_b64encode(name.encode()).decode()}"


def _chunk_subject(name: str) -> str:
    # The contract's names of bodies are unique, so they do for the chunks as well.
    return f"$O.{_BUCKET}.C.{hashlib.sha256(name.encode()).hexdigest()[:22]}"


class BodyWriter:
    """Writes one body. Nothing can be read before `finish`."""

    def __init__(self, broker: Broker, name: str) -> None:
        self._broker = broker
        self.name = name
        self.size = 0
        self._chunks = 0
        self._digest = hashlib.sha256()
        self._buffer = bytearray()

    async def write(self, data: bytes) -> None:
        """Append. Returns when whole chunks are stored: that is the backpressure."""
        self._buffer += data
        while len(self._buffer) >= _CHUNK_BYTES:
            chunk = bytes(self._buffer[:_CHUNK_BYTES])
            del self._buffer[:_CHUNK_BYTES]
            await self._store(chunk)

    async def finish(self) -> None:
        """Store the rest and make the body readable."""
        if self._buffer:
            await self._store(bytes(self._buffer))
            self._buffer.clear()
        meta = {
            "name": self.name,
            "options": {"max_chunk_size": _CHUNK_BYTES},
            "bucket": _BUCKET,
            "nuid": _chunk_subject(self.name).rsplit(".", 1)[1],
            "size": self.size,
            "chunks": self._chunks,
            "mtime": datetime.now(UTC).isoformat(),
            "digest": "SHA-256=" + base64.urlsafe_b64encode(self._digest.digest()).decode(),
        }
        await _publish(
            self._broker, _meta_subject(self.name), json.dumps(meta).encode(), {"Nats-Rollup": "sub"}
        )

    async def abandon(self) -> None:
        """Remove what was written."""
        self._buffer.clear()
        await Bodies(self._broker).delete(self.name)

    async def _store(self, chunk: bytes) -> None:
        self._digest.update(chunk)
        await _publish(self._broker, _chunk_subject(self.name), chunk, None)
        self.size += len(chunk)
        self._chunks += 1


class Bodies:
    """The bodies of requests and results."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def writer(self, name: str) -> BodyWriter:
        """Start a body. `name` must be new."""
        return BodyWriter(self._broker, name)

    async def size(self, name: str) -> int:
        """Bytes. Raises BodyMissing, BrokerDown or Ambiguous."""
        payload = json.dumps({"last_by_subj": _meta_subject(name)}).encode()
        answer = await self._broker.request(
            f"$JS.API.STREAM.MSG.GET.OBJ_{_BUCKET}", payload, None, _TIMEOUT_S
        )
        raw = json.loads(answer.data or b'{"error":{}}')
        if "error" in raw:
            raise BodyMissing(f"body {name} is not in the store (bodies are kept 24 hours)")
        meta = json.loads(base64.b64decode(raw["message"]["data"]))
        if meta.get("deleted"):
            raise BodyMissing(f"body {name} was removed")
        return int(meta["size"])

    async def read(self, name: str) -> AsyncIterator[bytes]:
        """The body, in pieces, each fetched when it is asked for.

        Raises BodyMissing, BrokerDown or Ambiguous; also in the middle.
        """
        left = await self.size(name)
        sequence, subject = 0, _chunk_subject(name)
        while left > 0:
            payload = json.dumps({"seq": sequence, "next_by_subj": subject}).encode()
            answer = await self._broker.request(
                f"$JS.API.DIRECT.GET.OBJ_{_BUCKET}", payload, None, _TIMEOUT_S
            )
            headers = answer.headers or {}
            if "Nats-Sequence" not in headers or not answer.data:
                raise BodyMissing(f"a part of body {name} is not in the store")
            sequence = int(headers["Nats-Sequence"]) + 1
            left -= len(answer.data)
            yield answer.data

    async def delete(self, name: str) -> None:
        """Remove a body; nothing happens where there is none. Raises BrokerDown or Ambiguous."""
        for subject in (_meta_subject(name), _chunk_subject(name)):
            payload = json.dumps({"filter": subject}).encode()
            await self._broker.request(f"$JS.API.STREAM.PURGE.OBJ_{_BUCKET}", payload, None, _TIMEOUT_S)


async def _publish(broker: Broker, subject: str, payload: bytes, headers: dict[str, str] | None) -> None:
    answer = await broker.request(subject, payload, headers, _TIMEOUT_S)
    raw = json.loads(answer.data) if answer.data else {"error": {"description": "no object store"}}
    if "error" in raw:
        raise BrokerDown(f"object store: {raw['error'].get('description')}")
