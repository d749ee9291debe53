"""Head and body of an answer go out in one write."""

from __future__ import annotations

import asyncio
from typing import Any

from holdfast_services.gateway.together import Together

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


class _Transport:
    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.written.append(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def get_extra_info(self, name: str) -> str:
        return f"the {name}"


def _pair() -> tuple[Together, Any]:
    transport: Any = _Transport()
    return Together(transport, asyncio.get_running_loop()), transport


async def test_a_head_waits_for_its_body_and_later_pieces_for_nothing() -> None:
    together, transport = _pair()
    together.write(HEAD)
    assert transport.written == []
    together.write(b"body")
    together.write(b"more")
    assert transport.written == [HEAD + b"body", b"more"]


async def test_a_head_without_a_body_goes_out_at_the_end_of_the_turn() -> None:
    together, transport = _pair()
    together.write(HEAD)
    await asyncio.sleep(0)
    assert transport.written == [HEAD]
    together.write(b"body")
    assert transport.written == [HEAD, b"body"]


async def test_an_empty_body_releases_the_head_and_writes_nothing_more() -> None:
    together, transport = _pair()
    together.write(HEAD)
    together.write(b"")
    together.write(b"")
    await asyncio.sleep(0)
    assert transport.written == [HEAD]


async def test_a_connection_closes_behind_its_head() -> None:
    together, transport = _pair()
    together.write(HEAD)
    together.close()
    await asyncio.sleep(0)
    assert (transport.written, together.is_closing()) == ([HEAD], True)


async def test_a_piece_of_body_that_looks_like_a_head_keeps_its_place() -> None:
    together, transport = _pair()
    for piece in (HEAD, HEAD, HEAD, b"end"):
        together.write(piece)
    await asyncio.sleep(0)
    assert b"".join(transport.written) == 3 * HEAD + b"end"


async def test_what_it_does_not_know_it_asks_its_transport() -> None:
    together, _ = _pair()
    assert together.get_extra_info("peername") == "the peername"
