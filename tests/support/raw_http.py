"""Bytes as a hostile caller sends them, and a model that records every byte that came through."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from waiting import until

if TYPE_CHECKING:
    from dataplane import Gateway, Plane, Replica


class RecordingModel:
    """Answers everything with 200 and keeps what it was sent, as it was sent."""

    def __init__(self) -> None:
        self.requests: list[tuple[bytes, bytes]] = []

    @property
    def lines(self) -> list[bytes]:
        """The request lines, without those of health checks."""
        return [head.partition(b"\r\n")[0] for head, _ in self.requests]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"(?im)^content-length: *(\d+)", head)
                body = await reader.readexactly(int(length[1])) if length else b""
                if b" /healthcheck " not in head.partition(b"\r\n")[0]:
                    self.requests.append((head, body))
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        writer.close()


@contextlib.asynccontextmanager
async def recording(plane: Plane) -> AsyncIterator[tuple[Gateway, Replica, RecordingModel]]:
    """A gateway and a replica whose model records."""
    plane.document()
    gateway = await plane.gateway()
    replica = await plane.replica(ready=False)
    replica.model.kill()
    model = RecordingModel()
    server = await asyncio.start_server(model.serve, "127.0.0.1", int(replica.model_url.rpartition(":")[2]))
    try:

        async def ready() -> bool:
            return await plane.status(f"{replica.worker_url}/readyz", 200)

        await until(ready, "worker ready")
        yield gateway, replica, model
    finally:
        server.close()


async def sent(gateway: Gateway, raw: bytes, within_s: float = 10) -> bytes:
    """Everything that the gateway answers to these bytes until it closes, or is quiet for a moment."""
    host, port = gateway.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    answer = b""
    try:
        writer.write(raw)
        async with asyncio.timeout(within_s):
            while piece := await asyncio.wait_for(reader.read(65536), 0.3 if answer else within_s):
                answer += piece
    except TimeoutError:
        pass
    finally:
        writer.close()
    return answer


def statuses(answer: bytes) -> list[int]:
    """Of all answers on one connection."""
    return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3})", answer)]


def head(plane: Plane, *lines: bytes, start: bytes = b"POST /e/demo/first HTTP/1.1") -> bytes:
    """A request's head with a token."""
    all_lines = [start, b"host: x", b"authorization: Bearer " + plane.token.encode(), *lines]
    return b"\r\n".join(all_lines) + b"\r\n\r\n"
