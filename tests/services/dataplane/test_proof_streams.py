"""Proofs: slow readers, hostile models, forged replies, callers that leave by the dozen."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataplane import Gateway, Plane

MIB = 1024 * 1024


async def ask(plane: Plane, gateway: Gateway, **headers: str) -> int:
    sent = {"authorization": f"Bearer {plane.token}", **headers}
    async with plane.http.post(gateway.endpoint("demo"), headers=sent) as answer:
        await answer.read()
        return answer.status


async def test_a_slow_reader_costs_no_memory_and_disturbs_nobody(
    plane: Plane, scale: float, figures: Callable[[str], None]
) -> None:
    size = int(200 * MIB * scale)
    plane.document(max_replicas=2)
    gateway = await plane.gateway()
    slow_replica = await plane.replica()
    await ask(plane, gateway)
    before = gateway.rss_bytes(), slow_replica.worker.rss_bytes()
    headers = {
        "authorization": f"Bearer {plane.token}",
        "x-stream-chunks": "1024",
        "x-size": str(size // 1024),
    }
    read = 0
    async with plane.http.post(gateway.endpoint("demo"), headers=headers) as answer:
        read += len(await answer.content.readexactly(MIB))
        await plane.replica()
        began = time.perf_counter()
        others = [await ask(plane, gateway) for _ in range(30)]
        others_s = (time.perf_counter() - began) / len(others)
        grown = gateway.rss_bytes() - before[0], slow_replica.worker.rss_bytes() - before[1]
        async for piece in answer.content.iter_any():
            read += len(piece)
    figures(
        f"{size // MIB} MiB, reader asleep: gateway +{grown[0] / MIB:.1f} MiB, worker +{grown[1] / MIB:.1f} MiB; "
        f"others meanwhile {others_s * 1e3:.1f} ms each; every byte arrived in the end"
    )
    assert set(others) == {200}
    assert read == size // 1024 * 1024
    assert max(grown) < 16 * MIB


async def test_many_callers_who_leave_cause_no_execution_and_leave_no_trace(
    plane: Plane, figures: Callable[[str], None]
) -> None:
    plane.document()
    gateway = await plane.gateway()
    asked = [asyncio.create_task(ask(plane, gateway)) for _ in range(100)]
    await plane.until_depth(100, 0)
    for task in asked:
        task.cancel()
    left = time.monotonic()
    await asyncio.gather(*asked, return_exceptions=True)
    await plane.until_depth(0, 0)
    withdrawn_s = time.monotonic() - left
    replica = await plane.replica()
    assert await ask(plane, gateway) == 200
    figures(
        f"{len(asked)} callers left while queued: {len(replica.begun()) - 1} executions, "
        f"the queue empty {withdrawn_s:.2f} s after they left"
    )
    assert len(replica.begun()) == 1
    async with plane.http.get(f"{gateway.internal_url}/metrics") as metrics:
        assert 'cause="gone",code="499",endpoint="demo"} 100.0' in await metrics.text()


async def test_a_hostile_model_harms_neither_gateway_nor_worker(plane: Plane) -> None:
    """Endless headers, a length that is not kept, a status that does not exist: each is an error of that request."""
    plane.document(max_request_s=20)
    gateway = await plane.gateway()
    replica = await plane.replica(ready=False)
    replica.model.kill()
    answers = {
        b"endless": b"HTTP/1.1 200 OK\r\n" + b"".join(b"x-%d: %s\r\n" % (n, b"y" * 4000) for n in range(400)),
        b"short": b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this",
        b"long": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok and much more than that",
        b"status": b"HTTP/1.1 999 Odd\r\ncontent-length: 2\r\n\r\nok",
        b"upgrade": b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"smuggle": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
    }

    async def hostile(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        wanted = next((kind for kind in answers if b"/" + kind in head.partition(b"\r\n")[0]), None)
        writer.write(answers[wanted] if wanted else b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        await asyncio.sleep(0.05)
        writer.close()

    port = int(replica.model_url.rpartition(":")[2])
    server = await asyncio.start_server(hostile, "127.0.0.1", port)
    try:
        for kind in answers:
            url = gateway.endpoint("demo", "/" + kind.decode())
            try:
                async with plane.post(url) as answer:
                    body = await answer.read()
                    assert answer.status in (200, 502), kind
                    if answer.status == 200:
                        assert body in (b"", b"ok"), kind
            except aiohttp.ClientPayloadError:
                assert kind == b"short"
            await plane.until_depth(0, 0)
        assert await ask(plane, gateway) == 200
        assert gateway.alive
        assert replica.worker.alive
    finally:
        server.close()


async def test_a_reply_that_this_gateway_did_not_ask_for_is_refused(plane: Plane) -> None:
    plane.document()
    first, second = await plane.gateway(), await plane.gateway()
    held = asyncio.create_task(ask(plane, first))
    await plane.until_depth(1, 0)
    (message,) = [entry async for entry in _queued(plane)]
    url = message.reply_url
    assert url.startswith(f"{first.internal_url}/reply/{message.id}?sig=")
    forged = {
        url[:-1] + ("0" if url[-1] != "0" else "1"): 403,
        url.partition("?")[0]: 403,
        url.replace(first.internal_url, second.internal_url): 403,
        url.replace(message.id, "01a20f04-9473-75c0-9b6f-acee5f274e26"): 403,
        url.replace(first.internal_url, first.url): 404,  # callers' side has no such page
    }
    for target, wanted in forged.items():
        async with plane.http.post(target, data=b"\0\0\0\2{}") as answer:
            assert answer.status == wanted, target
    async with plane.http.post(url, data=b"\0\0\0\2{}") as answer:
        assert answer.status == 400
    assert not held.done()
    await plane.replica()
    assert await held == 200
    async with plane.http.post(url, data=b"\0\0\0\2{}") as answer:
        assert answer.status == 410


async def test_a_head_that_is_too_large_or_malformed_is_refused_by_the_server(plane: Plane) -> None:
    plane.document()
    gateway = await plane.gateway()
    host, port = gateway.url.removeprefix("http://").split(":")

    async def sent(raw: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(raw)
        status = (await asyncio.wait_for(reader.read(4096), 10)).partition(b"\r\n")[0]
        writer.close()
        return status

    start = b"POST /e/demo/ HTTP/1.1\r\nhost: x\r\n"
    assert b"400" in await sent(start + b"".join(b"h%d: %s\r\n" % (n, b"v" * 1000) for n in range(100)))
    assert b"400" in await sent(start + b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello!")
    assert b"400" in await sent(start + b"transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n")
    assert b"400" in await sent(start + b"bad header: x\r\n\r\n")
    assert b"401" in await sent(start + b"content-length: 0\r\n\r\n")


async def _queued(plane: Plane):  # type: ignore[no-untyped-def]
    sequence = 0
    while (found := await plane.broker.peek("demo", sequence)) is not None:
        sequence = found[0] + 1
        yield found[1]
