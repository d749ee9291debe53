"""What a hostile caller can send: heads that two servers read differently, and what has no end or never comes."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from typing import TYPE_CHECKING

import pytest
from raw_http import head, recording, sent, statuses
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataplane import Gateway, Plane


MIB = 1024 * 1024
SMUGGLED = b"GET /e/demo/smuggled HTTP/1.1\r\nhost: x\r\n\r\n"


AMBIGUOUS: dict[str, tuple[tuple[bytes, ...], bytes]] = {
    "length and chunks": ((b"content-length: 3", b"transfer-encoding: chunked"), b"0\r\n\r\n"),
    "chunks and length": ((b"transfer-encoding: chunked", b"content-length: 3"), b"0\r\n\r\n"),
    "chunked twice": ((b"transfer-encoding: chunked", b"transfer-encoding: identity"), b"0\r\n\r\n"),
    "another coding last": ((b"transfer-encoding: chunked, identity",), b"0\r\n\r\n"),
    "no coding of HTTP": ((b"transfer-encoding: xchunked",), b"0\r\n\r\n"),
    "a space before the colon": ((b"transfer-encoding : chunked",), b"0\r\n\r\n"),
    "a tab before the colon": ((b"content-length\t: 3",), b"abc"),
    "two lengths": ((b"content-length: 3", b"content-length: 4"), b"abcd"),
    "one length twice": ((b"content-length: 3", b"content-length: 3"), b"abc"),
    "a list of lengths": ((b"content-length: 3, 3",), b"abc"),
    "a signed length": ((b"content-length: +3",), b"abc"),
    "a negative length": ((b"content-length: -3",), b"abc"),
    "a hexadecimal length": ((b"content-length: 0x3",), b"abc"),
    "no length": ((b"content-length:",), b"abc"),
    "a length beyond numbers": ((b"content-length: 99999999999999999999",), b"abc"),
    "a folded line": ((b"x-a: 1\r\n content-length: 3",), b"abc"),
    "a bare line feed": ((b"x-a: 1\ncontent-length: 3",), b"abc"),
    "a bare carriage return": ((b"x-a: 1\rcontent-length: 3",), b"abc"),
    "a NUL in a value": ((b"x-a: 1\x002",), b""),
    "a NUL in a name": ((b"x-\x00a: 1",), b""),
    "a name of nothing": ((b": 1",), b""),
    "no colon": ((b"x-a",), b""),
    "two hosts": ((b"host: y",), b""),
    "a chunk of hexadecimal by name": ((b"transfer-encoding: chunked",), b"0x3\r\nabc\r\n0\r\n\r\n"),
    "a negative chunk": ((b"transfer-encoding: chunked",), b"-3\r\nabc\r\n0\r\n\r\n"),
    "a chunk without its end": ((b"transfer-encoding: chunked",), b"3\r\nabcd\r\n0\r\n\r\n"),
    "a chunk's bare line feed": ((b"transfer-encoding: chunked",), b"3\nabc\n0\n\n"),
    "a chunk beyond numbers": ((b"transfer-encoding: chunked",), b"fffffffffffffffff\r\nabc"),
}


async def test_what_two_servers_could_read_differently_is_refused_and_never_reaches_a_model(
    plane: Plane,
) -> None:
    async with recording(plane) as (gateway, _, model):
        found = {}
        for what, (lines, body) in AMBIGUOUS.items():
            answer = await sent(gateway, head(plane, *lines) + body + SMUGGLED)
            found[what] = statuses(answer)[:1]
        assert found == {what: [400] for what in AMBIGUOUS}
        assert model.lines == []
        for start in (
            b"GET /e/demo/ HTTP/1.1\nhost: x\n\n",
            b"GET /e/demo/ HTTP/9.9\r\nhost: x\r\n\r\n",
            b"GET /e/demo/ x HTTP/1.1\r\nhost: x\r\n\r\n",
            b"G\x00T /e/demo/ HTTP/1.1\r\nhost: x\r\n\r\n",
            b"CONNECT demo:80 HTTP/1.1\r\nhost: x\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\x16\x03\x01\x00\x00",
        ):
            assert statuses(await sent(gateway, start, within_s=3)) == [400], start
        assert model.lines == []


async def test_chunks_are_joined_and_their_extensions_and_trailers_stay_behind(plane: Plane) -> None:
    async with recording(plane) as (gateway, _, model):
        body = b"3;name=value\r\nabc\r\n2;x\r\nde\r\n0\r\nx-trailer: 1\r\nauthorization: Bearer y\r\n\r\n"
        answer = await sent(gateway, head(plane, b"transfer-encoding: chunked", b"te: trailers") + body)
        assert statuses(answer) == [200]
        ((received, content),) = model.requests
        assert content == b"abcde"
        assert b"content-length: 5\r\n" in received.lower()
        for absent in (b"transfer-encoding", b"trailer", b"name=value", b"te:", b"authorization"):
            assert absent not in received.lower()


async def test_pipelined_requests_are_answered_one_after_the_other_and_each_needs_its_token(
    plane: Plane,
) -> None:
    async with recording(plane) as (gateway, _, model):
        first = head(plane, b"content-length: 2") + b"{}"
        assert statuses(await sent(gateway, first + SMUGGLED + first)) == [200, 401, 200]
        assert model.lines == [b"POST /first HTTP/1.1"] * 2


@pytest.mark.parametrize(
    "kind",
    [
        "one value",
        "one name",
        "the path",
        "many small headers",
        "one trailer",
        "many trailers",
        "an extension",
    ],
)
async def test_what_has_no_end_costs_no_memory(
    plane: Plane, kind: str, figures: Callable[[str], None]
) -> None:
    """A hundred megabytes of something that is no body: the connection is closed long before."""
    plane.document()
    gateway = await plane.gateway()
    chunked = head(plane, b"transfer-encoding: chunked", start=b"POST /healthz HTTP/1.1")
    begin, more = {
        "one value": (b"GET / HTTP/1.1\r\nhost: x\r\nx-a: ", b"y" * 65536),
        "one name": (b"GET / HTTP/1.1\r\nhost: x\r\n", b"y" * 65536),
        "the path": (b"GET /", b"y" * 65536),
        "many small headers": (b"GET / HTTP/1.1\r\nhost: x\r\n", b"a:\r\n" * 16384),
        "one trailer": (chunked + b"1\r\na\r\n0\r\nx-a: ", b"y" * 65536),
        "many trailers": (chunked + b"1\r\na\r\n0\r\n", b"a:\r\n" * 16384),
        "an extension": (chunked + b"1;", b"y" * 65536),
    }[kind]
    host, port = gateway.url.removeprefix("http://").split(":")
    before, most, pushed = gateway.rss_bytes(), 0, 0
    _, writer = await asyncio.open_connection(host, int(port))
    with contextlib.suppress(ConnectionError):
        writer.write(begin)
        while pushed < 100 * MIB:
            writer.write(more)
            await asyncio.wait_for(writer.drain(), 20)
            pushed += len(more)
            most = max(most, gateway.rss_bytes() - before)
    writer.close()
    figures(f"closed after {pushed / MIB:.1f} MiB, gateway +{most / MIB:.1f} MiB")
    assert pushed < 100 * MIB
    assert most < 12 * MIB
    assert await plane.status(f"{gateway.url}/healthz", 200)


async def impatient_gateway(plane: Plane) -> Gateway:
    """A gateway whose patience is a second where it is half a minute or a minute otherwise."""
    gateway = await plane.gateway()
    gateway.kill()
    patched = (
        "from holdfast_services.gateway import __main__, http_protocol, intake;"
        "http_protocol._HEAD_S = 1.0; intake._IDLE_S = 1.0; intake._START_S = 2.0; __main__.main()"
    )
    gateway.argv = [sys.executable, "-c", patched]
    gateway.start()
    await plane.until_true(lambda: gateway.alive, "gateway starts")

    async def ready() -> bool:
        return await plane.status(f"{gateway.url}/readyz", 200)

    await until(ready, "gateway ready")
    return gateway


async def test_who_sends_slowly_is_cut_off_and_others_are_served_meanwhile(
    plane: Plane, figures: Callable[[str], None]
) -> None:
    """200 connections that send one byte after the other: heads, bodies that pause, bodies that only trickle."""
    plane.document()
    gateway = await impatient_gateway(plane)
    await plane.replica()
    host, port = gateway.url.removeprefix("http://").split(":")
    began = time.monotonic()

    async def trickle(begin: bytes, every_s: float, piece: bytes) -> tuple[float, bytes]:
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(begin)
        reading = asyncio.create_task(reader.read(4096))
        with contextlib.suppress(ConnectionError):
            while not reading.done() and time.monotonic() - began < 30:
                writer.write(piece)
                await asyncio.wait({reading}, timeout=every_s)
        writer.close()
        answer = b""
        with contextlib.suppress(ConnectionError):
            answer = await reading
        return time.monotonic() - began, answer

    body = head(plane, b"content-length: 100000")
    kinds = [(b"GET / HTTP/1.1\r\nx: ", 0.2, b"y"), (body, 60.0, b"y"), (body, 0.2, b"y")]
    slow = [asyncio.create_task(trickle(*kinds[n % 3])) for n in range(200)]
    fast = 0
    while not all(task.done() for task in slow):
        async with plane.post(gateway.endpoint("demo")) as answer:
            assert answer.status == 200
            fast += 1
        await asyncio.sleep(0.05)
    ended = [task.result() for task in slow]
    worst = [max(at for at, _ in ended[n::3]) for n in range(3)]
    figures(
        f"200 slow senders ended after at most {worst[0]:.1f} s (heads), {worst[1]:.1f} s (pauses), "
        f"{worst[2]:.1f} s (trickles), at a patience of 1 s; {fast} others answered meanwhile"
    )
    assert all(answer in (b"",) or statuses(answer)[:1] == [400] for _, answer in ended)
    assert max(worst) < 10
    assert fast > 3
    assert await plane.empty()
