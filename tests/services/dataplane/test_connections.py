"""Callers' connections: what becomes of the rest of a body that nobody wants."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from typing import TYPE_CHECKING

import pytest
from raw_http import head, statuses

from holdfast_contract import names
from holdfast_services.gateway import http_protocol
from holdfast_services.gateway.listeners import Listener

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Any

    from dataplane import Gateway, Plane

MIB = 1024 * 1024
BODY = b"x" * (8 * MIB)
"""More than the sockets between caller and gateway take before somebody reads."""
CHUNKED = b"".join(b"%x\r\n%b\r\n" % (MIB, b"x" * MIB) for _ in range(8)) + b"0\r\n\r\n"


def all_sent_before_reading(address: tuple[str, int], raw: bytes) -> bytes:
    """The answer that a caller gets who reads when all is sent, to the end of the connection."""
    with socket.create_connection(address, 10) as caller:
        caller.sendall(raw)
        answer = b""
        while piece := caller.recv(65536):
            answer += piece
    return answer


def address(gateway: Gateway) -> tuple[str, int]:
    host, port = gateway.url.removeprefix("http://").split(":")
    return host, int(port)


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_caller_who_sends_too_much_before_reading_is_told_so_every_time(
    plane: Plane, framing: str
) -> None:
    plane.document()
    gateway = await plane.gateway(**{names.ENV_MAX_BODY_BYTES: "1000"})
    if framing == "length":
        raw = head(plane, b"content-length: %d" % len(BODY)) + BODY
    else:
        raw = head(plane, b"transfer-encoding: chunked") + CHUNKED
    for _ in range(50):
        answer = await asyncio.to_thread(all_sent_before_reading, address(gateway), raw)
        assert statuses(answer) == [413]
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["detail"] == "bodies may have 1000 bytes at most"


class Early:
    """An app that answers at once, whatever is still to come."""

    def __init__(self) -> None:
        self.close = True
        self.asked = 0

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.asked += 1
        headers = [(b"content-length", b"2"), *([(b"connection", b"close")] if self.close else [])]
        await send({"type": "http.response.start", "status": 401, "headers": headers})
        await send({"type": "http.response.body", "body": b"no", "more_body": False})


@pytest.fixture
async def early() -> AsyncIterator[tuple[tuple[str, int], Early]]:
    """The gateway's listener before such an app."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    async with asyncio.TaskGroup() as tasks:
        listener = Listener.start(tasks, "127.0.0.1", port)
        app = Early()
        listener.door.open(app)
        async with asyncio.timeout(5):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except ConnectionError:
                    await asyncio.sleep(0.01)
                else:
                    writer.close()
                    break
        yield ("127.0.0.1", port), app
        listener.close(now=True)


async def begun(where: tuple[str, int], length: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A request of which the head was sent, and its early answer read."""
    reader, writer = await asyncio.open_connection(*where)
    writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % length)
    answer = await reader.readuntil(b"no")
    assert statuses(answer) == [401]
    return reader, writer


async def closed_after_s(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, piece: bytes) -> float:
    """Seconds until the connection is closed to a caller who goes on sending a piece every 20 ms."""
    began = time.monotonic()
    gone = asyncio.ensure_future(reader.read())
    while not gone.done():
        assert time.monotonic() - began < 20
        writer.write(piece)
        await asyncio.wait({gone}, timeout=0.02)
    writer.close()
    # Closed with bytes unread, it is reset; the answer was read long before.
    assert isinstance(gone.exception(), ConnectionResetError) or gone.result() == b""
    return time.monotonic() - began


@pytest.mark.parametrize("close", [False, True])
@pytest.mark.parametrize(
    ("piece", "bounds", "expected_s"),
    [
        (b"", {"_REST_SILENT_S": 0.3}, (0.25, 0.8)),
        (b"x", {"_REST_SILENT_S": 0.3, "_REST_S": 1.0}, (0.9, 1.6)),
        (b"x" * 10_000, {"_REST_BYTES": 100_000}, (0.1, 1.0)),
    ],
    ids=["silent", "slow", "endless"],
)
async def test_the_rest_of_a_body_is_read_within_bounds_and_no_longer(
    early: tuple[tuple[str, int], Early],
    monkeypatch: pytest.MonkeyPatch,
    close: bool,
    piece: bytes,
    bounds: dict[str, float],
    expected_s: tuple[float, float],
) -> None:
    where, app = early
    app.close = close
    for name, value in bounds.items():
        monkeypatch.setattr(http_protocol, name, value)
    least_s, most_s = expected_s
    assert least_s < await closed_after_s(*await begun(where, 10**9), piece) < most_s


async def test_a_connection_that_lasts_takes_the_next_request_after_the_rest_of_the_last(
    early: tuple[tuple[str, int], Early], monkeypatch: pytest.MonkeyPatch
) -> None:
    where, app = early
    app.close = False
    monkeypatch.setattr(http_protocol, "_REST_SILENT_S", 0.2)
    reader, writer = await begun(where, 100_000)
    writer.write(b"x" * 100_000 + b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert statuses(await reader.readuntil(b"no")) == [401]
    await asyncio.sleep(0.5)
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert statuses(await reader.readuntil(b"no")) == [401], "the bounds were those of the rest"
    writer.close()


async def test_what_follows_the_rest_on_a_connection_that_closes_is_not_executed(
    early: tuple[tuple[str, int], Early],
) -> None:
    where, app = early
    reader, writer = await begun(where, 100_000)
    writer.write(b"x" * 100_000 + b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert await reader.read() == b""
    await asyncio.sleep(0.1)
    assert app.asked == 1
    writer.close()
