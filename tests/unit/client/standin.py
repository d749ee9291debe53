"""A gateway that lives in memory, for tests of the client and of the command: it answers by the HTTP interface's
rules, and can be told what to answer next."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import httpx2

URL = "http://gateway.test"
MODEL_HEADERS = {"x-replica": "echo-0", "x-attempt": "1", "x-queue-s": "0.25", "x-model-s": "0.5"}
Scripted = httpx2.Response | Exception | Callable[[httpx2.Request], httpx2.Response]


def problem(
    slug: str, status: int, *, detail: str = "", remedy: str = "", retry: bool | None = None, **headers: str
) -> httpx2.Response:
    """A problem page, as the gateway writes it."""
    more = {} if retry is None else {"x-should-retry": "true" if retry else "false"}
    content = {"type": f"https://holdfast.dev/problems/{slug}", "title": slug, "status": status}
    return httpx2.Response(
        status,
        headers={"content-type": "application/problem+json", "x-request-id": "r-1", **more, **headers},
        content=json.dumps({**content, "detail": detail, "remedy": remedy, "request_id": "r-1"}),
    )


class Broken(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """A body that breaks off."""

    def __init__(self, *chunks: bytes) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        yield from self._chunks
        raise httpx2.RemoteProtocolError("peer closed connection without sending complete message body")

    async def __aiter__(self) -> Any:
        for chunk in self:
            yield chunk


class Gateway:
    """Endpoints `echo` (answers its input) and `count` (streams the numbers up to `to` as events)."""

    def __init__(self) -> None:
        self.requests: list[httpx2.Request] = []
        self.script: deque[Scripted] = deque()
        """Answers to give before the usual ones; an exception is raised as a broken connection would be."""
        self.jobs: dict[str, dict[str, Any]] = {}
        self.job_states: dict[str, list[str]] = {}

    def transport(self) -> httpx2.MockTransport:
        """For an httpx2 client of either kind."""
        return httpx2.MockTransport(self.answer)

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        """One answer."""
        self.requests.append(request)
        if self.script:
            scripted = self.script.popleft()
            if isinstance(scripted, Exception):
                raise scripted
            return scripted if isinstance(scripted, httpx2.Response) else scripted(request)
        path = request.url.path
        if path == "/healthz":
            return httpx2.Response(200, text="ok")
        if path == "/v1/endpoints":
            return httpx2.Response(200, json={"endpoints": [_described("count"), _described("echo")]})
        if path.startswith("/v1/endpoints/"):
            name = path.rsplit("/", 1)[1]
            if name not in ("count", "echo"):
                return problem("unknown-endpoint", 404, detail=f"no endpoint {name}", remedy="list them")
            return httpx2.Response(200, json=_described(name))
        if path == "/v1/templates":
            return httpx2.Response(
                200, json={"templates": [{"name": "ocr", "version": "1.0.0", "description": "text"}]}
            )
        if path.startswith("/requests/"):
            return self._job(request, path.split("/")[2], path.endswith("/result"))
        if path.startswith("/e/"):
            return self._endpoint(request, path.split("/")[2])
        return problem("not-found", 404)

    def _endpoint(self, request: httpx2.Request, name: str) -> httpx2.Response:
        if "respond-async" in request.headers.get("prefer", ""):
            request_id = f"job-{len(self.jobs) + 1}"
            self.jobs[request_id] = {"body": request.content, "type": request.headers.get("content-type")}
            self.job_states.setdefault(request_id, ["QUEUED", "SUCCEEDED"])
            accepted = {"id": request_id, "status": "QUEUED", "poll_url": f"{URL}/requests/{request_id}"}
            return httpx2.Response(202, json=accepted, headers={"location": f"/requests/{request_id}"})
        if name == "echo":
            media_type = request.headers.get("content-type", "application/octet-stream")
            headers = {**MODEL_HEADERS, "x-request-id": "r-1", "content-type": media_type}
            return httpx2.Response(200, headers=headers, content=request.content)
        if name == "count":
            numbers = range(1, json.loads(request.content)["to"] + 1)
            text = ": keep-alive\n\n" + "".join(f"data: {number}\n\n" for number in numbers)
            return httpx2.Response(
                200, headers={**MODEL_HEADERS, "content-type": "text/event-stream"}, text=text
            )
        return problem("unknown-endpoint", 404, detail=f"no endpoint {name}", remedy="list them")

    def _job(self, request: httpx2.Request, request_id: str, result: bool) -> httpx2.Response:
        if request_id not in self.jobs:
            return problem("unknown-request", 404, detail=f"no request {request_id}")
        if request.method == "DELETE":
            self.job_states[request_id] = ["CANCELED"]
        if result:
            job = self.jobs[request_id]
            headers = {**MODEL_HEADERS, **({"content-type": job["type"]} if job["type"] else {})}
            return httpx2.Response(200, headers=headers, content=job["body"])
        states = self.job_states[request_id]
        state = states.pop(0) if len(states) > 1 else states[0]
        found: dict[str, Any] = {"id": request_id, "status": state, "endpoint": "echo", "created_at": 1.0}
        if state in ("FAILED", "EXPIRED", "CANCELED"):
            found["error"] = f"it was made to be {state.lower()}"
        return httpx2.Response(200, json=found)


def _described(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "url": f"{URL}/e/{name}",
        "visibility": "private",
        "state": "active",
        "replicas": {"desired": 1, "pending": 0, "ready": 1, "busy": 0},
        "waiting": 0,
        "running": 0,
        "scaling": {"min_replicas": 0, "max_replicas": 3},
    }
