"""Messages as they go to the broker, and what its answers become: against a client that only notes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.msg import Msg

from holdfast_services.connection import Ambiguous, BrokerDown, BrokerError, Connection, encode


class _Client:
    """What is used of nats-py's client."""

    is_connected = True
    max_payload = 100

    def __init__(self) -> None:
        self._pending: list[bytes] = []
        self._pending_data_size = 0
        self._transport: Any = self
        self.written: list[bytes] = []
        self.heard: Any = None
        self._reconnection_task: asyncio.Task[None] | None = None

    def jetstream(self, **_: Any) -> None:
        return None

    def new_inbox(self) -> str:
        return "_INBOX.a"

    async def subscribe(self, subject: str, future: Any) -> str:
        self.heard = future
        return subject

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def writelines(self, data: list[bytes]) -> None:
        self.written.extend(data)


def connected() -> tuple[Connection, Any]:
    client: Any = _Client()
    return Connection(client), client


# --- as bytes ---------------------------------------------------------------------------------------------
def test_a_message_is_written_as_the_protocol_has_it() -> None:
    assert encode("q.demo.1", b"hello", "", None) == b"PUB q.demo.1 5\r\nhello\r\n"
    assert encode("q.demo.1", b"", "_INBOX.a.1", None) == b"PUB q.demo.1 _INBOX.a.1 0\r\n\r\n"
    assert encode("q.demo.1", b"hello", "_INBOX.a.1", {"Nats-Msg-Id": "1", "X": "\u00e9"}) == (
        b"HPUB q.demo.1 _INBOX.a.1 35 40\r\nNATS/1.0\r\nNats-Msg-Id: 1\r\nX: \xc3\xa9\r\n\r\nhello\r\n"
    )


@given(st.text("ab. \r\n\t\u00a0", max_size=5), st.text("ab. \r\n\t\u00a0", max_size=5))
def test_a_subject_is_one_word_or_refused(subject: str, reply: str) -> None:
    whole = all(
        word and len(word.split()) == 1 and word.split()[0] == word for word in (subject, reply or "a")
    )
    try:
        data = encode(subject, b"", reply, None)
    except ValueError:
        assert not whole
    else:
        assert whole
        assert data.count(b"\r\n") == 2


@given(st.dictionaries(st.text("ab\r\n", min_size=1), st.text("ab\r\n: "), max_size=3))
def test_a_header_is_one_line_or_refused(headers: dict[str, str]) -> None:
    try:
        data = encode("a", b"", "", headers)
    except ValueError:
        assert any(set(name + value) & set("\r\n") for name, value in headers.items())
    else:
        assert data.count(b"\r\n") == len(headers) + 4


# --- sending ----------------------------------------------------------------------------------------------
async def test_what_the_library_was_asked_before_goes_out_before() -> None:
    """A pull whose subscription came after it would bring its request to nobody."""
    connection, client = connected()
    client._pending, client._pending_data_size = [b"SUB x 1\r\n"], 9
    connection.send("a", b"1")
    connection.send("a", b"2")
    assert client.written == [b"SUB x 1\r\n", b"PUB a 1\r\n1\r\n", b"PUB a 1\r\n2\r\n"]
    assert (client._pending, client._pending_data_size) == ([], 0)


async def test_nothing_is_sent_or_kept_for_later_while_the_broker_is_away() -> None:
    connection, client = connected()
    client.is_connected = False
    with pytest.raises(BrokerDown, match="not connected to the broker"):
        connection.send("a", b"")
    with pytest.raises(BrokerDown):
        await connection.request("a", b"", None, 1)
    assert await connection.publish("a") is False
    client.is_connected, client._transport = True, None
    assert await connection.publish("a") is False
    assert (client.written, client._pending) == ([], [])


async def test_a_message_above_the_brokers_limit_is_refused_before_it_ends_the_connection() -> None:
    connection, client = connected()
    with pytest.raises(BrokerError, match="message of 101 bytes is above the broker's limit"):
        await connection.request("a", b"x" * 101, None, 1)
    assert client.written == []


# --- answers ----------------------------------------------------------------------------------------------
async def test_every_request_gets_its_own_answer_and_only_the_first() -> None:
    connection, client = connected()
    await connection.listen("_INBOX.a.*", connection._answered)
    asking = [asyncio.create_task(connection.request("a", b"", None, 5)) for _ in range(3)]
    await asyncio.sleep(0)
    addresses = [data.split(b" ")[2].decode() for data in client.written]
    assert len(set(addresses)) == 3
    for number, address in reversed(list(enumerate(addresses))):
        client.heard.set_result(Msg(_client=client, subject=address, data=b"%d" % number))
        client.heard.set_result(Msg(_client=client, subject=address, data=b"again"))
    assert [(await one).data for one in asking] == [b"0", b"1", b"2"]
    client.heard.set_result(Msg(_client=client, subject=addresses[0], data=b"late"))


async def test_a_request_without_an_answer_is_ambiguous_after_its_time() -> None:
    connection, _ = connected()
    with pytest.raises(Ambiguous, match=r"no answer of the broker within 0\.01 s"):
        await connection.request("a", b"", None, 0.01)


async def test_a_handler_that_fails_does_not_end_the_connection() -> None:
    connection, client = connected()

    def handler(_: Msg) -> None:
        raise LookupError

    await connection.listen("a", handler)
    client.heard.set_result(Msg(_client=client, subject="a"))
    assert client.heard.cancelled() is False


class _Closed:
    """A transport of uvloop whose connection broke, before the library has noticed."""

    def write(self, data: bytes) -> None:
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")

    writelines = write


@pytest.mark.parametrize("pending", [[], [b"SUB q.* 1\r\n"]])
async def test_a_connection_that_broke_a_moment_ago_is_a_broker_that_is_down(pending: list[bytes]) -> None:
    connection, client = connected()
    client._transport, client._pending = _Closed(), list(pending)
    with pytest.raises(BrokerDown, match="the handler is closed"):
        await connection.request("q.demo.1", b"", None, 1)
    assert await connection.publish("q.demo.1") is False
    assert client._pending == pending


async def test_attempts_to_reconnect_that_miss_a_cancellation_end_with_their_connection_all_the_same() -> (
    None
):
    """A process that was told to stop went on for ever where its broker refused it at that moment."""
    connection, client = connected()
    missed = 0

    async def attempts() -> None:
        nonlocal missed
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if missed:
                    raise
                missed += 1

    async def flush() -> None: ...

    async def close() -> None:
        client._reconnection_task.cancel()

    client.flush, client.close = flush, close
    client._reconnection_task = asyncio.create_task(attempts())
    await asyncio.sleep(0)
    await connection.close()
    assert missed == 1
    assert client._reconnection_task.cancelled()
