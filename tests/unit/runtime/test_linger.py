"""Answers that come before their request has ended."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from holdfast_runtime.linger import Lingering

PIECE = {"type": "http.request", "body": b"x", "more_body": True}
END = {"type": "http.request", "body": b"x", "more_body": False}


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 413, "headers": []})
    await send({"type": "http.response.body", "body": b"too large"})


async def _read_all(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive())["more_body"]:
        pass
    await _refuse(scope, receive, send)


async def _run(app: Any, *pieces: Message, linger_s: float = 30.0) -> list[Any]:
    """What happened, in order: `read`, or the message that was sent."""
    happened: list[Any] = []
    coming = iter(pieces)

    async def receive() -> Message:
        piece = next(coming, None)
        if piece is None:
            await asyncio.Event().wait()
        assert piece is not None
        happened.append("read")
        return piece

    async def send(message: Message) -> None:
        happened.append((message.get("body"), message.get("more_body", False)))

    await Lingering(app, linger_s)({"type": "http"}, receive, send)
    return happened[happened.index((None, False)) + 1 :]


async def test_an_early_answer_is_sent_at_once_and_ends_after_its_request() -> None:
    happened = await _run(_refuse, PIECE, PIECE, END)
    assert happened == [(b"too large", True), "read", "read", "read", (b"", False)]


async def test_a_caller_that_goes_meanwhile_ends_the_answer() -> None:
    happened = await _run(_refuse, PIECE, {"type": "http.disconnect"})
    assert happened == [(b"too large", True), "read", "read", (b"", False)]


async def test_an_answer_to_a_request_that_was_read_is_left_alone() -> None:
    assert await _run(_read_all, PIECE, END) == [(b"too large", False)]


async def test_a_request_that_never_ends_holds_an_answer_no_longer_than_it_may() -> None:
    assert await _run(_refuse, PIECE, linger_s=0.01) == [(b"too large", True), "read", (b"", False)]
