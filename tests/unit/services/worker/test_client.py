"""The worker's HTTP client against servers that say exactly what a test wants, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast_services.worker.client import Client, split_url
from holdfast_services.worker.exchange import MAX_OVERHEAD_BYTES, Answer, Broken

OK = b"HTTP/1.1 200 OK\r\n"
EMPTY = OK + b"content-length: 0\r\n\r\n"
Speak = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Counts connections, keeps what it was sent."""

    def __init__(self, speak: Speak) -> None:
        self.connections = 0
        self.nobody = asyncio.Event()
        """Set while no connection is open."""
        self.nobody.set()
        self._open = 0
        self.ended = asyncio.Event()
        """Set when a connection was closed by the client."""
        self._speak = speak
        self.address = ""

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open += 1
        self.nobody.clear()
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await self._speak(reader, writer)
        writer.close()
        self.ended.set()
        self._open -= 1
        if not self._open:
            self.nobody.set()


@contextlib.asynccontextmanager
async def serving(speak: Speak) -> AsyncIterator[tuple[Client, Server]]:
    there = Server(speak)
    server = await asyncio.start_server(there.accept, "127.0.0.1", 0)
    there.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    client = Client(keep_s=5, connect_s=5)
    try:
        yield client, there
    finally:
        client.close()
        server.close()
        await asyncio.wait_for(there.nobody.wait(), 5)


def always(raw: bytes, *, close: bool = False) -> Speak:
    """Answer every head with this."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(raw)
            await writer.drain()
            if close:
                return

    return speak


async def get(client: Client, there: Server, method: str = "GET") -> Answer:
    return await client.request(method, there.address, "/x", ())


async def whole(answer: Answer) -> bytes:
    read = b"".join([piece async for piece in answer.iterate()])
    answer.release()
    return read


# --- what is sent -----------------------------------------------------------------------------------------
async def sent_by(ask: Callable[[Client, str], Awaitable[Any]]) -> bytes:
    """Everything that one request puts on the wire."""
    got = bytearray()

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(5):
            while not got.endswith((b"\r\n\r\n", b"END")):
                got.extend(await reader.read(65536))
        writer.write(EMPTY)

    async with serving(speak) as (client, there):
        await ask(client, there.address)
        return bytes(got).replace(there.address.encode(), b"ADDRESS")


async def test_a_request_is_its_line_its_headers_in_order_and_its_body() -> None:
    headers = (("x-b", "1"), ("x-a", "\u00e9"), ("x-b", "2"))
    assert await sent_by(lambda client, to: client.request("POST", to, "/a/../b%2f?q", headers, b"END")) == (
        b"POST /a/../b%2f?q HTTP/1.1\r\nhost: ADDRESS\r\ncontent-length: 3\r\n"
        b"x-b: 1\r\nx-a: \xe9\r\nx-b: 2\r\n\r\nEND"
    )


@pytest.mark.parametrize(
    ("method", "said"), [("GET", False), ("HEAD", False), ("POST", True), ("DELETE", True)]
)
async def test_an_empty_body_is_said_where_one_could_be_expected(method: str, said: bool) -> None:
    sent = await sent_by(lambda client, to: client.request(method, to, "/", ()))
    assert (b"content-length: 0" in sent) is said


async def pieces(*them: bytes) -> AsyncIterator[bytes]:
    for piece in them:
        await asyncio.sleep(0)
        yield piece


async def test_a_body_in_pieces_goes_in_chunks_or_as_it_is_where_its_length_is_known() -> None:
    chunked = await sent_by(
        lambda client, to: client.request("POST", to, "/", (), pieces(b"ab", b"", b"cde"))
    )
    assert chunked.endswith(b"transfer-encoding: chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n")
    plain = await sent_by(lambda client, to: client.request("POST", to, "/", (), pieces(b"ab", b"END"), 5))
    assert plain.endswith(b"content-length: 5\r\n\r\nabEND")


@pytest.mark.parametrize("length", [4, 6])
async def test_a_body_of_another_length_than_was_said_breaks_the_request_off(length: int) -> None:
    async with serving(always(b"")) as (client, there):
        with pytest.raises(Broken, match=f"the body has 5 bytes, not {length}"):
            await client.request("POST", there.address, "/", (), pieces(b"ab", b"cde"), length)
        await asyncio.wait_for(there.ended.wait(), 5)


async def test_what_the_source_of_a_body_raises_is_raised_and_the_server_sees_the_body_break_off() -> None:
    async def source() -> AsyncIterator[bytes]:
        yield b"ab"
        raise LookupError("not in the store")

    async with serving(always(b"")) as (client, there):
        with pytest.raises(LookupError, match="not in the store"):
            await client.request("POST", there.address, "/", (), source())
        await asyncio.wait_for(there.ended.wait(), 5)


@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        ("GET", "/a b", ()),
        ("GET", "/a\r\nx: y", ()),
        ("GET /", "/", ()),
        ("GET", "/", (("x", "1\r\ny: 2"),)),
        ("GET", "/", (("x\n", "1"),)),
        ("GET", "/", (("x", "1\r"), ("y", "\n"))),
        ("GET", "/", (("x", "\0"),)),
        ("GET", "/", (("x", "\u20ac"),)),
    ],
)
async def test_nothing_in_a_request_becomes_a_line_of_its_own(method: str, target: str, headers: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # the last one is the encoder's
        await Client(keep_s=1, connect_s=1).request(method, "127.0.0.1:9", target, headers)


@given(st.lists(st.tuples(st.text("ab\r\n\0: "), st.text("ab\r\n\0: "))))
def test_headers_are_as_many_lines_as_there_are_headers_or_refused(headers: list[tuple[str, str]]) -> None:
    from holdfast_services.worker.client import _head

    try:
        head = _head("GET", "h:1", "/", headers, 0)
    except ValueError:
        assert any(set(name + value) & set("\r\n\0") for name, value in headers)
    else:
        assert len(head.split(b"\r\n")) == len(headers) + 4


# --- what comes back --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("raw", "status", "length", "body"),
    [
        (OK + b"content-length: 5\r\n\r\nhello", 200, 5, b"hello"),
        (OK + b"transfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", 200, None, b"hello"),
        (b"HTTP/1.1 103 Early Hints\r\nx: y\r\n\r\n" + OK + b"content-length: 2\r\n\r\nok", 200, 2, b"ok"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, None, b""),
        (b"HTTP/1.1 404 No\ncontent-length: 2\n\nno", 404, 2, b"no"),
    ],
)
async def test_an_answer_is_the_same_however_it_is_cut_and_its_connection_is_used_again(
    raw: bytes, status: int, length: int | None, body: bytes
) -> None:
    async def bit_by_bit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            for byte in raw:
                writer.write(bytes([byte]))
                await asyncio.sleep(0)

    for speak in (always(raw), bit_by_bit):
        async with serving(speak) as (client, there):
            for _ in range(3):
                answer = await get(client, there)
                assert (answer.status, answer.length) == (status, length)
                assert all(name.lower() != b"x" for name, _ in answer.headers)
                assert await whole(answer) == body
            assert there.connections == 1


async def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    async with serving(always(OK + b"\r\nall of it", close=True)) as (client, there):
        assert await whole(await get(client, there)) == b"all of it"
        assert await whole(await get(client, there)) == b"all of it"
        assert there.connections == 2


async def test_the_answer_to_head_has_a_length_and_no_body() -> None:
    async with serving(always(OK + b"content-length: 100\r\n\r\n")) as (client, there):
        answer = await get(client, there, "HEAD")
        assert (answer.length, answer.complete, await whole(answer)) == (100, True, b"")


@pytest.mark.parametrize(
    "raw",
    [
        OK + b"content-length: 100\r\n\r\nonly this",
        OK + b"transfer-encoding: chunked\r\n\r\n9\r\nonly this\r\n",
        OK + b"transfer-encoding: identity\r\n\r\nonly this",
    ],
)
async def test_a_body_that_breaks_off_is_never_taken_for_whole(raw: bytes) -> None:
    async with serving(always(raw, close=True)) as (client, there):
        answer = await get(client, there)
        body = answer.iterate()
        assert await anext(body) == b"only this"
        with pytest.raises(Broken):
            await anext(body)
        answer.release()


@pytest.mark.parametrize("raw", [b"", b"SSH-2.0\r\n", b"HTTP/1.1 200 OK\r\ncontent-le"])
async def test_what_is_no_answer_is_an_error(raw: bytes) -> None:
    async with serving(always(raw, close=True)) as (client, there):
        with pytest.raises(Broken):
            await get(client, there)


@pytest.mark.parametrize(
    "endless",
    [
        (OK, b"x: %s\r\n" % (b"y" * 4000)),
        (OK + b"x: ", b"y" * 4000),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
        (OK + b"transfer-encoding: chunked\r\n\r\n1;", b"y" * 4000),
    ],
)
async def test_what_has_no_end_and_is_no_body_is_cut(endless: tuple[bytes, bytes]) -> None:
    sent = 0

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(endless[0])
        while True:
            writer.write(endless[1])
            sent += len(endless[1])
            await writer.drain()

    async with serving(speak) as (client, there):
        with pytest.raises(Broken, match=f"more than {MAX_OVERHEAD_BYTES} bytes|not HTTP"):
            await whole(await get(client, there, "POST"))
        await asyncio.wait_for(there.ended.wait(), 5)
        assert sent < 64 * MAX_OVERHEAD_BYTES


async def test_a_body_is_read_as_fast_as_it_is_taken_and_no_faster() -> None:
    sent = 0

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + b"\r\n")
        while True:
            writer.write(b"y" * 65536)
            await writer.drain()
            sent += 65536

    async with serving(speak) as (client, there):
        answer = await get(client, there)
        await asyncio.sleep(0.3)
        stuck = sent
        await asyncio.sleep(0.2)
        assert sent == stuck
        taken = 0
        async for piece in answer.iterate():
            taken += len(piece)
            if taken > stuck + 8 * 1024 * 1024:
                break
        answer.release()
        await asyncio.wait_for(there.ended.wait(), 5)


async def test_more_than_the_answer_ends_the_connection_and_is_nobody_elses() -> None:
    async with serving(always(OK + b"content-length: 2\r\n\r\nok" + EMPTY)) as (client, there):
        assert await whole(await get(client, there)) == b"ok"
        assert await whole(await get(client, there)) == b"ok"
        assert there.connections == 2


async def test_an_answer_that_is_not_read_to_its_end_takes_its_connection_with_it() -> None:
    async with serving(always(OK + b"content-length: 20\r\n\r\nok")) as (client, there):
        (await get(client, there)).release()
        await asyncio.wait_for(there.ended.wait(), 5)


async def test_a_request_that_is_cancelled_is_seen_to_be_by_the_server() -> None:
    async with serving(always(b"")) as (client, there):
        asking = asyncio.create_task(get(client, there))
        await asyncio.sleep(0.1)
        asking.cancel()
        await asyncio.wait_for(there.ended.wait(), 5)
        assert asking.cancelled()


async def test_an_answer_before_the_body_was_sent_counts_and_ends_the_connection() -> None:
    async def slowly() -> AsyncIterator[bytes]:
        yield b"ab"
        await asyncio.Event().wait()

    async with serving(always(b"HTTP/1.1 413 Too large\r\ncontent-length: 0\r\n\r\n")) as (client, there):
        answer = await client.request("POST", there.address, "/", (), slowly())
        assert answer.status == 413
        answer.release()
        await asyncio.wait_for(there.ended.wait(), 5)


@pytest.mark.parametrize(("method", "again"), [("GET", True), ("POST", False)])
async def test_a_connection_that_was_closed_while_idle_costs_only_what_may_not_be_repeated(
    method: str, again: bool
) -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(EMPTY)
        await reader.readuntil(b"\r\n\r\n")  # the second breaks

    async with serving(once) as (client, there):
        assert await whole(await get(client, there)) == b""
        if again:
            assert await whole(await get(client, there, method)) == b""
        else:
            with pytest.raises(Broken):
                await get(client, there, method)


@pytest.mark.parametrize(
    "url",
    [
        "https://10.0.0.1:8081/reply/a",
        "http://10.0.0.1/reply/a",
        "http://:80/a",
        "http://10.0.0.1:8081/reply/a b",
        "http://10.0.0.1:8081/reply/a\r\nx: y",
        "http://10.0.0.1:8081/reply/\u00e4",
    ],
)
def test_a_url_that_names_no_host_and_port_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"is no URL of the form http://host:port/path"):
        split_url(url)


def test_a_url_is_where_to_connect_and_what_to_ask_for() -> None:
    assert split_url("http://[::1]:8081/reply/a?sig=b") == ("[::1]:8081", "/reply/a?sig=b")
    assert split_url("http://10.0.0.1:8081") == ("10.0.0.1:8081", "/")


def test_a_worker_starts_without_the_libraries_that_it_has_no_use_for() -> None:
    """They were two fifths of its start, which is the largest part of a cold start that is ours."""
    code = (
        "import sys, holdfast_services.worker.__main__\n"
        "print([name for name in ('aiohttp', 'yarl', 'uvicorn', 'opentelemetry') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
