"""The gateway's two faces as plain ASGI: callers', and the cluster's own. Knows HTTP, decides nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from holdfast_contract import names, problems
from holdfast_services import headers as header_rules
from holdfast_services.exposition import CONTENT_TYPE
from holdfast_services.gateway.body_pages import BodyPages
from holdfast_services.gateway.core import admission, ids
from holdfast_services.gateway.core.refusal import Answer, Refusal, problem_answer
from holdfast_services.gateway.core.routing import Target, route
from holdfast_services.gateway.held import Outcome, Send
from holdfast_services.gateway.intake import CallerGone
from holdfast_services.gateway.metrics import Metrics
from holdfast_services.gateway.pages import Pages
from holdfast_services.gateway.replies import Replies
from holdfast_services.gateway.request_pages import RequestPages
from holdfast_services.gateway.serve import Admitted, Parts, Receive, Server
from holdfast_services.gateway.submissions import Submissions
from holdfast_services.logs import Log

__all__ = ["InternalApp", "PublicApp"]

_log = Log("http")
Scope = dict[str, Any]


async def reply(send: Send, answer: Answer, *, head_only: bool = False) -> None:
    """Send a complete answer."""
    await send({"type": "http.response.start", "status": answer.status, "headers": list(answer.headers)})
    await send({"type": "http.response.body", "body": b"" if head_only else answer.body, "more_body": False})


def isolated(send: Send) -> Send:
    """Sends models' documents so that a browser keeps them apart from the gateway's own page."""

    async def sent(event: dict[str, Any]) -> None:
        if event["type"] == "http.response.start" and header_rules.runs_in_a_browser(event["headers"]):
            event = {**event, "headers": [*event["headers"], header_rules.ISOLATED]}
        await send(event)

    return sent


class PublicApp:
    """What callers see: endpoints' routes and the gateway's pages."""

    def __init__(
        self,
        parts: Parts,
        server: Server,
        submissions: Submissions,
        pages: Pages,
        request_pages: RequestPages,
        metrics: Metrics,
        domain: str | None,
    ) -> None:
        self._parts = parts
        self._server = server
        self._submissions = submissions
        self._pages = pages
        self._request_pages = request_pages
        self._metrics = metrics
        self._domain = domain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return  # lifespan; WebSocket upgrades arrive as plain requests and are refused as such
        host = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1")
        target = route(host, scope["raw_path"], scope["query_string"], self._domain)
        if isinstance(target, Target):
            sender = isolated(send) if target.shared_origin else send
            await self._endpoint(target, scope, receive, sender)
        elif target.path.startswith(names.PATH_REQUESTS + "/"):
            await self._request(target.path, scope, isolated(send))
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
        tracing = self._parts.tracing
        trace = tracing.request(scope["headers"], scope["method"], target.endpoint) if tracing else None
        try:
            admitted = self._server.admit(scope, target.endpoint, target.path, request_id)
            if trace is not None:
                admitted = replace(admitted, trace=trace)
            preference = admission.preference(admitted.headers.get(b"prefer"))
            key = admission.idempotency_key(admitted.headers.get(b"idempotency-key"))
            if (
                key is not None
                or preference.respond_async
                or preference.wait_s is not None
                or b"webhook-url" in admitted.headers
            ):
                status, request_id = await self._submissions.serve(admitted, preference, key, receive, send)
            else:
                status, cause = await self._synchronous(admitted, receive, send)
        except Refusal as refusal:
            status, cause = refusal.problem.status, refusal.problem.slug
            await reply(send, problem_answer(refusal, request_id), head_only=scope["method"] == "HEAD")
        except CallerGone:
            status, cause = 499, "gone"
        if trace is not None:
            trace.end(request_id, status, cause)
        # Names that callers make up must not become labels.
        known = target.endpoint in self._parts.catalog.documents
        self._metrics.finished(target.endpoint if known else "", status, cause)
        ended = self._parts.clock()
        if known:
            self._pages.recent.ended(target.endpoint, ended, ended - started, status, cause)
        _log.info(
            "request",
            request_id=request_id,
            endpoint=target.endpoint,
            status=status,
            cause=cause,
            seconds=round(ended - started, 4),
            **({"trace_id": trace.trace_id} if trace is not None else {}),
        )

    async def _synchronous(self, admitted: Admitted, receive: Receive, send: Send) -> tuple[int, str]:
        held = await self._server.serve(admitted, receive, send)
        outcome = held.result.result()
        if outcome is Outcome.STORED:
            return await self._submissions.stored(admitted, send), "none"
        if outcome is Outcome.GONE:
            return 499, "gone"
        return held.status, problems.BAD_ANSWER.slug if outcome is Outcome.BROKEN else "none"

    async def _request(self, path: str, scope: Scope, send: Send) -> None:
        head_only = scope["method"] == "HEAD"
        try:
            answer = await self._request_pages.answer(path, scope, send)
        except Refusal as refusal:
            answer = problem_answer(refusal, None)
        if answer is not None:
            await reply(send, answer, head_only=head_only)


class InternalApp:
    """What only the cluster sees: workers' replies, metrics, health."""

    def __init__(
        self,
        parts: Parts,
        replies: Replies,
        pages: Pages,
        metrics: Metrics,
        bodies: BodyPages | None = None,
    ) -> None:
        """`bodies`: None where workers find bodies in the broker."""
        self._parts = parts
        self._bodies = bodies
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
        elif self._bodies is not None and path.startswith(names.PATH_BODIES + "/"):
            await self._bodies(scope, receive, send)
        elif path == "/metrics":
            parts = self._parts
            text = self._metrics.text(
                parts.held, list(parts.catalog.documents), parts.gateways(), parts.replicas
            )
            await reply(send, Answer(200, text, ((b"content-type", CONTENT_TYPE.encode()),)))
        else:
            await reply(send, self._pages.health(path))
