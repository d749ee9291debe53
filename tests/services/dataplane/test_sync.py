"""Synchronous requests through real gateways, workers and broker."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import time
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from dataplane import ask

from holdfast_contract import names, tokens
from holdfast_contract.document import EndpointState, Visibility

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataplane import Gateway, Plane

OTHER = tokens.new_token("other001")


async def test_a_request_at_zero_replicas_is_held_and_answered_by_the_first_replica(plane: Plane) -> None:
    plane.document()
    gateway = await plane.gateway()
    woken: list[str] = []

    async def on_wake(message: Any) -> None:
        woken.append(message.subject)

    await plane.broker.subscribe("wake.*", on_wake)
    await plane.broker.client.flush()
    asked = asyncio.create_task(ask(plane, gateway.endpoint("demo", "/v1/x?a=1"), data=b"hello"))
    await plane.until_depth(1, 0)
    await plane.until_true(lambda: woken, "the wake")
    assert woken == ["wake.demo"]
    await plane.replica()
    status, headers, raw = await asked
    body = json.loads(raw)
    assert status == 200
    assert (body["method"], body["path"], body["query"], body["body_bytes"]) == ("POST", "/v1/x", "a=1", 5)
    assert headers["x-request-id"] == body["request_id"]
    assert headers["x-attempt"] == body["attempt"] == "1"
    assert headers["x-replica"] == body["standin"]
    assert float(headers["x-queue-s"]) > 0.1
    assert 0 <= float(headers["x-model-s"]) < 1
    assert "authorization" not in body["headers"]
    await plane.until_depth(0, 0)


async def test_tokens_are_asked_for_unless_the_endpoint_is_public(plane: Plane) -> None:
    plane.document()
    plane.document("elsewhere", tokens=(tokens.hash_token(OTHER),))
    plane.document("open", visibility=Visibility.PUBLIC, tokens=())
    gateway = await plane.gateway()
    await plane.replica("open")
    wanted = {
        ("demo", None): (401, "unauthenticated"),
        ("demo", "hf_nonsense"): (401, "unauthenticated"),
        ("demo", tokens.new_token()): (401, "unauthenticated"),
        ("demo", OTHER): (403, "forbidden"),
        ("nowhere", OTHER): (404, "unknown-endpoint"),
    }
    for (endpoint, token), (status, slug) in wanted.items():
        got, headers, raw = await ask(plane, gateway.endpoint(endpoint), token=token)
        problem = json.loads(raw)
        assert (got, problem["type"].rpartition("/")[2]) == (status, slug)
        assert headers["content-type"] == "application/problem+json"
        assert headers["x-should-retry"] == "false"
        assert problem["request_id"] == headers["x-request-id"]
        assert problem["remedy"]
    assert (await ask(plane, gateway.endpoint("open"), token=None))[0] == 200


async def test_one_replica_never_gets_more_than_its_concurrency(plane: Plane) -> None:
    plane.document(concurrency=2)
    first, second = await plane.gateway(), await plane.gateway()
    replica = await plane.replica(STANDIN_DELAY_MS="20")
    answers = await asyncio.gather(
        *(ask(plane, (first if n % 2 else second).endpoint("demo"), data=b"x") for n in range(60))
    )
    assert {status for status, _, _ in answers} == {200}
    assert replica.peak() == 2


async def test_a_full_queue_is_429_with_retry_after_and_frees_when_callers_leave(plane: Plane) -> None:
    plane.document(max_replicas=1, max_queue=2)
    gateway = await plane.gateway()
    held = [asyncio.create_task(ask(plane, gateway.endpoint("demo"))) for _ in range(3)]
    await plane.until_depth(3, 0)
    status, headers, raw = await ask(plane, gateway.endpoint("demo"))
    assert (status, headers["x-should-retry"]) == (429, "true")
    assert json.loads(raw)["detail"] == "3 requests of endpoint demo wait or run"
    assert 1 <= int(headers["retry-after"]) <= 120
    for task in held:
        task.cancel()
    await plane.until_depth(0, 0)
    replica = await plane.replica()
    assert (await ask(plane, gateway.endpoint("demo")))[0] == 200
    assert len(replica.begun()) == 1, "a request whose caller left was executed"


async def test_a_caller_who_leaves_a_running_request_aborts_it_within_a_second(
    plane: Plane, figures: Callable[[str], None]
) -> None:
    plane.document()
    gateway = await plane.gateway()
    replica = await plane.replica(STANDIN_DELAY_MS="20000")
    asked = asyncio.create_task(ask(plane, gateway.endpoint("demo")))
    await plane.until_depth(0, 1)
    await replica.until_begun(1)
    asked.cancel()
    left = time.monotonic()
    while [entry["event"] for entry in replica.executions()] != ["begin", "end"]:
        assert time.monotonic() - left < 1.0
        await asyncio.sleep(0.01)
    figures(f"aborted {time.monotonic() - left:.2f} s after its caller left")
    assert replica.executions()[1]["outcome"] == "canceled"
    await plane.until_depth(0, 0)


async def test_a_stream_arrives_piece_by_piece(plane: Plane) -> None:
    plane.document()
    gateway = await plane.gateway()
    await plane.replica()
    headers = {"x-stream-chunks": "4", "x-chunk-interval-ms": "300", "x-stream-kind": "sse"}
    async with plane.post(gateway.endpoint("demo"), headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        arrivals = []
        async for _ in answer.content.iter_any():
            arrivals.append(time.monotonic())
    gaps = [after - before for before, after in itertools.pairwise(arrivals)]
    assert len(arrivals) >= 4
    assert max(gaps) < 1.0
    assert sum(gap > 0.15 for gap in gaps) >= 3


async def test_large_bodies_pass_unchanged_both_ways(plane: Plane) -> None:
    plane.document()
    gateway = await plane.gateway()
    await plane.replica()
    for size in (0, 1, 256 * 1024, 256 * 1024 + 1, 5_000_000):
        body = hashlib.sha256(str(size).encode()).digest() * (size // 32) + b"z" * (size % 32)
        status, headers, raw = await ask(plane, gateway.endpoint("demo", "/echo"), data=body)
        assert (status, hashlib.sha256(raw).hexdigest()) == (200, hashlib.sha256(body).hexdigest())
        assert int(headers["content-length"]) == size


async def test_a_body_above_the_limit_is_413(plane: Plane) -> None:
    plane.document()
    gateway = await plane.gateway(**{names.ENV_MAX_BODY_BYTES: "1000"})

    async def pieces() -> Any:
        for _ in range(20):
            yield b"x" * 100

    assert (await ask(plane, gateway.endpoint("demo"), data=b"x" * 1001))[0] == 413
    assert (await ask(plane, gateway.endpoint("demo"), data=pieces()))[0] == 413


async def test_a_deadline_that_passes_in_the_queue_is_504_and_nothing_is_executed(plane: Plane) -> None:
    plane.document()
    gateway = await plane.gateway()
    began = time.monotonic()
    status, headers, raw = await ask(plane, gateway.endpoint("demo"), headers={"x-deadline": "0.5"})
    assert status == 504
    assert 0.4 < time.monotonic() - began < 2
    assert headers["x-should-retry"] == "false"
    assert json.loads(raw)["detail"].endswith("no replica took it")
    await plane.until_depth(0, 0)
    replica = await plane.replica()
    assert (await ask(plane, gateway.endpoint("demo")))[0] == 200
    assert len(replica.begun()) == 1


async def test_a_deadline_that_passes_while_running_is_504_and_stops_the_model(plane: Plane) -> None:
    plane.document()
    gateway = await plane.gateway()
    replica = await plane.replica(STANDIN_DELAY_MS="20000")
    status, _, raw = await ask(plane, gateway.endpoint("demo"), headers={"x-deadline": "1"})
    assert (status, json.loads(raw)["detail"]) == (504, "1 s passed; a replica worked on it")
    left = time.monotonic()
    while [entry["event"] for entry in replica.executions()] != ["begin", "end"]:
        assert time.monotonic() - left < 1.5
        await asyncio.sleep(0.01)
    await plane.until_depth(0, 0)


async def test_a_model_that_takes_longer_than_its_maximum_is_stopped(plane: Plane) -> None:
    plane.document(max_request_s=1)
    gateway = await plane.gateway()
    await plane.replica(STANDIN_DELAY_MS="20000")
    status, _, _ = await ask(plane, gateway.endpoint("demo"))
    assert status == 504
    await plane.until_depth(0, 0)


async def test_a_paused_endpoint_is_503_and_one_that_stays_missing_is_404(
    plane: Plane,
) -> None:
    plane.document()
    gateway = await plane.gateway()
    plane.document(state=EndpointState.PAUSED)

    async def answers(wanted: int, slug: str) -> None:
        ends = time.monotonic() + 12
        while True:
            status, headers, raw = await ask(plane, gateway.endpoint("demo"), headers={"x-deadline": "0.1"})
            if status == wanted:
                assert json.loads(raw)["type"].endswith(slug)
                assert headers["x-should-retry"] == "false"
                return
            assert time.monotonic() < ends

    await answers(503, "paused")
    (plane.documents / "demo.json").unlink()
    await answers(404, "unknown-endpoint")


async def test_websockets_are_refused_clearly(plane: Plane) -> None:
    plane.document()
    gateway = await plane.gateway()
    headers = {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    status, _, raw = await ask(plane, gateway.endpoint("demo"), method="GET", headers=headers)
    assert (status, json.loads(raw)["type"].rpartition("/")[2]) == (501, "upgrade-refused")


async def test_the_models_own_errors_are_results_and_not_retried(plane: Plane) -> None:
    plane.document()
    gateway = await plane.gateway()
    replica = await plane.replica()
    for code in (400, 404, 429, 500, 503):
        status, headers, _ = await ask(plane, gateway.endpoint("demo"), headers={"x-status": str(code)})
        assert (status, headers["x-should-retry"]) == (code, "false")
    assert len(replica.begun()) == 5


@pytest.mark.parametrize("crash", ["drop", "garbage"])
async def test_what_breaks_the_model_every_time_is_tried_three_times_and_is_502(
    plane: Plane, crash: str
) -> None:
    plane.document()
    gateway = await plane.gateway()
    replica = await plane.replica()
    status, headers, raw = await ask(plane, gateway.endpoint("demo"), headers={"x-crash": crash})
    assert (status, headers["x-should-retry"], headers["x-attempt"]) == (502, "false", "3")
    assert "on attempt 3 of 3" in json.loads(raw)["detail"]
    assert [entry["attempt"] for entry in replica.begun()] == ["1", "2", "3"]
    await plane.until_depth(0, 0)


async def test_an_answer_that_breaks_off_is_never_a_clean_end(plane: Plane) -> None:
    plane.document()
    gateway = await plane.gateway()
    replica = await plane.replica()
    headers = {"x-stream-chunks": "6", "x-chunk-interval-ms": "100", "x-crash": "drop-mid", "x-size": "64"}
    with pytest.raises(aiohttp.ClientPayloadError):
        await ask(plane, gateway.endpoint("demo"), headers=headers)
    with pytest.raises(aiohttp.ClientPayloadError):
        await ask(plane, gateway.endpoint("demo"), headers={**headers, "x-stream-kind": "sse"})
    await plane.until_depth(0, 0)
    assert len(replica.begun()) == 2, "an answer that had begun was started again"


async def test_paths_reach_the_model_as_sent_and_never_another_endpoint(plane: Plane) -> None:
    plane.document()
    plane.document("elsewhere", tokens=(tokens.hash_token(OTHER),))
    gateway = await plane.gateway()
    await plane.replica()
    for path in (
        "/../elsewhere/x",
        "/a%2f..%2fb",
        "//double",
        "/%2e%2e/e/elsewhere/",
    ):
        line = await _raw(gateway, f"GET /e/demo{path}?q=%2F HTTP/1.1", plane.token)
        assert line["status"] == 200
        assert line["body"]["standin"].startswith("demo")
    assert (await _raw(gateway, "GET /e/demo/../elsewhere/ HTTP/1.1", plane.token))["body"]["path"] != "/"
    assert (await _raw(gateway, "GET /e/x/../demo/ HTTP/1.1", plane.token))["status"] == 404


async def test_a_broker_that_is_down_is_503_and_comes_back_without_a_restart(plane: Plane) -> None:
    plane.document()
    gateway = await plane.gateway()
    await plane.replica()
    assert (await ask(plane, gateway.endpoint("demo")))[0] == 200
    plane.nats.kill()
    status, headers, raw = await ask(plane, gateway.endpoint("demo"))
    assert (status, headers["x-should-retry"]) == (503, "true")
    assert json.loads(raw)["type"].endswith("queue-down")
    assert int(headers["retry-after"]) >= 1
    plane.nats.start()
    ends = time.monotonic() + 15
    while (await ask(plane, gateway.endpoint("demo")))[0] != 200:
        assert time.monotonic() < ends
        await asyncio.sleep(0.1)


async def _raw(gateway: Gateway, line: str, token: str) -> dict[str, Any]:
    """A request exactly as written: no client library that tidies paths."""
    host, port = gateway.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"{line}\r\nhost: x\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n".encode("latin-1")
    )
    raw = await asyncio.wait_for(reader.read(), 15)
    writer.close()
    head, _, body = raw.partition(b"\r\n\r\n")
    try:
        parsed = json.loads(body)
    except ValueError:
        parsed = body
    return {"status": int(head.split()[1]), "body": parsed}
