"""Requests with a record: submitted, polled, withdrawn, repeated, announced."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import signal
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web

from holdfast_contract import names, tokens
from holdfast_contract.messages import RequestRecord, RequestState
from holdfast_services.gateway.core import ids
from holdfast_services.records import Records

if TYPE_CHECKING:
    from dataplane import Gateway, Plane

ASYNC = {"prefer": "respond-async"}


async def ask(
    plane: Plane, url: str, *, method: str = "POST", token: str | None = "", **more: Any
) -> tuple[int, Mapping[str, str], Any]:
    """Status, headers and body (JSON where it is). `token`: empty: the endpoint's; None: none."""
    headers = dict(more.pop("headers", {}))
    if token is not None:
        headers["authorization"] = f"Bearer {token or plane.token}"
    async with plane.http.request(method, url, headers=headers, **more) as answer:
        raw = await answer.read()
        return answer.status, answer.headers, json.loads(raw) if "json" in answer.content_type else raw


async def submit(plane: Plane, gateway: Gateway, **more: Any) -> dict[str, Any]:
    status, headers, body = await ask(
        plane,
        gateway.endpoint("demo", more.pop("path", "/")),
        headers={**ASYNC, **more.pop("headers", {})},
        **more,
    )
    assert (status, headers["location"]) == (202, f"/requests/{body['id']}")
    return body


async def test_a_submitted_request_is_polled_and_its_result_read_from_any_gateway(plane: Plane) -> None:
    plane.document()
    first, second = await plane.gateway(), await plane.gateway()
    submitted = await submit(plane, first, path="/v1/run?a=b", data=b"hello")
    state = f"{second.url}/requests/{submitted['id']}"
    status, _, body = await ask(plane, state, method="GET")
    assert (status, body["status"], body["queue_position"]) == (200, "QUEUED", 0)
    assert (await ask(plane, f"{state}/result", method="GET"))[0] == 409
    waiting = asyncio.create_task(ask(plane, f"{state}?wait=20", method="GET"))
    replica = await plane.replica()
    _, _, body = await waiting
    assert (body["status"], body["http_status"], body["attempt"], body["replica"]) == (
        "SUCCEEDED",
        200,
        1,
        replica.name,
    )
    assert body["created_at"] <= body["started_at"] <= body["completed_at"]
    status, headers, result = await ask(plane, f"{state}/result", method="GET")
    assert (status, headers["x-request-id"], result["path"], result["query"]) == (
        200,
        submitted["id"],
        "/v1/run",
        "a=b",
    )
    await plane.until_depth(0, 0)


async def test_results_of_any_size_and_status_are_kept_as_they_were(plane: Plane) -> None:
    plane.document()
    gateway = await plane.gateway()
    await plane.replica()
    for size in (0, 1, 64 * 1024, 64 * 1024 + 1, 3_000_000):
        submitted = await submit(plane, gateway, headers={"x-size": str(size), "x-status": "418"})
        url = f"{gateway.url}/requests/{submitted['id']}"
        assert (await ask(plane, f"{url}?wait=20", method="GET"))[2]["status"] == "SUCCEEDED"
        status, headers, body = await ask(plane, f"{url}/result", method="GET")
        assert (status, int(headers["content-length"]), len(body)) == (418, size, size)
        assert body == (b"0123456789abcdef" * (size // 16 + 1))[:size]


async def test_a_large_submitted_body_passes_through_the_store_and_leaves_it(plane: Plane) -> None:
    plane.document()
    gateway = await plane.gateway()
    body = hashlib.sha256(b"x").digest() * 40_000
    submitted = await submit(plane, gateway, path="/echo", data=body)
    await plane.replica()
    url = f"{gateway.url}/requests/{submitted['id']}"
    await ask(plane, f"{url}?wait=20", method="GET")
    assert (await ask(plane, f"{url}/result", method="GET"))[2] == body


async def test_prefer_wait_answers_at_once_where_it_can_and_202_where_it_cannot(plane: Plane) -> None:
    plane.document()
    gateway = await plane.gateway()
    wait = {"prefer": "wait=1"}
    began = time.monotonic()
    status, headers, _ = await ask(plane, gateway.endpoint("demo"), headers=wait)
    assert (status, headers["preference-applied"]) == (202, "wait")
    assert time.monotonic() - began > 0.9
    await plane.replica()
    status, _, body = await ask(plane, gateway.endpoint("demo", "/now"), headers={"prefer": "wait=15"})
    assert (status, body["path"]) == (200, "/now")


async def test_a_withdrawn_request_is_not_executed_and_a_running_one_is_stopped(plane: Plane) -> None:
    plane.document()
    gateway = await plane.gateway()
    queued = await submit(plane, gateway)
    status, _, body = await ask(plane, f"{gateway.url}/requests/{queued['id']}", method="DELETE")
    assert (status, body["status"]) == (200, "CANCELED")
    await plane.until_depth(0, 0)
    replica = await plane.replica(STANDIN_DELAY_MS="20000")
    running = await submit(plane, gateway)
    await replica.until_begun(1)
    assert replica.begun()[0]["request_id"] == running["id"]
    url = f"{gateway.url}/requests/{running['id']}"
    await ask(plane, url, method="DELETE")
    await plane.until_true(lambda: len(replica.executions()) == 2, "the model is stopped", 2)
    assert (await ask(plane, url, method="DELETE"))[2]["status"] == "CANCELED"
    assert (await ask(plane, f"{url}/result", method="GET"))[0] == 410
    await plane.until_depth(0, 0)


async def test_requests_are_shown_to_their_endpoints_tokens_only(plane: Plane) -> None:
    other = tokens.new_token()
    plane.document()
    plane.document("elsewhere", tokens=(tokens.hash_token(other),))
    gateway = await plane.gateway()
    url = f"{gateway.url}/requests/{(await submit(plane, gateway))['id']}"
    assert (await ask(plane, url, method="GET", token=None))[0] == 401
    assert (await ask(plane, url, method="GET", token=other))[0] == 404
    assert (await ask(plane, url, method="DELETE", token=other))[0] == 404
    assert (await ask(plane, url, method="GET"))[0] == 200
    assert (await ask(plane, url, method="POST"))[0] == 405
    unknown = f"{gateway.url}/requests/01a20f04-9473-75c0-9b6f-acee5f274e26"
    assert (await ask(plane, unknown, method="GET"))[0] == 404
    assert (await ask(plane, f"{gateway.url}/requests/..%2f", method="GET"))[0] == 404


async def test_a_deadline_that_passes_without_a_replica_ends_a_submitted_request(plane: Plane) -> None:
    plane.document()
    gateway = await plane.gateway()
    submitted = await submit(plane, gateway, headers={"x-deadline": "0.5"})
    url = f"{gateway.url}/requests/{submitted['id']}?wait=30"
    _, _, body = await ask(plane, url, method="GET")
    assert body["status"] == "EXPIRED"
    await plane.until_depth(0, 0)


async def test_the_same_key_gives_the_same_result_without_a_second_execution(plane: Plane) -> None:
    plane.document()
    first, second = await plane.gateway(), await plane.gateway()
    replica = await plane.replica()
    key = {"idempotency-key": '"8e03978e-40d5-43dd-bc93-6894a57f9324"'}
    one = await ask(plane, first.endpoint("demo"), headers=key, data=b"a")
    two = await ask(plane, second.endpoint("demo"), headers=key, data=b"a")
    assert (one[0], one[2]["number"]) == (200, 1)
    assert (two[0], two[2], two[1]["x-request-id"]) == (200, one[2], one[1]["x-request-id"])
    status, _, problem = await ask(plane, second.endpoint("demo"), headers=key, data=b"b")
    assert (status, problem["type"].rpartition("/")[2]) == (422, "idempotency-mismatch")
    assert (await ask(plane, second.endpoint("demo"), headers={**key, **ASYNC}, data=b"a"))[0] == 202
    assert len(replica.begun()) == 1


async def test_a_record_whose_message_never_reached_the_queue_is_queued_by_the_same_key(plane: Plane) -> None:
    document = plane.document()
    gateway = await plane.gateway()
    token_id = tokens.token_id(plane.token)
    sent = hashlib.sha256(f"POST /v1/run {hashlib.sha256(b'hello').hexdigest()}".encode()).hexdigest()
    request_id = ids.idempotent_id(document.name, f"token:{token_id}", "lost")
    # As a gateway leaves it that dies between the two writes.
    assert await Records(plane.broker).create(
        RequestRecord(
            id=request_id,
            endpoint=document.name,
            state=RequestState.QUEUED,
            created_at=time.time(),
            token_id=token_id,
            body_sha256=sent,
        )
    )
    again = await submit(plane, gateway, path="/v1/run", headers={"idempotency-key": "lost"}, data=b"hello")
    assert again["id"] == request_id
    assert await plane.depth() == (1, 0)
    replica = await plane.replica()
    _, _, body = await ask(plane, f"{gateway.url}/requests/{request_id}?wait=20", method="GET")
    assert body["status"] == "SUCCEEDED"
    assert len(replica.begun()) == 1
    await submit(plane, gateway, path="/v1/run", headers={"idempotency-key": "lost"}, data=b"hello")
    await plane.until_depth(0, 0)
    assert len(replica.begun()) == 1


async def test_the_same_key_is_409_while_the_request_is_under_way(plane: Plane) -> None:
    plane.document()
    gateway = await plane.gateway()
    key = {"idempotency-key": "k1"}
    held = asyncio.create_task(ask(plane, gateway.endpoint("demo"), headers=key))
    await plane.until_depth(1, 0)
    status, headers, problem = await ask(plane, gateway.endpoint("demo"), headers=key)
    assert (status, headers["x-should-retry"]) == (409, "true")
    assert "is QUEUED" in problem["detail"]
    await plane.replica()
    assert (await held)[0] == 200


async def test_a_caller_with_a_key_may_leave_and_fetch_the_result_later(plane: Plane) -> None:
    plane.document()
    gateway = await plane.gateway()
    replica = await plane.replica(STANDIN_DELAY_MS="1500")
    key = {"idempotency-key": "k2"}
    held = asyncio.create_task(ask(plane, gateway.endpoint("demo"), headers=key))
    await replica.until_begun(1)
    held.cancel()
    ends = time.monotonic() + 15
    while (again := await ask(plane, gateway.endpoint("demo"), headers=key))[0] == 409:
        assert time.monotonic() < ends
        await asyncio.sleep(0.1)
    assert (again[0], len(replica.begun())) == (200, 1)


async def test_a_killed_gateways_requests_end_and_a_key_finds_the_result(plane: Plane) -> None:
    plane.document(max_replicas=3)
    dying, living = await plane.gateway(), await plane.gateway()
    key = {"idempotency-key": "k3"}
    plain = asyncio.create_task(ask(plane, dying.endpoint("demo", "/plain")))
    keyed = asyncio.create_task(ask(plane, dying.endpoint("demo", "/keyed"), headers=key))
    submitted = await submit(plane, dying, path="/async")
    await plane.until_depth(3, 0)
    dying.kill()
    for task in (plain, keyed):
        (error,) = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(error, aiohttp.ClientError)
    replica = await plane.replica()
    body = (await ask(plane, f"{living.url}/requests/{submitted['id']}?wait=20", method="GET"))[2]
    assert body["status"] == "SUCCEEDED"
    await plane.until_depth(0, 0)
    begun = [entry["path"] for entry in replica.begun()]
    assert sorted(begun) == ["/async", "/keyed", "/plain"]
    status, _, result = await ask(plane, living.endpoint("demo", "/keyed"), headers=key)
    assert (status, result["path"]) == (200, "/keyed")
    assert len(replica.begun()) == 3, "the key ran the request again"


async def test_webhooks_are_signed_retried_and_never_sent_to_private_addresses(plane: Plane) -> None:
    received: list[tuple[Mapping[str, str], bytes]] = []

    async def hook(request: web.Request) -> web.Response:
        received.append((request.headers, await request.read()))
        return web.Response(status=500 if len(received) == 1 else 204)

    app = web.Application()
    app.router.add_post("/hook", hook)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        plane.document()
        strict = await plane.gateway()
        await plane.replica()
        refused = await submit(plane, strict, headers={"webhook-url": url})
        refused_by_name = await submit(
            plane, strict, headers={"webhook-url": url.replace("127.0.0.1", "localhost")}
        )
        for one in (refused, refused_by_name):
            await ask(plane, f"{strict.url}/requests/{one['id']}?wait=20", method="GET")
        await plane.until_true(lambda: strict.log.read_text().count("webhook not delivered") >= 2, "refusals")
        assert strict.log.read_text().count("is not a public address") >= 2
        assert received == []
        strict.signal(signal.SIGTERM)
        await asyncio.to_thread(strict.popen.wait, 20)
        gateway = await plane.gateway(**{names.ENV_WEBHOOK_NETWORKS: "127.0.0.0/8"})
        submitted = await submit(plane, gateway, headers={"webhook-url": url})
        await plane.until_true(
            lambda: [h for h, _ in received if h["webhook-id"] == submitted["id"]][1:], "two deliveries", 25
        )
    finally:
        await runner.cleanup()
    deliveries = [(h, b) for h, b in received if h["webhook-id"] == submitted["id"]]
    headers, raw = deliveries[-1]
    key = hmac.new(hashlib.sha256(plane.token.encode()).digest(), b"holdfast-webhook-v1", hashlib.sha256)
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + raw
    expected = base64.b64encode(hmac.new(key.digest(), signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    told = json.loads(raw)
    assert (told["type"], told["data"]["id"], told["data"]["status"]) == (
        "request.ended",
        submitted["id"],
        "SUCCEEDED",
    )
