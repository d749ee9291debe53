"""The gateway's two faces as plain ASGI: callers', and the cluster's own. Knows HTTP, decides nothing."""

from __future__ import annotations

from typing import Any

from holdfast_contract import names, problems
from holdfast_services.gateway.core import ids
from holdfast_services.gateway.core.refusal import Answer, Refusal, problem_answer
from holdfast_services.gateway.core.routing import Target, route
from holdfast_services.gateway.held import Outcome, Send
from holdfast_services.gateway.intake import CallerGone
from holdfast_services.gateway.metrics import Metrics
from holdfast_services.gateway.pages import Pages
from holdfast_services.gateway.replies import Replies
from holdfast_services.gateway.serve import Parts, Receive, Server
from holdfast_services.logs import Log

__all__ = ["InternalApp", "PublicApp"]

_log = Log("http")
Scope = dict[str, Any]


async def reply(send: Send, answer: Answer, *, head_only: bool = False) -> None:
    """Send a complete answer."""
    await send({"type": "http.response.start", "status": answer.status, "headers": list(answer.headers)})
    await send({"type": "http.response.body", "body": b"" if head_only else answer.body, "more_body": False})


class PublicApp:
    """What callers see: endpoints' routes and the gateway's pages."""

    def __init__(
        self, parts: Parts, server: Server, pages: Pages, metrics: Metrics, domain: str | None
    ) -> None:
        self._parts = parts
        self._server = server
        self._pages = pages
        self._metrics = metrics
        self._domain = domain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return  # lifespan; WebSocket upgrades arrive as plain requests and are refused as such
        host = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1")
        target = route(host, scope["raw_path"], scope["query_string"], self._domain)
        if isinstance(target, Target):
            await self._endpoint(target, scope, receive, send)
        else:
            await reply(
                send,
                await self._pages.answer(target.path, scope, receive),
                head_only=scope["method"] == "HEAD",
            )

    async def _endpoint(self, target: Target, scope: Scope, receive: Receive, send: Send) -> None:
        started = self._parts.clock()
        request_id = ids.new_id(started)
        status, cause = 0, "none"
        try:
            admitted = self._server.admit(scope, target.endpoint, target.path, request_id)
            held = await self._server.serve(admitted, receive, send)
            request_id, status = held.id, held.status
            outcome = held.result.result()
            if outcome is Outcome.GONE:
                status, cause = 499, "gone"
            elif outcome is Outcome.BROKEN:
                cause = problems.BAD_ANSWER.slug
        except Refusal as refusal:
            status, cause = refusal.problem.status, refusal.problem.slug
            await reply(send, problem_answer(refusal, request_id), head_only=scope["method"] == "HEAD")
        except CallerGone:
            status, cause = 499, "gone"
        # Names that callers make up must not become labels.
        known = target.endpoint in self._parts.catalog.documents
        self._metrics.finished(target.endpoint if known else "", status, cause)
        _log.info(
            "request",
            request_id=request_id,
            endpoint=target.endpoint,
            status=status,
            cause=cause,
            seconds=round(self._parts.clock() - started, 4),
        )


class InternalApp:
    """What only the cluster sees: workers' replies, metrics, health."""

    def __init__(self, parts: Parts, replies: Replies, pages: Pages, metrics: Metrics) -> None:
        self._parts = parts
        self._replies = replies
        self._pages = pages
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        path: str = scope["path"]
        if path.startswith(names.PATH_REPLY + "/"):
            await self._replies.receive_answer(scope, receive, send)
        elif path == "/metrics":
            text = self._metrics.text(self._parts.held, list(self._parts.catalog.documents))
            content = b"text/plain; version=0.0.4; charset=utf-8"
            await reply(send, Answer(200, text, ((b"content-type", content),)))
        else:
            await reply(send, self._pages.health(path))
