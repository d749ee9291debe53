"""What the worker answers the kubelet and Prometheus, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from holdfast_services.worker.client import Client
from holdfast_services.worker.http import serve


class _Service:
    """What is asked of the worker."""

    def __init__(self) -> None:
        self.ready = False
        self.problem: str | None = "the model starts"
        self.metrics = self
        self.drained = asyncio.Event()
        self.paused = asyncio.Event()
        self.broken = False

    async def drain(self) -> None:
        await self.drained.wait()

    async def pause(self) -> None:
        await self.paused.wait()

    def text(self) -> bytes:
        if self.broken:
            raise LookupError
        return b"up 1\n"


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[tuple[_Service, str]]:
    service: Any = _Service()
    server = await serve(service, "127.0.0.1", 0)
    try:
        yield service, f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def ask(client: Client, address: str, path: str, method: str = "GET") -> tuple[int, bytes]:
    answer = await client.request(method, address, path, ())
    body = b"".join([piece async for piece in answer.iterate()])
    answer.release()
    return answer.status, body


async def raw(address: str, data: bytes) -> bytes:
    """Everything that comes back until the connection ends."""
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data)
    read = b""
    with contextlib.suppress(ConnectionError):
        read = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    return read


async def test_the_pages_say_how_the_worker_is_over_one_connection() -> None:
    async with serving() as (service, address):
        client = Client(keep_s=5, connect_s=5)
        assert await ask(client, address, "/healthz") == (200, b'{"status": "ok"}')
        assert await ask(client, address, "/readyz?a=b") == (503, b'{"status": "the model starts"}')
        service.problem = None
        assert await ask(client, address, "/readyz") == (503, b'{"status": "draining"}')
        service.ready = True
        assert await ask(client, address, "/readyz") == (200, b'{"status": "ok"}')
        assert await ask(client, address, "/metrics") == (200, b"up 1\n")
        assert (await ask(client, address, "/readyz", "HEAD")) == (200, b"")
        client.close()


async def test_other_paths_and_methods_are_told_what_there_is() -> None:
    async with serving() as (_, address):
        client = Client(keep_s=5, connect_s=5)
        assert await ask(client, address, "/") == (
            404,
            b'{"status": "there are /healthz, /readyz, /drain and /metrics"}',
        )
        assert await ask(client, address, "/drain", "POST") == (
            405,
            b'{"status": "POST is not answered here: use GET"}',
        )
        client.close()


async def test_a_drain_is_answered_when_it_is_over() -> None:
    async with serving() as (service, address):
        client = Client(keep_s=5, connect_s=5)
        draining = asyncio.create_task(ask(client, address, "/drain"))
        assert await ask(client, address, "/healthz") == (200, b'{"status": "ok"}')
        assert not draining.done()
        service.drained.set()
        assert await asyncio.wait_for(draining, 5) == (200, b'{"status": "drained"}')
        client.close()


async def test_a_drain_until_the_model_is_restarted_is_not_for_good() -> None:
    async with serving() as (service, address):
        client = Client(keep_s=5, connect_s=5)
        service.paused.set()
        asked = ask(client, address, "/drain?until=model-restart")
        assert await asyncio.wait_for(asked, 5) == (200, b'{"status": "drained"}')
        assert not service.drained.is_set()
        client.close()


async def test_who_wants_the_connection_closed_gets_it_closed_after_the_answer() -> None:
    async with serving() as (_, address):
        read = await raw(address, b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert read.startswith(b"HTTP/1.1 200 OK\r\n")
        assert read.endswith(b'connection: close\r\n\r\n{"status": "ok"}')


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET /drain HTTP/1.1\r\nhost: x\r\n\r\n" * 2,
        b"GET /healthz HTTP/1.1\r\n" + b"x: y\r\n" * 20_000,
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n" + b"x" * 100_000,
    ],
)
async def test_what_is_no_request_or_too_much_of_one_ends_its_connection_and_no_other(sent: bytes) -> None:
    async with serving() as (_, address):
        assert await raw(address, sent) == b""
        client = Client(keep_s=5, connect_s=5)
        assert await ask(client, address, "/healthz") == (200, b'{"status": "ok"}')
        client.close()


async def test_a_page_that_fails_ends_its_connection_and_no_other() -> None:
    async with serving() as (service, address):
        service.broken = True
        assert await raw(address, b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n") == b""
        service.broken = False
        assert (await raw(address, b"GET /metrics HTTP/1.0\r\n\r\n")).endswith(b"up 1\n")
