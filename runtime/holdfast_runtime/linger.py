"""Answers that come before their request has ended: the rest is read and thrown away for a while.

A server that closes a connection with bytes unread resets it, and the reset may overtake the answer: the caller then
sees "connection reset by peer" instead of the reason.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

LINGER_S: Final = 5.0
"""What a caller gets for the rest of what he sends, from the answer on."""


class Lingering:
    """Middleware: the last piece of an answer waits until the request has ended, or `linger_s` have passed."""

    def __init__(self, app: ASGIApp, linger_s: float = LINGER_S) -> None:
        self._app = app
        self._linger_s = linger_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        ended = False

        async def read() -> Message:
            nonlocal ended
            message = await receive()
            ended = not message.get("more_body", False)
            return message

        async def answer(message: Message) -> None:
            last = message["type"] == "http.response.body" and not message.get("more_body", False)
            if last and not ended:
                await send({**message, "more_body": True})
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._linger_s):
                        while not ended:
                            await read()
                message = {"type": "http.response.body", "body": b""}
            await send(message)

        await self._app(scope, read, answer)
