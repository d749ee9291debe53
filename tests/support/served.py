"""A service called by ASGI, without a socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from holdfast_runtime.app import Runtime


@dataclass
class Got:
    """An answer as it came."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    pieces: list[bytes] = field(default_factory=list)
    ended: bool = False
    """Whether the body had a clean end."""

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Served:
    """One running service."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self._app = runtime.app()

    async def ask(
        self,
        path: str = "/",
        body: bytes | None = None,
        *,
        method: str = "POST",
        headers: dict[str, str] | None = None,
        query: str = "",
        leave: asyncio.Event | None = None,
        got: Got | None = None,
        **fields: Any,
    ) -> Got:
        """A request; `fields` are its JSON. `leave`: the caller goes when it is set."""
        sent = {"content-type": "application/json"} if body is None else {}
        data = json.dumps(fields).encode() if body is None else body
        incoming = [{"type": "http.request", "body": data, "more_body": False}]
        got = got or Got()

        async def receive() -> dict[str, Any]:
            if incoming:
                return incoming.pop(0)
            await (leave or asyncio.Event()).wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                got.status = message["status"]
                got.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            else:
                got.pieces.append(message.get("body", b""))
                got.ended = not message.get("more_body", False)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(k.encode(), v.encode()) for k, v in (sent | (headers or {})).items()],
        }
        await self._app(scope, receive, send)
        return got

    async def get(self, path: str) -> Got:
        return await self.ask(path, b"", method="GET")

    async def until_ready(self) -> None:
        while self.runtime.service is None:
            assert self.runtime.failure is None, self.runtime.failure
            await asyncio.sleep(0)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The application's lifespan."""
        async with self._app.router.lifespan_context(self._app):
            yield
