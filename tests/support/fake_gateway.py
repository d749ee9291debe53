"""A gateway that only pretends: for tests of the page that need an endpoint in a chosen state at a chosen moment.

The page and the catalogue are served by the real modules, with the real headers. Endpoints, their states and their
answers are whatever the test says. Everything that can be had from a real gateway is tested against one.
"""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from holdfast_contract import problems
from holdfast_contract.problems import Problem
from holdfast_services.gateway import problem_pages
from holdfast_services.gateway.core.refusal import Answer, Refusal, problem_answer
from holdfast_services.gateway.openapi import DOCUMENT
from holdfast_services.gateway.page import Page
from holdfast_services.gateway.templates import Templates

ROOT = Path(__file__).resolve().parents[2]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def described(name: str, **changes: Any) -> dict[str, Any]:
    """An endpoint as `/v1/endpoints` describes it, at 0 replicas unless changed."""
    found: dict[str, Any] = {
        "name": name,
        "url": f"/e/{name}",
        "description": "",
        "state": "active",
        "visibility": "public",
        "template": None,
        "scaling": {
            "min_replicas": 0,
            "max_replicas": 3,
            "timeout_s": 120,
            "concurrency": 1,
            "max_queue": 1000,
            "startup_budget_s": 120,
            "max_request_s": 300,
        },
        "replicas": {"desired": 0, "pending": 0, "ready": 0, "busy": 0},
        "waiting": 0,
        "running": 0,
        "last_request_at": None,
        "failure": None,
        "last_cold_start": None,
    }
    found.update(copy.deepcopy(changes))
    return found


@dataclass
class FakeGateway:
    """Endpoints by name, the tokens that open private ones, and what answers their routes."""

    endpoints: dict[str, dict[str, Any]] = field(default_factory=dict)
    tokens: dict[str, list[str]] = field(default_factory=dict)
    """Token to the names that it opens."""
    handlers: dict[str, Handler] = field(default_factory=dict)
    parts: dict[tuple[str, str], Any] = field(default_factory=dict)
    """By endpoint and `events`, `logs` or `openapi.json`: what is answered."""
    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    """(method, path with query, headers, body) of everything that was asked."""
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    templates_folder: Path = ROOT / "templates"
    url: str = ""

    def add(self, name: str, **changes: Any) -> dict[str, Any]:
        """Declare an endpoint."""
        self.endpoints[name] = described(name, **changes)
        return self.endpoints[name]

    async def start(self, port: int) -> web.AppRunner:
        """Listen on loopback."""
        self._page = Page.load(ROOT / "web")
        self._templates = Templates.load(self.templates_folder)
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._any)
        runner = web.AppRunner(app, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        self.url = f"http://127.0.0.1:{port}"
        return runner

    async def _any(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.requests.append((request.method, request.path_qs, dict(request.headers), body))
        try:
            return await self._answer(request)
        except Refusal as refusal:
            return _response(problem_answer(refusal, f"req-{len(self.requests)}"))

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.raw_path.partition("?")[0]
        etag = request.headers.get("if-none-match")
        static = (
            self._page.answer(path, etag)
            or self._templates.answer(path, etag)
            or problem_pages.answer(path, etag)
        )
        if static is not None:
            return _response(static)
        if path == "/openapi.json":
            return web.json_response(DOCUMENT)
        if path == "/v1/endpoints":
            opened = self._opened(request)
            shown = [
                one
                for name, one in sorted(self.endpoints.items())
                if one["visibility"] == "public" or name in opened
            ]
            return web.json_response({"endpoints": shown}, headers={"cache-control": "no-store"})
        if path.startswith("/v1/endpoints/") and path.count("/") == 4:
            name, part = path.split("/")[3:]
            self._known(request, name)
            if (name, part) not in self.parts:
                raise Refusal(problems.NOT_FOUND, f"endpoint {name} tells no {part}")
            return web.json_response(self.parts[name, part])
        if path.startswith("/v1/endpoints/"):
            return web.json_response(self._known(request, path.rpartition("/")[2]))
        if path.startswith("/requests/"):
            return await self._job(request, path)
        if path.startswith("/e/"):
            name = path.split("/")[2]
            self._known(request, name)
            self.endpoints[name]["last_request_at"] = time.time()
            return await self.handlers[name](request)
        raise Refusal(problems.NOT_FOUND, path)

    def _opened(self, request: web.Request) -> list[str]:
        return self.tokens.get(request.headers.get("authorization", "").removeprefix("Bearer "), [])

    def _known(self, request: web.Request, name: str) -> dict[str, Any]:
        if name not in self.endpoints:
            raise Refusal(problems.UNKNOWN_ENDPOINT, f"there is no endpoint {name!r}")
        if self.endpoints[name]["visibility"] != "public" and name not in self._opened(request):
            raise Refusal(problems.UNAUTHENTICATED, f"endpoint {name} is private")
        return self.endpoints[name]

    async def _job(self, request: web.Request, path: str) -> web.StreamResponse:
        job = self.jobs[path.split("/")[2]]
        if request.method == "DELETE":
            job["status"] = "CANCELED"
        if path.endswith("/result"):
            return web.json_response(job["result"])
        ends = time.monotonic() + float(request.query.get("wait", "0"))
        while job["status"] in ("QUEUED", "RUNNING") and time.monotonic() < ends:  # noqa: ASYNC110
            await asyncio.sleep(0.02)  # tests set the state as plain data
        return web.json_response({key: value for key, value in job.items() if key != "result"})


def refuse(problem: Problem, detail: str, **how: Any) -> Handler:
    """A handler that always refuses."""

    async def handler(request: web.Request) -> web.StreamResponse:
        raise Refusal(problem, detail, **how)

    return handler


def _response(answer: Answer) -> web.Response:
    headers = {
        name.decode(): value.decode("latin-1") for name, value in answer.headers if name != b"content-length"
    }
    return web.Response(status=answer.status, body=answer.body, headers=headers)
