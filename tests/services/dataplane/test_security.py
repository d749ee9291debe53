"""What a hostile caller can send: heads that two servers read differently, bodies without end, paths, other people's
requests. A model in this process records every byte that came through."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raw_http import head, recording, sent, statuses

from holdfast_contract import tokens

if TYPE_CHECKING:
    from dataplane import Plane

ROOT = Path(__file__).resolve().parents[3]
MIB = 1024 * 1024
OTHER = tokens.new_token("other001")


async def test_paths_reach_the_model_byte_for_byte_and_nobody_else(plane: Plane) -> None:
    async with recording(plane) as (gateway, _, model):
        plane.document("elsewhere", tokens=(tokens.hash_token(OTHER),))
        await plane.until_status(gateway.endpoint("elsewhere"), 401)
        passed = (
            b"/..",
            b"/../elsewhere/x",
            b"/%2e%2e/%2e%2e/requests",
            b"/%2E%2E%2f%2fetc%2fpasswd",
            b"//elsewhere/",
            b"///",
            b"/\\..\\x",
            b"/%5c..%5c",
            b"/%00",
            b"/a;b=c/d",
            b"/%",
            b"/%zz",
            b"/%c0%ae%c0%ae/",
            b"/@elsewhere:80/",
            b"/http://elsewhere/",
            b"/x?y=/../e/elsewhere&z=%00",
        )
        for path in passed:
            answer = await sent(
                gateway, head(plane, b"connection: close", start=b"GET /e/demo" + path + b" HTTP/1.1")
            )
            assert statuses(answer) == [200], path
        assert model.lines == [b"GET " + path + b" HTTP/1.1" for path in passed]
        answers = {
            b"GET http://elsewhere/e/demo/absolute HTTP/1.1": 200,
            b"OPTIONS * HTTP/1.1": 404,
            b"GET e/demo/ HTTP/1.1": 400,
            b"GET /e/demo/\x00 HTTP/1.1": 400,
            b"GET /e/demo/\xff HTTP/1.1": 400,
            b"GET /e/demo/\x7f HTTP/1.1": 400,
            b"GET \\e\\demo\\ HTTP/1.1": 400,
            b"GET /e%2fdemo/ HTTP/1.1": 404,
            b"GET //e/demo/ HTTP/1.1": 404,
            b"GET /./e/demo/ HTTP/1.1": 404,
            b"GET /v1/../e/demo/ HTTP/1.1": 404,
            b"GET /e/elsewhere/../demo/ HTTP/1.1": 403,
            b"GET /e/demo%2f..%2felsewhere/ HTTP/1.1": 404,
            b"GET /e/demo%00/ HTTP/1.1": 404,
            b"GET /e/./demo/ HTTP/1.1": 404,
        }
        for start, status in answers.items():
            answer = await sent(gateway, head(plane, b"connection: close", start=start), within_s=3)
            assert statuses(answer) == [status], start
        beyond = model.lines[len(passed) :]
        assert beyond == [b"GET /absolute HTTP/1.1"], "only what names the endpoint reaches its model"


async def test_pages_and_requests_are_found_by_their_exact_paths_only(plane: Plane) -> None:
    plane.document()
    gateway = await plane.gateway(
        HOLDFAST_WEB_DIR=str(ROOT / "web"), HOLDFAST_TEMPLATES_DIR=str(ROOT / "templates")
    )
    async with plane.post(gateway.endpoint("demo"), headers={"prefer": "respond-async"}) as answer:
        request_id = json.loads(await answer.read())["id"]
    files = ("%2e%2e", "..", "..%2f..%2f..", "....//....//", "..\\..", "%00", "%252e%252e")
    for path in (
        *(f"/page/{trick}/etc/passwd" for trick in files),
        *(f"/v1/templates/{trick}/template.yaml" for trick in files),
        *(f"/v1/templates/embeddings/files/{trick}/template.yaml" for trick in files),
        "//",
        "/page//index.html",
        "/%2fhealthz",
        "//healthz",
        "/healthz/",
        "/v1//endpoints",
        "/v1/endpoints/x/demo",
        "/v1/endpoints/x/../demo",
        "/v1/endpoints/%64emo",
        f"/requests//{request_id}",
        f"/requests/{request_id}/",
        f"/requests/{request_id}/../{request_id}",
        f"/requests/{request_id.upper()}",
        f"/requests/{request_id}%00",
        f"/requests/{request_id}/result/",
        f"/requests/*{request_id[1:]}",
        "/requests/*",
        "/requests/>",
        f"/./requests/{request_id}",
        f"/requests/%2e%2e/requests/{request_id}",
    ):
        answer = await sent(gateway, head(plane, b"connection: close", start=f"GET {path} HTTP/1.1".encode()))
        assert statuses(answer) == [404], path
        assert b"root:" not in answer
    answer = await sent(gateway, head(plane, start=f"GET /requests/{request_id} HTTP/1.1".encode()))
    assert statuses(answer) == [200]


async def test_one_endpoints_token_opens_nothing_of_another(plane: Plane) -> None:
    plane.document()
    plane.document("elsewhere", tokens=(tokens.hash_token(OTHER),))
    gateway = await plane.gateway()
    async with plane.post(gateway.endpoint("demo"), headers={"prefer": "respond-async"}) as answer:
        request_id = json.loads(await answer.read())["id"]

    async def tried(method: str, path: str, token: str | None) -> tuple[int, bytes]:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        async with plane.http.request(method, gateway.url + path, headers=headers) as answer:
            return answer.status, await answer.read()

    for method, path, refused in (
        ("POST", "/e/demo/", 403),
        ("GET", "/v1/endpoints/demo", 403),
        ("GET", f"/requests/{request_id}", 404),
        ("GET", f"/requests/{request_id}/result", 404),
        ("DELETE", f"/requests/{request_id}", 404),
    ):
        assert (await tried(method, path, OTHER))[0] == refused, path
        assert (await tried(method, path, None))[0] == 401, path
        near = plane.token[:-1] + ("A" if plane.token[-1] != "A" else "B")
        assert (await tried(method, path, near))[0] in (401, 404), path
    listed = json.loads((await tried("GET", "/v1/endpoints", OTHER))[1])["endpoints"]
    assert [endpoint["name"] for endpoint in listed] == ["elsewhere"]
    # The same key with another token is another request, and one endpoint's key another's.
    assert json.loads((await tried("GET", f"/requests/{request_id}", plane.token))[1])["status"] == "QUEUED"


async def test_a_caller_cannot_speak_for_holdfast_or_for_a_proxy(plane: Plane) -> None:
    async with recording(plane) as (gateway, _, model):
        forged = (
            b"x-reply: http://127.0.0.1/",
            b"holdfast-ack: $JS.ACK.x",
            b"holdfast-request: {}",
            b"x-holdfast-anything: 1",
            b"x-request-id: mine",
            b"x-attempt: 9",
            b"x-replica: mine",
            b"x-forwarded-for: 10.0.0.1",
            b"x-forwarded-host: evil",
            b"x-forwarded-proto: https",
            b"forwarded: for=10.0.0.1",
            b"x-real-ip: 10.0.0.1",
            b"cookie: a=b",
            b"proxy-authorization: Basic x",
            b"connection: keep-alive, x-secret",
            b"x-secret: 1",
            b"keep-alive: timeout=9",
            b"te: trailers",
            b"x-kept: yes",
        )
        answer = await sent(gateway, head(plane, *forged, b"content-length: 0"))
        assert statuses(answer) == [200]
        assert b"x-attempt: 1\r\n" in answer.lower()
        assert b"mine" not in answer
        received = model.requests[0][0].decode().lower()
        kept = {line.partition(":")[0] for line in received.split("\r\n")[1:] if line}
        assert kept <= {"host", "x-request-id", "x-attempt", "x-kept", "content-length"}
        assert "mine" not in received
        assert "x-attempt: 1\r\n" in received


async def test_a_reply_is_taken_from_whoever_was_asked_and_once(plane: Plane) -> None:
    plane.document()
    gateway = await plane.gateway()

    async def held_one(number: int) -> tuple[asyncio.Task[int], Any]:
        async def ask() -> int:
            async with plane.post(gateway.endpoint("demo")) as answer:
                await answer.read()
                return answer.status

        task = asyncio.create_task(ask())
        await plane.until_depth(number, 0)
        sequence, message = 0, None
        while (found := await plane.broker.peek("demo", sequence)) is not None:
            sequence, message = found[0] + 1, found[1]
        return task, message

    (first, one), (second, two) = await held_one(1), await held_one(2)
    signature = one.reply_url.partition("?")[2]
    for method in ("GET", "PUT", "DELETE", "HEAD", "OPTIONS"):
        async with plane.http.request(method, one.reply_url) as answer:
            assert answer.status == 405, method
    for url, wanted in {
        two.reply_url.partition("?")[0] + "?" + signature: 403,
        one.reply_url.partition("?")[0] + "?" + signature.upper(): 403,
        one.reply_url + "0": 403,
        one.reply_url[:-1]: 403,
        one.reply_url.partition("?")[0] + "?sig=": 403,
    }.items():
        async with plane.http.post(url, data=b"") as answer:
            assert answer.status in (wanted, 404), url

    # An opened reply that never says anything is bounded: it is cut, and the caller is still held.
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield b"\0" * 65536

    with contextlib.suppress(Exception):
        async with plane.http.post(one.reply_url, data=endless()) as answer:
            assert answer.status == 400
    assert not first.done()
    assert not second.done()
    await plane.replica()
    assert (await first, await second) == (200, 200)
    async with plane.http.post(one.reply_url, data=b"") as answer:
        assert answer.status == 410, "a second answer to the same request"
