"""The gateway's own pages: what endpoints there are and how they do, health, the OpenAPI document."""

from __future__ import annotations

import json
from dataclasses import asdict
from hashlib import sha256
from typing import Any

from holdfast_contract import names, problems
from holdfast_contract.coldstart import compared
from holdfast_contract.document import EndpointDocument, Visibility
from holdfast_services.broker import BrokerError
from holdfast_services.gateway import problem_pages
from holdfast_services.gateway.core import admission
from holdfast_services.gateway.core.recent import Recent
from holdfast_services.gateway.core.refusal import Answer, Refusal, problem_answer
from holdfast_services.gateway.endpoint_pages import PARTS, EndpointPages
from holdfast_services.gateway.openapi import DOCUMENT
from holdfast_services.gateway.page import Page
from holdfast_services.gateway.replicas import ReplicaCounts
from holdfast_services.gateway.serve import Parts, Receive
from holdfast_services.gateway.templates import Templates
from holdfast_services.gateway.usage import Usage, machines

__all__ = ["Pages", "header", "json_answer"]

_GETTERS = ("GET", "HEAD")


def json_answer(status: int, value: object, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Answer:
    """A JSON answer that nobody may cache: everything here changes from second to second."""
    body = json.dumps(value, separators=(",", ":")).encode()
    fixed = (
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    )
    return Answer(status, body, fixed + headers)


class Pages:
    """Answers for every path that is not an endpoint's."""

    def __init__(
        self,
        parts: Parts,
        base_url: str,
        domain: str | None,
        *,
        page: Page | None = None,
        templates: Templates | None = None,
        usage: Usage | None = None,
    ) -> None:
        """`base_url`: as callers see it; empty: links are relative. `page`, `templates`: None: not served. `usage`:
        None: nobody counts what endpoints cost."""
        self._usage = usage
        self._page = page
        self._templates = templates
        self._parts = parts
        self._base_url = base_url.rstrip("/")
        self._domain = domain
        self.leaving = False
        """This gateway stops soon: it still serves, and wants no new connections."""
        self.cold_starts: dict[str, dict[str, float | None]] = {}
        """The phases of each endpoint's last cold start, seconds from acceptance."""
        self.recent = Recent()
        self.endpoint_pages = EndpointPages(parts.replicas, self._answers)

    async def answer(self, path: str, scope: dict[str, Any], receive: Receive) -> Answer:
        """The answer of a page; a problem where there is none."""
        try:
            if path in ("/healthz", "/readyz"):
                return self._get_only(scope) or self.health(path)
            if path == "/openapi.json":
                return self._get_only(scope) or json_answer(200, DOCUMENT)
            if path in ("/v1/endpoints", "/v1/endpoints/"):
                return self._get_only(scope) or await self._endpoints(scope)
            if path.startswith("/v1/endpoints/"):
                return self._get_only(scope) or await self._endpoint(
                    path.removeprefix("/v1/endpoints/"), scope
                )
            return self._from_memory(path, scope)
        except Refusal as refusal:
            return problem_answer(refusal, None)

    def _from_memory(self, path: str, scope: dict[str, Any]) -> Answer:
        """The web page's files, the catalogue of templates, and what problems mean."""
        tag = header(scope, b"if-none-match")
        seen = tag.decode("latin-1") if tag is not None else None
        for shelf in (self._page, self._templates, problem_pages):
            found = shelf.answer(path, seen) if shelf is not None else None
            if found is not None:
                return self._get_only(scope) or found
        raise Refusal(problems.NOT_FOUND, f"{path[:200]} is not a page of this gateway")

    def health(self, path: str) -> Answer:
        """`/healthz`: the process works. `/readyz`: it can take requests, and does not stop."""
        if path == "/healthz":
            return json_answer(200, {"status": "ok"})
        if path == "/readyz":
            waits = self._not_ready()
            return json_answer(503 if waits else 200, {"status": waits or "ok"})
        return problem_answer(Refusal(problems.NOT_FOUND, f"{path[:200]} is not a page"), None)

    def _not_ready(self) -> str | None:
        if self.leaving or self._parts.stopping:
            return "stopping"
        if not self._parts.catalog.loaded:
            return "waiting for endpoint documents and their queues"
        # The broker's absence does not make a gateway unready: it answers 503 with the reason, where a load
        # balancer without any ready gateway could not.
        return None

    @staticmethod
    def _get_only(scope: dict[str, Any]) -> Answer | None:
        if scope["method"] in _GETTERS:
            return None
        raise Refusal(problems.METHOD_NOT_ALLOWED, scope["method"], headers={"allow": "GET, HEAD"})

    # --- endpoints ----------------------------------------------------------------------------------------
    async def _endpoints(self, scope: dict[str, Any]) -> Answer:
        """Public endpoints for everybody; private ones for whoever sends a token that opens them: even a private
        endpoint's name tells something that is nobody else's business."""
        opened = self._opened(scope)
        listed = [
            await self._describe(document)
            for _, document in sorted(self._parts.catalog.documents.items())
            if document.visibility is Visibility.PUBLIC or document.name in opened
        ]
        return json_answer(200, {"endpoints": listed})

    async def _endpoint(self, path: str, scope: dict[str, Any]) -> Answer:
        name, _, part = path.partition("/")
        document = self._parts.catalog.find(name)
        if document is None:
            raise Refusal(problems.UNKNOWN_ENDPOINT, f"there is no endpoint {name[:60]!r}")
        token = admission.bearer(header(scope, b"authorization"))
        if part == "logs" and document.name not in self._opened(scope):
            # What a model prints is nobody else's business, also where everybody may call it.
            document = document.model_copy(update={"visibility": Visibility.PRIVATE})
        admission.authenticate(document, token, self._parts.catalog.token_hashes)
        if part in PARTS:
            url = self.url(name)
            return json_answer(200, await self.endpoint_pages.answer(part, document, scope, url))
        if part:
            raise Refusal(problems.NOT_FOUND, f"an endpoint's description has no part {part[:60]!r}")
        return json_answer(200, await self._describe(document))

    def _answers(self, name: str) -> bool:
        return self.recent.summary(name, self._parts.clock())["latency"] is not None

    def _opened(self, scope: dict[str, Any]) -> tuple[str, ...]:
        token = admission.bearer(header(scope, b"authorization"))
        if token is None:
            return ()
        return self._parts.catalog.token_hashes.get(sha256(token.encode()).hexdigest(), ())

    def url(self, name: str) -> str:
        """Where callers reach an endpoint."""
        if self._domain:
            scheme = self._base_url.partition("://")[0] if self._base_url else "https"
            return f"{scheme}://{name}.{self._domain}"
        return f"{self._base_url}{names.PATH_ENDPOINT}/{name}"

    async def _describe(self, document: EndpointDocument) -> dict[str, Any]:
        name, parts = document.name, self._parts
        try:
            depth = await parts.broker.depth(name)
            last = await parts.broker.last_activity(name)
        except BrokerError:
            depth = last = None
        counts = parts.replicas.counts(name)
        running = None if depth is None else depth.running
        here = parts.activity.last(name)
        return {
            "name": name,
            "url": self.url(name),
            "description": document.description,
            "state": document.state.value,
            "visibility": document.visibility.value,
            "template": document.template.model_dump() if document.template else None,
            "scaling": document.scaling.model_dump(),
            "rate_limit": document.rate_limit.model_dump() if document.rate_limit else None,
            "replicas": {
                "desired": counts.desired if counts else None,
                "pending": counts.pending if counts else None,
                "ready": counts.ready if counts else None,
                "busy": None
                if running is None
                else min(-(-running // document.scaling.concurrency), document.scaling.max_replicas),
            },
            "waiting": None if depth is None else depth.waiting,
            "running": running,
            "last_request_at": max((at for at in (last, here) if at is not None), default=None),
            "failure": parts.replicas.failure(name),
            "last_cold_start": self.cold_starts.get(name),
            "cold_start_phases": [
                asdict(phase) for phase in compared(document.cold_start_estimate, self.cold_starts.get(name))
            ],
            "cost": self._cost(document, counts),
            **self.recent.summary(name, parts.clock()),
        }

    def _cost(self, document: EndpointDocument, counts: ReplicaCounts | None) -> dict[str, Any] | None:
        price = document.price
        if price is None:
            return None
        now = None if counts is None else machines(price, counts.pending + counts.ready) * price.usd_per_hour
        month = self._usage.this_month(document.name) if self._usage is not None else None
        return {
            "usd_per_replica_hour": round(price.usd_per_hour / price.replicas_per_instance, 6),
            "usd_per_hour_now": None if now is None else round(now, 6),
            "usd_this_month": None if month is None else round(month, 4),
            **price.model_dump(include={"instance_type", "region", "prices_from", "note"}),
        }


def header(scope: dict[str, Any], wanted: bytes) -> bytes | None:
    """The first header of that name; None: not there."""
    return next((value for name, value in scope["headers"] if name == wanted), None)
