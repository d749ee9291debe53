"""A hostile model container, and hostile receivers of webhooks: they cost one request, and neither memory nor peace of
anybody else."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp.connector import TCPConnector

from holdfast_contract import names
from holdfast_services.gateway import webhooks

if TYPE_CHECKING:
    from dataplane import Gateway, Plane, Replica

MIB = 1024 * 1024
Behave = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\n"
PIECE = b"y" * 65536


async def endlessly(writer: asyncio.StreamWriter, begin: bytes, piece: bytes) -> None:
    """Write until the other side is gone, and as fast as it takes it."""
    writer.write(begin)
    while True:
        writer.write(piece)
        await writer.drain()


def said(raw: bytes, then: float = 0.05) -> Behave:
    """Say this, and close."""

    async def behave(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()
        await asyncio.sleep(then)

    return behave


def never_ending(begin: bytes, piece: bytes) -> Behave:
    """See `endlessly`."""

    async def behave(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await endlessly(writer, begin, piece)

    return behave


CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"
ENDLESS: dict[str, Behave] = {
    "headers": never_ending(OK, b"x-a: %s\r\n" % (b"y" * 4000)),
    "small-headers": never_ending(OK, b"a:\r\n" * 16384),
    "header": never_ending(OK + b"x-a: ", PIECE),
    "name": never_ending(OK, PIECE),
    "reason": never_ending(b"HTTP/1.1 200 ", PIECE),
    "continues": never_ending(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    "hints": never_ending(b"", b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" * 1000),
    "extension": never_ending(CHUNKED + b"1;", PIECE),
    "trailer": never_ending(CHUNKED + b"1\r\na\r\n0\r\nx-a: ", PIECE),
    "trailers": never_ending(CHUNKED + b"1\r\na\r\n0\r\n", b"a:\r\n" * 16384),
}
SPLIT = b"HTTP/1.1 200 OK\r\nx-evil: 1\r\n\r\n"
"""What looks like a second answer: body of the first, which has no length."""
WRONG: dict[str, tuple[Behave, bool]] = {
    "nothing": (said(b""), False),
    "not-http": (said(b"\x00\x01\x02" * 100), False),
    "status-999": (said(b"HTTP/1.1 999 Odd\r\ncontent-length: 2\r\n\r\nok"), False),
    "status-099": (said(b"HTTP/1.1 099 Odd\r\ncontent-length: 2\r\n\r\nok"), False),
    "status-minus": (said(b"HTTP/1.1 -20 Odd\r\ncontent-length: 2\r\n\r\nok"), False),
    "status-text": (said(b"HTTP/1.1 abc\r\n\r\n"), False),
    "switching": (said(b"HTTP/1.1 101 Go\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nanything"), False),
    "two-lengths": (said(OK + b"content-length: 2\r\ncontent-length: 3\r\n\r\nok!"), False),
    "negative": (said(OK + b"content-length: -2\r\n\r\nok"), False),
    "huge-number": (said(OK + b"content-length: 99999999999999999999999\r\n\r\nok"), False),
    "length-and-chunks": (
        said(OK + b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n"),
        True,
    ),
    "split": (said(OK + b"x-a: 1\r\n\r\n" + SPLIT), True),
    "bare-cr": (said(OK + b"x-a: 1\rx-evil: 2\r\ncontent-length: 2\r\n\r\nok"), True),
    "folded": (said(OK + b"x-a: 1\r\n x-evil: 2\r\ncontent-length: 2\r\n\r\nok"), True),
    "nul": (said(OK + b"x-a: 1\x00\r\ncontent-length: 2\r\n\r\nok"), True),
    "short": (said(OK + b"content-length: 100\r\n\r\nonly this"), True),
    "long": (said(OK + b"content-length: 2\r\n\r\nok and much more than that"), True),
    "bad-chunk": (said(CHUNKED + b"zz\r\nabc\r\n"), True),
    "huge-chunk": (said(CHUNKED + b"ffffffffffffffffff\r\nabc"), True),
    "cut-chunk": (said(CHUNKED + b"ffffff\r\nabc"), True),
    "early": (said(OK + b"content-le"), False),
}
"""By name: what the model does, and whether an answer may have begun when it is noticed."""


@contextlib.asynccontextmanager
async def hostile(plane: Plane, **fields: Any) -> AsyncIterator[tuple[Gateway, Replica]]:
    """A gateway and a replica whose model does what the request's path names, and else answers `ok`."""
    plane.document(**fields)
    gateway = await plane.gateway()
    replica = await plane.replica(ready=False)
    replica.model.kill()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            wanted = head.split(b" ")[1].decode().strip("/").partition("?")[0]
            behave = ENDLESS.get(wanted) or WRONG.get(wanted, (None,))[0]
            if wanted == "body":
                behave = never_ending(OK + b"\r\n", PIECE)
            await (behave or said(OK + b"content-length: 2\r\n\r\nok", 0))(reader, writer)
        with contextlib.suppress(ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", int(replica.model_url.rpartition(":")[2]))
    try:
        await ready(plane, f"{replica.worker_url}/readyz")
        yield gateway, replica
    finally:
        server.close()


async def ready(plane: Plane, url: str) -> None:
    ends = time.monotonic() + 30
    while not await plane.status(url, 200):
        assert time.monotonic() < ends, url
        await asyncio.sleep(0.05)


async def ask(plane: Plane, gateway: Gateway, path: str) -> tuple[int, bytes, bool]:
    """Status, what was read of the body, and whether it broke off."""
    async with plane.post(gateway.endpoint("demo", "/" + path)) as answer:
        body = b""
        try:
            async for piece in answer.content.iter_any():
                body += piece
        except aiohttp.ClientPayloadError:
            return answer.status, body, True
        return answer.status, body, False


async def test_endless_answers_end_with_their_request_and_fill_no_memory(
    plane: Plane, figures: Callable[[str], None]
) -> None:
    async with hostile(plane, max_request_s=2) as (gateway, replica):
        assert (await ask(plane, gateway, "fine"))[:2] == (200, b"ok")
        before = gateway.rss_bytes(), replica.worker.rss_bytes()
        most, told = [0, 0], {}
        for kind in ENDLESS:
            asked = asyncio.create_task(ask(plane, gateway, kind))
            while not asked.done():
                now = gateway.rss_bytes(), replica.worker.rss_bytes()
                most = [max(high, at - was) for high, at, was in zip(most, now, before, strict=True)]
                await asyncio.wait({asked}, timeout=0.05)
            told[kind] = asked.result()
            assert (await ask(plane, gateway, "fine"))[:2] == (200, b"ok"), f"after {kind}"
        figures(
            f"{len(ENDLESS)} endless answers: worker +{most[1] / MIB:.1f} MiB, gateway +{most[0] / MIB:.1f} MiB at "
            f"most; told { ({kind: status for kind, (status, _, _) in told.items()}) }"
        )
        for kind, (status, body, broke) in told.items():
            assert status in (502, 504) or (status == 200 and broke), kind
            assert status != 200 or len(body) <= 1, kind
        assert max(most) < 24 * MIB
        assert gateway.alive
        assert replica.worker.alive


async def test_malformed_answers_are_errors_and_never_headers_or_answers_of_their_own(plane: Plane) -> None:
    async with hostile(plane, max_request_s=20) as (gateway, replica):
        # Three attempts each, a second apart: asked for all at once.
        asked = await asyncio.gather(*(ask(plane, gateway, kind) for kind in WRONG))
        for (kind, (_, begun)), (status, body, broke) in zip(WRONG.items(), asked, strict=True):
            if not begun:
                assert status == 502, kind
                assert json.loads(body)["type"].endswith("/bad-answer"), kind
            else:
                assert status in (200, 502), kind
                assert status == 502 or broke or body in (b"", SPLIT if kind == "split" else b"ok"), kind
        for kind in ("folded", "bare-cr", "split", "nul"):
            async with plane.post(gateway.endpoint("demo", "/" + kind)) as answer:
                assert "x-evil" not in answer.headers
        assert (await ask(plane, gateway, "fine"))[:2] == (200, b"ok")
        assert replica.worker.alive
        await plane.until_depth(0, 0)


async def test_a_body_without_end_is_passed_on_at_the_readers_pace_and_is_not_kept(
    plane: Plane, figures: Callable[[str], None]
) -> None:
    """A caller who reads gets what there is until the time is over; what is to be kept stops at its limit."""
    async with hostile(plane, max_request_s=4) as (gateway, replica):
        await ask(plane, gateway, "fine")
        before = gateway.rss_bytes(), replica.worker.rss_bytes()
        async with plane.post(gateway.endpoint("demo", "/body")) as answer:
            await answer.content.readexactly(MIB)
            broke = False
            while not broke:
                try:
                    broke = not await answer.content.read(MIB) and pytest.fail("a clean end")
                except aiohttp.ClientPayloadError:
                    broke = True
                await asyncio.sleep(0.02)  # a reader who takes its time
        grown = gateway.rss_bytes() - before[0], replica.worker.rss_bytes() - before[1]
        figures(f"gateway +{grown[0] / MIB:.1f} MiB, worker +{grown[1] / MIB:.1f} MiB")
        assert max(grown) < 24 * MIB
        assert (await ask(plane, gateway, "fine"))[:2] == (200, b"ok")


async def test_a_result_above_what_is_kept_fails_and_frees_its_space(plane: Plane) -> None:
    plane.document(max_request_s=60)
    gateway = await plane.gateway()
    await plane.replica(worker_env={names.ENV_MAX_RESULT_BYTES: str(3 * MIB)})

    async def submitted(size: int) -> dict[str, Any]:
        headers = {"prefer": "respond-async", "x-size": str(size // 4), "x-stream-chunks": "4"}
        async with plane.post(gateway.endpoint("demo"), headers=headers) as answer:
            request_id = json.loads(await answer.read())["id"]
        async with plane.http.get(
            f"{gateway.url}/requests/{request_id}?wait=30", headers={"authorization": f"Bearer {plane.token}"}
        ) as answer:
            told: dict[str, Any] = json.loads(await answer.read())
            return told

    assert (await submitted(2 * MIB))["status"] == "SUCCEEDED"
    stored = await plane.broker.jetstream.stream_info(f"OBJ_{names.BUCKET_BODIES}")
    told = await submitted(8 * MIB)
    assert told["status"] == "FAILED"
    assert (
        told["error"] == "the answer is above 3145728 bytes, the most that is kept: ask for it synchronously"
    )
    after = await plane.broker.jetstream.stream_info(f"OBJ_{names.BUCKET_BODIES}")
    assert after.state.bytes <= stored.state.bytes + 64 * 1024
    assert (await submitted(1 * MIB))["status"] == "SUCCEEDED"


# --- webhooks ---------------------------------------------------------------------------------------------
async def test_hostile_receivers_of_webhooks_cost_nothing_and_end_nothing(
    plane: Plane, figures: Callable[[str], None]
) -> None:
    """Redirects into the cluster, answers without end, times that are no numbers."""
    asked: dict[str, int] = {}
    inner = 0

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal inner
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            kind = head.split(b" ")[1].decode().strip("/")
            asked[kind] = asked.get(kind, 0) + 1
            if kind == "inner":
                inner += 1
            elif kind == "redirect":
                to = f"http://127.0.0.1:{port}/inner".encode()
                writer.write(b"HTTP/1.1 307 Go\r\nlocation: %s\r\ncontent-length: 0\r\n\r\n" % to)
            elif kind == "later":
                writer.write("HTTP/1.1 503 No\r\nretry-after: ²\r\ncontent-length: 0\r\n\r\n".encode())
            elif kind == "never":
                writer.write(
                    b"HTTP/1.1 503 No\r\nretry-after: %s\r\ncontent-length: 0\r\n\r\n" % (b"9" * 5000)
                )
            elif kind in ENDLESS:
                await ENDLESS[kind](reader, writer)
            elif kind == "body":
                await endlessly(writer, OK + b"\r\n", PIECE)
            else:
                writer.write(b"HTTP/1.1 204 Fine\r\n\r\n")
            await writer.drain()
        with contextlib.suppress(ConnectionError):
            writer.close()

    server = await asyncio.start_server(receive, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        plane.document()
        gateway = await plane.gateway(**{names.ENV_WEBHOOK_NETWORKS: "127.0.0.0/8"})
        await plane.replica()
        before, most = gateway.rss_bytes(), 0
        kinds = ["redirect", "later", "never", "body", *ENDLESS]
        for kind in kinds:
            headers = {"webhook-url": f"http://127.0.0.1:{port}/{kind}", "prefer": "respond-async"}
            async with plane.post(gateway.endpoint("demo"), headers=headers) as answer:
                assert answer.status == 202
        ends = time.monotonic() + 25
        while (missing := set(kinds) - set(asked)) or time.monotonic() < ends - 17:
            most = max(most, gateway.rss_bytes() - before)
            assert time.monotonic() < ends, missing
            assert gateway.alive
            await asyncio.sleep(0.05)
        headers = {"webhook-url": f"http://127.0.0.1:{port}/fine", "prefer": "respond-async"}
        async with plane.post(gateway.endpoint("demo"), headers=headers) as answer:
            assert answer.status == 202
        await plane.until_true(lambda: asked.get("fine"), "a webhook after all of that")
        figures(f"{len(kinds)} hostile receivers: gateway +{most / MIB:.1f} MiB at most")
        assert inner == 0, "a redirect was followed"
        assert most < 32 * MIB
        assert gateway.alive
    finally:
        server.close()


async def test_a_name_that_changes_its_address_between_check_and_use_gains_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DNS rebinding: allowed when asked first, forbidden afterwards. One question is asked for each delivery, and the
    connection goes to the address that was judged."""
    reached: list[str] = []

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.append(writer.get_extra_info("sockname")[0])
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 Fine\r\n\r\n")
        writer.close()

    allowed_server = await asyncio.start_server(receive, "127.0.0.2", 0)
    port = allowed_server.sockets[0].getsockname()[1]
    forbidden_server = await asyncio.start_server(receive, "127.0.0.1", port)
    questions: list[str] = []

    async def lookup(host: str, *_: Any, **__: Any) -> list[Any]:
        questions.append(host)
        address = "127.0.0.2" if len(questions) % 2 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", lookup)
    resolver = webhooks.PublicResolver([ip_network("127.0.0.2/32")])
    connector = TCPConnector(resolver=resolver, use_dns_cache=False, force_close=True)
    try:
        async with aiohttp.ClientSession(connector=connector) as session:
            async with session.post(f"http://rebinding.test:{port}/", data=b"x") as answer:
                assert answer.status == 204
            with pytest.raises(aiohttp.ClientConnectorError) as caught:
                await session.post(f"http://rebinding.test:{port}/", data=b"x")
            assert str(caught.value.os_error) == "127.0.0.1 is not a public address"
    finally:
        allowed_server.close()
        forbidden_server.close()
    assert reached == ["127.0.0.2"]
    assert questions == ["rebinding.test"] * 2


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "2130706433",
        "127.1",
        "0177.0.0.1",
        "0x7f.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "127.0.0.1.",
    ],
)
async def test_an_inner_address_is_refused_however_it_is_written(host: str) -> None:
    assert webhooks.literal_refused(f"http://{host}:1/x", ()) is not None
