"""What the gateway tells about itself and endpoints; limits; the contract before traffic."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast_contract import metrics, names, tokens
from holdfast_contract.document import ContractExample, RateLimit, Visibility

if TYPE_CHECKING:
    from dataplane import Plane

ROOT = Path(__file__).resolve().parents[3]
OTHER = tokens.new_token()


async def get(plane: Plane, url: str, token: str | None = "") -> tuple[int, Any]:
    headers = {} if token is None else {"authorization": f"Bearer {token or plane.token}"}
    async with plane.http.get(url, headers=headers) as answer:
        raw = await answer.read()
        return answer.status, json.loads(raw) if "json" in answer.content_type else raw.decode()


async def test_endpoints_are_described_to_whoever_may_know_them(plane: Plane) -> None:
    plane.document()
    plane.document("open", visibility=Visibility.PUBLIC, description="for all")
    plane.document("secret", tokens=(tokens.hash_token(OTHER),))
    gateway = await plane.gateway()

    async def listed(token: str | None) -> list[str]:
        return [
            item["name"] for item in (await get(plane, f"{gateway.url}/v1/endpoints", token))[1]["endpoints"]
        ]

    assert await listed(None) == ["open"]
    assert await listed("") == ["demo", "open"]
    assert await listed(OTHER) == ["open", "secret"]
    assert (await get(plane, f"{gateway.url}/v1/endpoints/secret"))[0] == 403
    assert (await get(plane, f"{gateway.url}/v1/endpoints/secret", None))[0] == 401
    assert (await get(plane, f"{gateway.url}/v1/endpoints/none"))[0] == 404
    held = asyncio.ensure_future(_post(plane, gateway.endpoint("demo")))
    await plane.until_depth(1, 0)
    status, body = await get(plane, f"{gateway.url}/v1/endpoints/demo")
    assert (status, body["waiting"], body["running"], body["replicas"]["busy"]) == (200, 1, 0, 0)
    assert body["url"] == f"{gateway.url}/e/demo"
    assert body["last_request_at"] > 1e9
    await plane.replica(STANDIN_DELAY_MS="3000")
    await plane.until_depth(0, 1)
    _, body = await get(plane, f"{gateway.url}/v1/endpoints/demo")
    assert (body["waiting"], body["running"], body["replicas"]["busy"]) == (0, 1, 1)
    assert (await held)[0] == 200


async def test_every_documented_path_answers_as_documented_and_no_other_does(plane: Plane) -> None:
    plane.document(visibility=Visibility.PUBLIC)
    folders = {names.ENV_WEB_DIR: str(ROOT / "web"), names.ENV_TEMPLATES_DIR: str(ROOT / "templates")}
    gateway = await plane.gateway(**folders)
    _, document = await get(plane, f"{gateway.url}/openapi.json")
    assert document["openapi"].startswith("3.1")
    some = {
        "{endpoint}": "demo",
        "{id}": "01a20f04-9473-75c0-9b6f-acee5f274e26",
        "{route}": "run",
        "{template}": "ocr",
        "{path}": "examples/receipt.png",
        "{slug}": "queue-full",
    }
    # Nothing runs: calls of the endpoint end with their deadline.
    headers = {"prefer": "x", "x-deadline": "0.3"}
    for template, operations in document["paths"].items():
        path = template
        for name, value in some.items():
            path = path.replace(name, value)
        for method in ("get", "post", "put", "delete", "patch"):
            async with plane.http.request(method, gateway.url + path, headers=headers) as answer:
                wanted = operations.get(method)
                if wanted is None:
                    assert answer.status == 405, (method, path)
                    assert method.upper() not in answer.headers["allow"]
                    continue
                assert str(answer.status) in wanted["responses"], (method, path, answer.status)
                if answer.status >= 400:
                    assert answer.content_type == "application/problem+json"
                    assert set(document["components"]["schemas"]["Problem"]["required"]) <= set(
                        json.loads(await answer.read())
                    )
    assert (await get(plane, f"{gateway.url}/nowhere"))[0] == 404
    assert (await get(plane, f"{gateway.url}/metrics"))[0] == 404, "metrics are the cluster's"


async def test_the_page_and_the_catalogue_are_served_from_the_folders_named(plane: Plane) -> None:
    gateway = await plane.gateway(
        HOLDFAST_WEB_DIR=str(ROOT / "web"), HOLDFAST_TEMPLATES_DIR=str(ROOT / "templates")
    )
    status, text = await get(plane, gateway.url)
    assert status == 200
    assert "<html" in text
    status, catalogue = await get(plane, f"{gateway.url}/v1/templates")
    assert status == 200
    assert catalogue["templates"]
    assert (await get(plane, f"{gateway.url}/v1/templates/none"))[0] == 404


async def test_metrics_count_requests_errors_and_seconds(plane: Plane) -> None:
    plane.document()
    gateway = await plane.gateway()
    replica = await plane.replica()
    assert (await _post(plane, gateway.endpoint("demo")))[0] == 200
    assert (await _post(plane, gateway.endpoint("demo"), token="x"))[0] == 401
    assert (await _post(plane, gateway.endpoint("made-up")))[0] == 404
    _, text = await get(plane, f"{gateway.internal_url}/metrics")
    assert f'{metrics.REQUESTS}{{cause="none",code="200",endpoint="demo"}} 1.0' in text
    assert f'{metrics.ERRORS}{{cause="unauthenticated",endpoint="demo"}} 1.0' in text
    assert "made-up" not in text, "callers make up labels"
    assert f'{metrics.QUEUE_SECONDS}_count{{endpoint="demo"}} 1.0' in text
    assert f'{metrics.MODEL_SECONDS}_count{{endpoint="demo"}} 1.0' in text
    assert f'{metrics.WAITING}{{endpoint="demo"}} 0.0' in text
    await plane.until_depth(0, 0)
    await plane.until_true(lambda: not (replica.state_dir / "busy").exists(), "the slot is free")
    _, text = await get(plane, f"{replica.worker_url}/metrics")
    assert f'{metrics.EXECUTIONS}{{endpoint="demo",state="succeeded"}} 1.0' in text


async def test_a_rate_limit_holds_for_each_token_and_says_how_much_is_left(plane: Plane) -> None:
    plane.document(
        rate_limit=RateLimit(requests=3, window_s=3600),
        tokens=(tokens.hash_token(plane.token), tokens.hash_token(OTHER)),
    )
    gateway = await plane.gateway()
    await plane.replica()
    for left in (2, 1, 0):
        status, headers, _ = await _post(plane, gateway.endpoint("demo"))
        assert (status, headers["ratelimit-policy"]) == (200, '"default";q=3;w=3600')
        assert headers["ratelimit"].startswith(f'"default";r={left};t=')
    status, headers, problem = await _post(plane, gateway.endpoint("demo"))
    assert (status, problem["type"].rpartition("/")[2]) == (429, "rate-limited")
    assert 1100 < int(headers["retry-after"]) <= 1200
    assert (await _post(plane, gateway.endpoint("demo"), token=OTHER))[0] == 200


async def test_a_quiet_event_stream_is_kept_alive_where_the_endpoint_wants_it(plane: Plane) -> None:
    plane.document(sse_keepalive_s=1)
    gateway = await plane.gateway()
    await plane.replica()
    headers = {"x-stream-chunks": "2", "x-chunk-interval-ms": "2600", "x-stream-kind": "sse"}
    async with plane.post(gateway.endpoint("demo"), headers=headers) as answer:
        text = (await answer.read()).decode()
    assert text.count(": keep-alive\n\n") == 2
    assert [line for line in text.split("\n\n") if line.startswith("data:")][1:], "both events arrived"


async def test_a_replica_that_breaks_its_contract_takes_no_request_and_says_why(plane: Plane) -> None:
    example = ContractExample(name="echo", path="/echo", body_json={"a": 1}, expect_text="not in there")
    plane.document(contract=(example,))
    gateway = await plane.gateway()
    held = asyncio.ensure_future(_post(plane, gateway.endpoint("demo")))
    broken = await plane.replica(ready=False)
    await asyncio.to_thread(broken.worker.popen.wait, 20)
    assert broken.worker.code == 3
    said = broken.worker.log.read_text()
    assert "contract example 'echo' (POST /echo): the answer does not contain 'not in there'" in said
    assert await plane.depth() == (1, 0)
    plane.document(contract=(example.model_copy(update={"expect_text": '{"a": 1}'}),))
    kept = await plane.replica()
    status, headers, _ = await held
    assert (status, headers["x-replica"]) == (200, kept.name)


async def test_trace_context_reaches_the_model(plane: Plane) -> None:
    plane.document()
    gateway = await plane.gateway()
    await plane.replica()
    sent = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "tracestate": "a=b"}
    _, _, body = await _post(plane, gateway.endpoint("demo"), headers=sent)
    assert {"traceparent", "tracestate"} <= set(body["headers"])


async def test_endpoints_answer_at_their_own_host_where_there_is_a_domain(plane: Plane) -> None:
    plane.document()
    gateway = await plane.gateway(HOLDFAST_DOMAIN="models.example")
    await plane.replica()
    status, _, body = await _post(
        plane, f"{gateway.url}/v1/endpoints", headers={"host": "demo.models.example"}
    )
    assert (status, body["path"]) == (200, "/v1/endpoints")
    assert (await _post(plane, gateway.url, headers={"host": "other.models.example"}))[0] == 404


async def _post(
    plane: Plane, url: str, *, token: str = "", headers: dict[str, str] | None = None
) -> tuple[int, Any, Any]:
    sent = {"authorization": f"Bearer {token or plane.token}", **(headers or {})}
    async with plane.http.post(url, headers=sent) as answer:
        raw = await answer.read()
        return answer.status, answer.headers, json.loads(raw) if "json" in answer.content_type else raw
