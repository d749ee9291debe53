"""What the gateway tells of one endpoint beside its state: events, logs, the container's own interface, cost."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast_contract.document import PhaseEstimate, Price, Visibility

if TYPE_CHECKING:
    from dataplane import Plane

SUPPORT = Path(__file__).resolve().parents[2] / "support"
NODE = PhaseEstimate(phase="node", low_s=80, high_s=120, why="a new GPU machine")
PRICE = Price(
    usd_per_hour=0.8048,
    replicas_per_instance=2,
    instance_type="g6.xlarge",
    region="us-east-1",
    prices_from="2026-07-20",
)


async def _get(plane: Plane, url: str, token: str | None = "") -> tuple[int, Any]:
    headers = {} if token is None else {"authorization": f"Bearer {token or plane.token}"}
    async with plane.http.get(url, headers=headers) as answer:
        return answer.status, await answer.json(content_type=None)


async def _called(plane: Plane, url: str) -> None:
    """Outside of a cluster, only what answered is known to be there."""
    async with plane.http.get(url, headers={"authorization": f"Bearer {plane.token}"}) as answer:
        assert answer.status == 200
        await answer.read()


async def test_the_containers_own_interface_is_told_with_the_endpoints_address(plane: Plane) -> None:
    plane.document()
    gateway = await plane.gateway()
    url = f"{gateway.url}/v1/endpoints/demo/openapi.json"
    replica = await plane.replica(argv=(sys.executable, str(SUPPORT / "openai_standin.py")))
    assert (await _get(plane, url, None))[0] == 401
    status, problem = await _get(plane, url)
    assert (status, problem["detail"]) == (
        404,
        "endpoint demo has told no interface yet: no replica is ready",
    ), "nobody starts a replica to read a description"
    assert (await _get(plane, gateway.endpoint("demo", "/v1/models")))[0] == 200
    status, document = await _get(plane, url)
    assert status == 200
    assert "/v1/chat/completions" in document["paths"]
    assert document["servers"] == [{"url": f"{gateway.url}/e/demo"}]
    replica.kill()
    assert (await _get(plane, url))[0] == 200, "what was told stays known without replicas"


async def test_a_container_without_an_interface_is_not_asked_again_and_again(plane: Plane) -> None:
    plane.document()
    gateway = await plane.gateway()
    replica = await plane.replica(STANDIN_SIZE="20")
    await _called(plane, gateway.endpoint("demo"))
    for _ in range(3):
        status, problem = await _get(plane, f"{gateway.url}/v1/endpoints/demo/openapi.json")
        assert status == 404
        assert problem["detail"] == (
            "the container of endpoint demo told no OpenAPI document of at most 512 KiB at /openapi.json within 10 s: "
            "it has none, or its replicas were busy; after 60 s it is asked again"
        )
    assert [one["path"] for one in replica.begun()] == ["/", "/openapi.json"]


async def test_an_interface_that_is_too_long_is_refused_without_keeping_it(plane: Plane) -> None:
    plane.document()
    gateway = await plane.gateway()
    await plane.replica(STANDIN_SIZE="3000000")
    await _called(plane, gateway.endpoint("demo"))
    assert (await _get(plane, f"{gateway.url}/v1/endpoints/demo/openapi.json"))[0] == 404
    await plane.until_depth(0, 0)


async def test_logs_are_for_tokens_only_also_of_a_public_endpoint(plane: Plane) -> None:
    plane.document()
    plane.document("open", visibility=Visibility.PUBLIC, tokens=())
    gateway = await plane.gateway()
    logs = f"{gateway.url}/v1/endpoints/demo/logs"
    assert await _get(plane, logs) == (200, {"container": "model", "replicas": []})
    assert (await _get(plane, logs, None))[0] == 401
    assert (await _get(plane, f"{gateway.url}/v1/endpoints/open/logs", None))[0] == 401
    assert (await _get(plane, f"{gateway.url}/v1/endpoints/open/logs"))[0] == 403
    status, problem = await _get(plane, f"{logs}?tail=0")
    assert (status, problem["detail"]) == (400, "tail is '0', not a number from 1 to 500")
    status, problem = await _get(plane, f"{logs}?container=other")
    assert (status, problem["detail"]) == (400, "container is 'other', not one of model, worker")


async def test_events_follow_the_endpoints_visibility_and_other_parts_do_not_exist(plane: Plane) -> None:
    plane.document()
    plane.document("open", visibility=Visibility.PUBLIC, tokens=())
    gateway = await plane.gateway()
    assert (await _get(plane, f"{gateway.url}/v1/endpoints/demo/events", None))[0] == 401
    assert await _get(plane, f"{gateway.url}/v1/endpoints/open/events", None) == (200, {"events": []})
    assert (await _get(plane, f"{gateway.url}/v1/endpoints/open/secrets", None))[0] == 404


async def test_the_estimate_of_a_cold_start_is_told_beside_the_last_one(plane: Plane) -> None:
    plane.document(cold_start_estimate=(NODE,))
    plane.document("free")
    gateway = await plane.gateway()
    _, demo = await _get(plane, f"{gateway.url}/v1/endpoints/demo")
    node, pull, load = demo["cold_start_phases"]
    assert node == {
        "phase": "node",
        "low_s": 80.0,
        "high_s": 120.0,
        "last_s": None,
        "verdict": None,
        "why": "a new GPU machine",
    }
    assert (pull["phase"], pull["low_s"], load["phase"], load["low_s"]) == (
        "pull",
        None,
        "load and ready",
        None,
    )
    assert (await _get(plane, f"{gateway.url}/v1/endpoints/free"))[1]["cold_start_phases"] == []


async def test_the_declared_price_is_told_for_each_replica_and_hour(plane: Plane) -> None:
    plane.document(price=PRICE)
    plane.document("free")
    gateway = await plane.gateway()
    _, demo = await _get(plane, f"{gateway.url}/v1/endpoints/demo")
    assert demo["cost"] == {
        "usd_per_replica_hour": 0.4024,
        "usd_per_hour_now": None,
        "usd_this_month": None,
        "instance_type": "g6.xlarge",
        "region": "us-east-1",
        "prices_from": "2026-07-20",
        "note": "",
    }
    assert (await _get(plane, f"{gateway.url}/v1/endpoints/free"))[1]["cost"] is None
