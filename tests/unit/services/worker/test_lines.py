"""A connection to a gateway that carries whole answers, without a socket."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from holdfast_services.worker.lines import Line, Lines

RECEIPT = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
GONE = b"HTTP/1.1 410 Gone\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class _Transport:
    def __init__(self, line: Line) -> None:
        self.line = line
        self.written: list[bytes] = []
        self.closing = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        if not self.closing:
            self.closing = True
            asyncio.get_running_loop().call_soon(self.line.connection_lost, None)


def _opened() -> tuple[Line, Any]:
    line = Line()
    transport: Any = _Transport(line)
    line.connection_made(transport)
    return line, transport


async def _sent(line: Line, *pieces: bytes) -> int:
    sending = asyncio.create_task(line.send(b"answer"))
    await asyncio.sleep(0)
    for piece in pieces:
        line.data_received(piece)
    return await sending


async def test_a_receipt_is_its_status_in_however_many_pieces_it_comes_and_the_line_stays_open() -> None:
    line, transport = _opened()
    assert await _sent(line, RECEIPT) == 200
    assert await _sent(line, *(bytes([byte]) for byte in RECEIPT)) == 200
    assert line.usable
    assert transport.written == [b"answer", b"answer"]


async def test_a_receipt_that_ends_the_connection_counts_and_the_line_is_not_used_again() -> None:
    line, _ = _opened()
    assert await _sent(line, GONE) == 410
    assert not line.usable
    with pytest.raises(ConnectionResetError, match="the connection is closed"):
        await line.send(b"answer")


@pytest.mark.parametrize("said", [b"SSH-2.0\r\n", b"HTTP/1.1 200 OK\r\n" + 4096 * b"a: bcde\r\n"])
async def test_what_is_no_receipt_ends_the_connection(said: bytes) -> None:
    line, _ = _opened()
    with pytest.raises(ConnectionAbortedError):
        await _sent(line, said)
    assert not line.usable


async def test_a_connection_that_breaks_before_the_receipt_is_an_error() -> None:
    line, _ = _opened()
    sending = asyncio.create_task(line.send(b"answer"))
    await asyncio.sleep(0)
    line.connection_lost(None)
    with pytest.raises(ConnectionResetError, match="the gateway closed the connection"):
        await sending


async def test_a_receipt_that_nobody_waits_for_ends_the_connection() -> None:
    """It would be taken for the next answer's."""
    line, _ = _opened()
    line.data_received(RECEIPT)
    assert not line.usable
    other, _ = _opened()
    sending = asyncio.create_task(other.send(b"answer"))
    await asyncio.sleep(0)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert not other.usable


@pytest.mark.parametrize(
    "url",
    [
        "https://10.0.0.1:8081/reply/a",
        "http://10.0.0.1/reply/a",
        "http://10.0.0.1:8081",
        "http://10.0.0.1:8081/reply/a b",
        "http://10.0.0.1:8081/reply/a\r\nx: y",
        "http://10.0.0.1:8081/reply/\u00e4",
    ],
)
async def test_what_is_no_address_of_a_gateway_is_refused_before_anything_is_opened(url: str) -> None:
    with pytest.raises(ValueError, match="is no address of a gateway"):
        await Lines().post(url, "$JS.ACK.x", b"")


async def test_an_acknowledgement_subject_cannot_bring_headers_of_its_own() -> None:
    with pytest.raises(ValueError, match="has characters no header may have"):
        await Lines().post("http://10.0.0.1:8081/reply/a", "$JS.ACK\r\nx: y", b"")
