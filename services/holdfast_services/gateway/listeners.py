"""The gateway's two listeners, and what they say while there is nothing behind them yet."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from ssl import SSLContext
from typing import Any, Final, Self

import uvicorn

from holdfast_contract import problems
from holdfast_services.gateway.app import reply
from holdfast_services.gateway.connections import Connections
from holdfast_services.gateway.core.refusal import Answer, Refusal, problem_answer
from holdfast_services.gateway.held import Send
from holdfast_services.gateway.http_protocol import FULL, BoundedHttp
from holdfast_services.gateway.pages import json_answer

__all__ = ["Door", "Listener", "Listeners"]

_KEEP_ALIVE_S: Final = 75
"""Longer than any usual load balancer or client keeps an idle connection, so that they close first."""
_RETRY_S: Final = 2.0
_HEALTH: Final = frozenset({"/healthz", "/readyz"})
_WAITS: Final = "waiting for the queue: the broker was not reached yet"

Receive = Callable[[], Awaitable[dict[str, Any]]]
App = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]


class Door:
    """Stands before an app that comes later. Until then it answers that the gateway lives, is not ready, and why.
    Where too many connections are at work it lets only health checks pass."""

    def __init__(self) -> None:
        self._app: App | None = None

    def open(self, app: App) -> None:
        """From now on `app` answers."""
        self._app = app

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """One request."""
        if FULL in scope["state"] and scope["path"] not in _HEALTH:
            await reply(send, _full(), head_only=scope["method"] == "HEAD")
        elif self._app is not None:
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await reply(send, _not_yet(scope["path"]), head_only=scope["method"] == "HEAD")


def _not_yet(path: str) -> Answer:
    if path == "/healthz":
        return json_answer(200, {"status": "ok"})
    if path == "/readyz":
        return json_answer(503, {"status": _WAITS})
    detail = "this gateway has started and has not reached the broker yet"
    return problem_answer(Refusal(problems.QUEUE_DOWN, detail, retry_after_s=_RETRY_S), None)


def _full() -> Answer:
    detail = "as many callers are connected to this gateway as it takes"
    headers = {"connection": "close"}
    return problem_answer(
        Refusal(problems.GATEWAY_FULL, detail, retry_after_s=_RETRY_S, headers=headers), None
    )


class _Server(uvicorn.Server):
    """A server that leaves signals to us: two of them share one process and stop one after the other."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do not."""
        yield


@dataclass(frozen=True, slots=True)
class Listener:
    """One port."""

    door: Door
    task: asyncio.Task[None]
    """Done when it does not listen any more and its last connection is closed."""
    _server: uvicorn.Server

    @classmethod
    def start(
        cls,
        tasks: asyncio.TaskGroup,
        address: str,
        port: int,
        connections: Connections,
        context: SSLContext | None = None,
    ) -> Self:
        """Listen; with TLS where there is a context for it."""
        door = Door()
        server = _Server(
            uvicorn.Config(
                door,
                host=address,
                port=port,
                loop="none",
                http=partial(BoundedHttp, connections),  # type: ignore[arg-type]  # called, never looked at
                ws="none",
                lifespan="off",
                interface="asgi3",
                access_log=False,
                log_config=None,
                server_header=False,
                date_header=False,
                proxy_headers=False,
                backlog=4096,
                timeout_keep_alive=_KEEP_ALIVE_S,
                ssl_context_factory=None if context is None else lambda _config, _default: context,
            )
        )
        return cls(door, tasks.create_task(server.serve()), server)

    def close(self, *, now: bool = False) -> None:
        """Take no new connections, and keep open ones until their requests end; `now`: not even that."""
        self._server.should_exit = True
        self._server.force_exit = self._server.force_exit or now


@dataclass(frozen=True, slots=True)
class Listeners:
    """Callers' port, and the cluster's own."""

    public: Listener
    internal: Listener

    @classmethod
    def start(
        cls,
        tasks: asyncio.TaskGroup,
        address: str,
        public_port: int,
        internal_port: int,
        connections: Connections,
        context: SSLContext | None = None,
    ) -> Self:
        """Listen on both; on callers' with TLS where there is a context for it.

        `connections`: callers'. The cluster's own are not bounded: its health checks and answers must get through.
        """
        unbounded = Connections(sys.maxsize, connections.clock)
        internal = Listener.start(tasks, address, internal_port, unbounded)
        return cls(Listener.start(tasks, address, public_port, connections, context), internal)
