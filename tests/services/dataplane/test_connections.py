"""Callers' connections: how many there may be, which give way, and what becomes of a body that nobody wants."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import socket
import time
from typing import TYPE_CHECKING

import pytest
from certificates import Mounted, Pair, trusting
from raw_http import head, statuses
from waiting import until

from holdfast_contract import metrics, names
from holdfast_services.gateway import http_protocol
from holdfast_services.gateway.connections import Connections
from holdfast_services.gateway.listeners import Listener

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator
    from pathlib import Path
    from typing import Any

    from dataplane import Gateway, Plane

MIB = 1024 * 1024
BODY = b"x" * (8 * MIB)
"""More than the sockets between caller and gateway take before somebody reads."""
CHUNKED = b"".join(b"%x\r\n%b\r\n" % (MIB, b"x" * MIB) for _ in range(8)) + b"0\r\n\r\n"


def all_sent_before_reading(address: tuple[str, int], raw: bytes, context: ssl.SSLContext | None) -> bytes:
    """The answer that a caller gets who reads when all is sent, to the end of the connection."""
    with contextlib.ExitStack() as stack:
        caller = stack.enter_context(socket.create_connection(address, 30))
        if context is not None:
            caller = stack.enter_context(context.wrap_socket(caller, server_hostname=address[0]))
        caller.sendall(raw)
        answer = b""
        while piece := caller.recv(65536):
            answer += piece
    return answer


def address(gateway: Gateway) -> tuple[str, int]:
    host, port = gateway.url.rpartition("/")[2].split(":")
    return host, int(port)


@pytest.mark.parametrize("way", ["length", "chunked", "length by TLS"])
async def test_a_caller_who_sends_too_much_before_reading_is_told_so_every_time(
    plane: Plane, tmp_path: Path, way: str
) -> None:
    plane.document()
    env, context = {names.ENV_MAX_BODY_BYTES: "1000"}, None
    if way.endswith("TLS"):
        pair = Pair.make()
        mounted, context = Mounted(tmp_path / "tls", pair), trusting(pair)
        env[names.ENV_TLS_CERTIFICATE_FILE] = str(mounted.certificate)
        env[names.ENV_TLS_KEY_FILE] = str(mounted.key)
    gateway = await plane.gateway(**env)
    if way == "chunked":
        raw = head(plane, b"transfer-encoding: chunked") + CHUNKED
    else:
        raw = head(plane, b"content-length: %d" % len(BODY)) + BODY
    for _ in range(50):
        answer = await asyncio.to_thread(all_sent_before_reading, address(gateway), raw, context)
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
        connections = Connections(100, asyncio.get_running_loop().time)
        listener = Listener.start(tasks, "127.0.0.1", port, connections)
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


async def test_nothing_of_a_closed_connection_waits_for_the_garbage_collector(
    early: tuple[tuple[str, int], Early],
) -> None:
    """What TLS keeps for a connection is 50 KiB, and the gateway's collector comes by rarely."""

    def left() -> int:
        return sum(isinstance(one, http_protocol.BoundedHttp) for one in gc.get_objects())

    where, _ = early
    gc.collect()
    gc.disable()
    try:
        for length in (0, 10**9):
            for _ in range(5):
                _, writer = await begun(where, length)
                writer.close()
        for _ in range(5):
            _, writer = await asyncio.open_connection(*where)
            writer.close()
        await until(lambda: not left(), "all are gone", deadline_s=5)
    finally:
        gc.enable()


# --- how many ---------------------------------------------------------------------------------------------
MOST = 16


async def small(plane: Plane) -> Gateway:
    """A gateway that takes few connections; the quarter beyond is four."""
    plane.document(max_queue=100)
    return await plane.gateway(**{names.ENV_MAX_CONNECTIONS: str(MOST)})


async def counted(plane: Plane, gateway: Gateway) -> dict[str, int]:
    """Connections by state, as the gateway's metrics have them."""
    async with plane.http.get(f"{gateway.internal_url}/metrics") as answer:
        text = await answer.text()
    return {
        state: int(float(line.rpartition(" ")[2]))
        for state in ("working", "idle")
        for line in text.splitlines()
        if line.startswith(f'{metrics.CONNECTIONS}{{state="{state}"}}')
    }


async def asked_alone(where: tuple[str, int], raw: bytes) -> bytes:
    """The answer on a connection of its own, to its end."""
    reader, writer = await asyncio.open_connection(*where)
    writer.write(raw)
    async with asyncio.timeout(60):
        answer = await reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        answer += await reader.readexactly(length)
    writer.close()
    return answer


async def full(plane: Plane, gateway: Gateway) -> list[asyncio.Task[bytes]]:
    """As many held requests as the gateway takes."""
    one = head(plane, b"content-length: 0")
    held = [asyncio.create_task(asked_alone(address(gateway), one)) for _ in range(MOST)]
    await plane.until_depth(MOST, 0)
    return held


async def test_callers_beyond_the_most_are_told_so_and_held_requests_and_health_checks_are_served(
    plane: Plane,
) -> None:
    gateway = await small(plane)
    held = await full(plane, gateway)
    where = address(gateway)
    assert (await counted(plane, gateway))["working"] == MOST
    for _ in range(3):
        answer = await asked_alone(where, head(plane, b"content-length: 0"))
        assert statuses(answer) == [503]
        top, _, body = answer.partition(b"\r\n\r\n")
        assert {b"retry-after: 2", b"connection: close", b"x-should-retry: true"} <= set(top.split(b"\r\n"))
        assert b"content-type: application/problem+json" in top
        told = json.loads(body)
        assert told["type"].endswith("/gateway-full")
        assert told["detail"] == "as many callers are connected to this gateway as it takes"
        for path in (b"/healthz", b"/readyz"):
            answer = await asked_alone(where, b"GET %s HTTP/1.1\r\nhost: x\r\n\r\n" % path)
            assert statuses(answer) == [200]
    replica = await plane.replica()
    assert [statuses(answer) for answer in await asyncio.gather(*held)] == [[200]] * MOST
    assert len(replica.begun()) == MOST
    assert statuses(await asked_alone(where, head(plane, b"content-length: 0"))) == [200]


@pytest.mark.parametrize(
    "opened_with", [b"", b"POST /e/demo HTTP/1.1\r\nhost: x\r\n"], ids=["nothing", "half a head"]
)
async def test_connections_without_a_request_give_way_to_those_with_one(
    plane: Plane, opened_with: bytes
) -> None:
    gateway = await small(plane)
    where = address(gateway)
    silent = [await asyncio.open_connection(*where) for _ in range(MOST)]
    for _, writer in silent:
        writer.write(opened_with)
    await asyncio.sleep(1.2)  # beyond the time in which a request may be there and not be read yet
    assert (await counted(plane, gateway))["idle"] >= MOST
    held = await full(plane, gateway)
    # Each of them took the place of one, the longest idle first.
    ended = [await asyncio.wait_for(reader.read(), 5) for reader, _ in silent]
    assert ended == [b""] * MOST
    assert (await counted(plane, gateway))["working"] == MOST
    await plane.replica()
    assert [statuses(answer) for answer in await asyncio.gather(*held)] == [[200]] * MOST


async def test_kept_connections_give_way_after_those_that_never_asked(plane: Plane) -> None:
    gateway = await small(plane)
    where = address(gateway)
    kept = [await asyncio.open_connection(*where) for _ in range(MOST // 2)]
    for reader, writer in kept:
        writer.write(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        await reader.readuntil(b"}")
    silent = [await asyncio.open_connection(*where) for _ in range(MOST // 2)]
    await asyncio.sleep(1.2)
    newer = [await asyncio.open_connection(*where) for _ in range(MOST // 2)]
    assert [await asyncio.wait_for(reader.read(), 5) for reader, _ in silent] == [b""] * (MOST // 2)
    for reader, writer in kept:
        writer.write(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        assert await asyncio.wait_for(reader.readuntil(b"}"), 5)
    for _, writer in (*kept, *newer):
        writer.close()


async def test_a_flood_of_silent_connections_leaves_room_for_requests(plane: Plane) -> None:
    gateway = await small(plane)
    where = address(gateway)
    await plane.replica()
    stop = False
    opened = 0

    async def flood() -> None:
        nonlocal opened
        while not stop:
            with contextlib.suppress(ConnectionError):
                _, writer = await asyncio.open_connection(*where)
                opened += 1
                flooding.append(writer)
            await asyncio.sleep(0.005)

    flooding: list[asyncio.StreamWriter] = []
    attack = asyncio.create_task(flood())
    await plane.until_true(lambda: opened > 5 * MOST, "a flood")
    for _ in range(20):
        assert statuses(await asked_alone(where, head(plane, b"content-length: 0"))) == [200]
    now = await counted(plane, gateway)
    assert now["working"] + now["idle"] <= MOST + MOST // 4 + 1
    stop = True
    await attack
    for writer in flooding:
        writer.close()
