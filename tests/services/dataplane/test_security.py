"""What a hostile caller can send: heads that two servers read differently, bodies without end, paths, other people's
requests. A model in this process records every byte that came through."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from holdfast_contract import tokens

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dataplane import Gateway, Plane, Replica

ROOT = Path(__file__).resolve().parents[3]
MIB = 1024 * 1024
OTHER = tokens.new_token("other001")


async def until(condition: Callable[[], Awaitable[bool]], what: str, deadline_s: float = 30) -> None:
    """Wait until the condition is true; fails the test at the deadline."""
    ends = time.monotonic() + deadline_s
    while not await condition():
        assert time.monotonic() < ends, what
        await asyncio.sleep(0.05)


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
            assert set(statuses(await sent(gateway, start, within_s=2))) <= {400}, start
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


async def test_paths_reach_the_model_byte_for_byte_and_nobody_else(plane: Plane) -> None:
    async with recording(plane) as (gateway, _, model):
        plane.document("elsewhere", tokens=(tokens.hash_token(OTHER),))
        passed = (
            b"/..",
            b"/../elsewhere/x",
            b"/%2e%2e/%2e%2e/requests",
            b"/%2E%2E%2f%2fetc%2fpasswd",
            b"//elsewhere/",
            b"///",
            b"/\\..\\x",
            b"/%5c..%5c",
            b"/%00",
            b"/a;b=c/d",
            b"/%",
            b"/%zz",
            b"/%c0%ae%c0%ae/",
            b"/@elsewhere:80/",
            b"/http://elsewhere/",
            b"/x?y=/../e/elsewhere&z=%00",
        )
        for path in passed:
            answer = await sent(
                gateway, head(plane, b"connection: close", start=b"GET /e/demo" + path + b" HTTP/1.1")
            )
            assert statuses(answer) == [200], path
        assert model.lines == [b"GET " + path + b" HTTP/1.1" for path in passed]
        for start in (
            b"GET http://elsewhere/e/demo/absolute HTTP/1.1",
            b"OPTIONS * HTTP/1.1",
            b"GET e/demo/ HTTP/1.1",
            b"GET /e/demo/\x00 HTTP/1.1",
            b"GET /e/demo/\xff HTTP/1.1",
            b"GET /e/demo/\x7f HTTP/1.1",
            b"GET \\e\\demo\\ HTTP/1.1",
            b"GET /e%2fdemo/ HTTP/1.1",
            b"GET //e/demo/ HTTP/1.1",
            b"GET /./e/demo/ HTTP/1.1",
            b"GET /v1/../e/demo/ HTTP/1.1",
            b"GET /e/elsewhere/../demo/ HTTP/1.1",
            b"GET /e/demo%2f..%2felsewhere/ HTTP/1.1",
            b"GET /e/demo%00/ HTTP/1.1",
            b"GET /e/./demo/ HTTP/1.1",
        ):
            answer = await sent(gateway, head(plane, b"connection: close", start=start), within_s=3)
            assert not statuses(answer) or statuses(answer)[0] in (200, 400, 403, 404), start
        beyond = model.lines[len(passed) :]
        assert set(beyond) <= {b"GET /absolute HTTP/1.1"}, "only what names the endpoint reaches its model"


async def test_pages_and_requests_are_found_by_their_exact_paths_only(plane: Plane) -> None:
    plane.document()
    gateway = await plane.gateway(
        HOLDFAST_WEB_DIR=str(ROOT / "web"), HOLDFAST_TEMPLATES_DIR=str(ROOT / "templates")
    )
    async with plane.post(gateway.endpoint("demo"), headers={"prefer": "respond-async"}) as answer:
        request_id = json.loads(await answer.read())["id"]
    files = ("%2e%2e", "..", "..%2f..%2f..", "....//....//", "..\\..", "%00", "%252e%252e")
    for path in (
        *(f"/page/{trick}/etc/passwd" for trick in files),
        *(f"/v1/templates/{trick}/template.yaml" for trick in files),
        *(f"/v1/templates/embeddings/files/{trick}/template.yaml" for trick in files),
        "//",
        "/page//index.html",
        "/%2fhealthz",
        "//healthz",
        "/healthz/",
        "/v1//endpoints",
        "/v1/endpoints/x/demo",
        "/v1/endpoints/x/../demo",
        "/v1/endpoints/%64emo",
        f"/requests//{request_id}",
        f"/requests/{request_id}/",
        f"/requests/{request_id}/../{request_id}",
        f"/requests/{request_id.upper()}",
        f"/requests/{request_id}%00",
        f"/requests/{request_id}/result/",
        f"/requests/*{request_id[1:]}",
        "/requests/*",
        "/requests/>",
        f"/./requests/{request_id}",
        f"/requests/%2e%2e/requests/{request_id}",
    ):
        answer = await sent(gateway, head(plane, b"connection: close", start=f"GET {path} HTTP/1.1".encode()))
        assert statuses(answer) == [404], path
        assert b"root:" not in answer
    answer = await sent(gateway, head(plane, start=f"GET /requests/{request_id} HTTP/1.1".encode()))
    assert statuses(answer) == [200]


async def test_one_endpoints_token_opens_nothing_of_another(plane: Plane) -> None:
    plane.document()
    plane.document("elsewhere", tokens=(tokens.hash_token(OTHER),))
    gateway = await plane.gateway()
    async with plane.post(gateway.endpoint("demo"), headers={"prefer": "respond-async"}) as answer:
        request_id = json.loads(await answer.read())["id"]

    async def tried(method: str, path: str, token: str | None) -> tuple[int, bytes]:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        async with plane.http.request(method, gateway.url + path, headers=headers) as answer:
            return answer.status, await answer.read()

    for method, path, refused in (
        ("POST", "/e/demo/", 403),
        ("GET", "/v1/endpoints/demo", 403),
        ("GET", f"/requests/{request_id}", 404),
        ("GET", f"/requests/{request_id}/result", 404),
        ("DELETE", f"/requests/{request_id}", 404),
    ):
        assert (await tried(method, path, OTHER))[0] == refused, path
        assert (await tried(method, path, None))[0] == 401, path
        near = plane.token[:-1] + ("A" if plane.token[-1] != "A" else "B")
        assert (await tried(method, path, near))[0] in (401, 404), path
    listed = json.loads((await tried("GET", "/v1/endpoints", OTHER))[1])["endpoints"]
    assert [endpoint["name"] for endpoint in listed] == ["elsewhere"]
    # The same key with another token is another request, and one endpoint's key another's.
    assert json.loads((await tried("GET", f"/requests/{request_id}", plane.token))[1])["status"] == "QUEUED"


async def test_a_caller_cannot_speak_for_holdfast_or_for_a_proxy(plane: Plane) -> None:
    async with recording(plane) as (gateway, _, model):
        forged = (
            b"x-reply: http://127.0.0.1/",
            b"holdfast-ack: $JS.ACK.x",
            b"holdfast-request: {}",
            b"x-holdfast-anything: 1",
            b"x-request-id: mine",
            b"x-attempt: 9",
            b"x-replica: mine",
            b"x-forwarded-for: 10.0.0.1",
            b"x-forwarded-host: evil",
            b"x-forwarded-proto: https",
            b"forwarded: for=10.0.0.1",
            b"x-real-ip: 10.0.0.1",
            b"cookie: a=b",
            b"proxy-authorization: Basic x",
            b"connection: keep-alive, x-secret",
            b"x-secret: 1",
            b"keep-alive: timeout=9",
            b"te: trailers",
            b"x-kept: yes",
        )
        answer = await sent(gateway, head(plane, *forged, b"content-length: 0"))
        assert statuses(answer) == [200]
        assert b"x-attempt: 1\r\n" in answer.lower()
        assert b"mine" not in answer
        received = model.requests[0][0].decode().lower()
        kept = {line.partition(":")[0] for line in received.split("\r\n")[1:] if line}
        assert kept <= {"host", "x-request-id", "x-attempt", "x-kept", "content-length"}
        assert "mine" not in received
        assert "x-attempt: 1\r\n" in received


async def test_a_reply_is_taken_from_whoever_was_asked_and_once(plane: Plane) -> None:
    plane.document()
    gateway = await plane.gateway()

    async def held_one(number: int) -> tuple[asyncio.Task[int], Any]:
        async def ask() -> int:
            async with plane.post(gateway.endpoint("demo")) as answer:
                await answer.read()
                return answer.status

        task = asyncio.create_task(ask())
        await plane.until_depth(number, 0)
        sequence, message = 0, None
        while (found := await plane.broker.peek("demo", sequence)) is not None:
            sequence, message = found[0] + 1, found[1]
        return task, message

    (first, one), (second, two) = await held_one(1), await held_one(2)
    signature = one.reply_url.partition("?")[2]
    for method in ("GET", "PUT", "DELETE", "HEAD", "OPTIONS"):
        async with plane.http.request(method, one.reply_url) as answer:
            assert answer.status == 405, method
    for url, wanted in {
        two.reply_url.partition("?")[0] + "?" + signature: 403,
        one.reply_url.partition("?")[0] + "?" + signature.upper(): 403,
        one.reply_url + "0": 403,
        one.reply_url[:-1]: 403,
        one.reply_url.partition("?")[0] + "?sig=": 403,
    }.items():
        async with plane.http.post(url, data=b"") as answer:
            assert answer.status in (wanted, 404), url

    # An opened reply that never says anything is bounded: it is cut, and the caller is still held.
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield b"\0" * 65536

    with contextlib.suppress(Exception):
        async with plane.http.post(one.reply_url, data=endless()) as answer:
            assert answer.status == 400
    assert not first.done()
    assert not second.done()
    await plane.replica()
    assert (await first, await second) == (200, 200)
    async with plane.http.post(one.reply_url, data=b"") as answer:
        assert answer.status == 410, "a second answer to the same request"
