"""Events and logs as the gateway reads them from an API server: one that only answers what it was told to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from documents import endpoint_document
from waiting import until

from holdfast_contract import names
from holdfast_services import kube
from holdfast_services.gateway.cluster import MAX_LOG_BYTES, MAX_LOGS, ClusterReplicas

DOCUMENT = endpoint_document("demo", namespace="ns")


def _pod(number: int) -> dict[str, Any]:
    metadata = {
        "name": f"demo-1234567890-{number:05}",
        "uid": str(number),
        "labels": {names.LABEL_ENDPOINT: "demo"},
        "creationTimestamp": f"2026-11-24T10:00:{number:02}Z",
    }
    return {"metadata": metadata, "status": {"conditions": [], "containerStatuses": []}}


def _event(name: str, about: str, kind: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "involvedObject": {"kind": "Pod", "name": about},
        "type": kind,
        "reason": "Pulled",
        "lastTimestamp": "2026-11-24T10:00:00Z",
    }


@dataclass
class ApiServer:
    """Lists, watches without an event, and logs."""

    listed: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    refusal: dict[str, Any] | None = None
    """What every watch ends with at once."""
    shapeless: bool = False
    """Whether lists are none of Kubernetes'."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Any path of the API."""
        self.asked.append(request.path_qs)
        if request.path.endswith("/log"):
            if request.path.endswith("00/log"):
                raise web.HTTPBadRequest(text="container is waiting to start")
            return web.Response(text=f"said by {request.path.split('/')[-2]}\n")
        if "watch" in request.query:
            if self.refusal is not None:
                return web.Response(text=json.dumps({"type": "ERROR", "object": self.refusal}) + "\n")
            await asyncio.sleep(60)
        if self.shapeless:
            return web.json_response({"items": [{"no": "metadata"}]})
        kind = request.path.rpartition("/")[2]
        body = {"items": self.listed.get(kind, []), "metadata": {"resourceVersion": "1"}}
        return web.Response(text=json.dumps(body), content_type="application/json")


@pytest.fixture
async def server() -> AsyncIterator[tuple[ApiServer, str]]:
    """An API server on loopback."""
    made = ApiServer()
    app = web.Application()
    app.router.add_get("/{path:.*}", made.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield made, f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def _until_seen(view: ClusterReplicas, pods: int) -> None:
    """Until so many replicas, and what happened to them where something did, are known."""
    for _ in range(500):
        counts = view.counts("demo")
        if counts is not None and counts.desired == pods and (view.events("demo") or pods == 2):
            return
        await asyncio.sleep(0.02)
    pytest.fail(f"not seen: {pods} replicas")


async def test_events_are_told_and_logs_read_from_the_newest_replicas_within_bounds(
    server: tuple[ApiServer, str],
) -> None:
    api, url = server
    api.listed["pods"] = [_pod(number) for number in range(8)]
    api.listed["events"] = [
        _event("a", "demo-1234567890-00001", "Normal"),
        _event("b", "other-1234567890-00001", "Warning"),
    ]
    cluster = kube.Cluster(url)
    view = ClusterReplicas(cluster, "ns", lambda: {"demo": DOCUMENT}, list)
    assert view.counts("demo") is None, "not known yet is not none: the month's cost would begin with a gap"
    following = asyncio.create_task(view.run())
    try:
        async with asyncio.timeout(20):
            await _until_seen(view, 8)
            assert view.events("demo")
            [told] = view.events("demo")
            assert (told["type"], told["object"]) == ("Normal", "pod/demo-1234567890-00001")
            assert list(view.events("none")) == []
            logs = await view.logs("demo", "model", 20)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await cluster.close()
    assert [name for name, _ in logs] == [f"demo-1234567890-{number:05}" for number in (7, 6, 5, 4, 3)]
    assert len(logs) == MAX_LOGS
    assert logs[0][1] == "said by demo-1234567890-00007\n"
    [one] = [path for path in api.asked if "00007/log" in path]
    assert one.startswith("/api/v1/namespaces/ns/pods/")
    assert {"container=model", "tailLines=20", f"limitBytes={MAX_LOG_BYTES}"} == set(
        one.partition("?")[2].split("&")
    )


async def test_a_replica_without_a_log_does_not_hide_the_others(server: tuple[ApiServer, str]) -> None:
    api, url = server
    api.listed["pods"] = [_pod(0), _pod(1)]
    cluster = kube.Cluster(url)
    view = ClusterReplicas(cluster, "ns", lambda: {"demo": DOCUMENT}, list)
    following = asyncio.create_task(view.run())
    try:
        async with asyncio.timeout(20):
            await _until_seen(view, 2)
            logs = dict(await view.logs("demo", "model", 20))
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await cluster.close()
    assert logs["demo-1234567890-00001"].startswith("said by")
    assert logs["demo-1234567890-00000"] == "(no log: the container has not begun, or is gone)"


async def test_a_server_that_refuses_every_watch_is_asked_ever_less_often_and_followed_again_after(
    server: tuple[ApiServer, str],
) -> None:
    api, url = server
    api.refusal = {"code": 500, "message": "no space left"}
    cluster = kube.Cluster(url)
    seen: list[int] = []

    async def follow() -> None:
        async for objects in cluster.follow("api/v1/namespaces/{namespace}/pods", "ns"):
            seen.append(len(objects))

    following = asyncio.create_task(follow())
    try:
        await asyncio.sleep(2.5)
        assert 2 <= len(seen) <= 6
        api.refusal, api.shapeless = None, True
        await asyncio.sleep(2.5)
        api.shapeless, api.listed["pods"] = False, [_pod(1)]
        await until(lambda: seen[-1] == 1, "the server is followed again")
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await cluster.close()
