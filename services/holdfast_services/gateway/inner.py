"""Requests of the gateway's own, through its public face: with the caller's token, limits and queue."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Asked", "TooLong", "ask"]

App = Callable[
    [dict[str, Any], Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]
]


class TooLong(Exception):
    """The answer is longer than was asked for."""


@dataclass
class Asked:
    """An answer, whole."""

    status: int = 0
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytearray = field(default_factory=bytearray)


async def ask(app: App, scope: dict[str, Any], path: str, limit_bytes: int, timeout_s: float) -> Asked:
    """GET `path` on behalf of the caller of `scope`. Raises TooLong, and TimeoutError after `timeout_s`."""
    kept = [(name, value) for name, value in scope["headers"] if name == b"authorization"]
    inner = {
        **scope,
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [
            *kept,
            (b"x-deadline", b"%d" % max(1, round(timeout_s))),
            (b"accept", b"application/json"),
        ],
    }
    asked = Asked()
    sent = False

    async def receive() -> dict[str, Any]:
        nonlocal sent
        if not sent:
            sent = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await asyncio.Event().wait()  # this caller goes away only by giving up
        raise AssertionError

    async def send(event: dict[str, Any]) -> None:
        if event["type"] == "http.response.start":
            asked.status, asked.headers = event["status"], tuple(event["headers"])
        elif event["type"] == "http.response.body":
            asked.body += event.get("body", b"")
            if len(asked.body) > limit_bytes:
                raise TooLong

    async with asyncio.timeout(timeout_s):
        await app(inner, receive, send)
    return asked
