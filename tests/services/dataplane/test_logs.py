"""One id leads through the logs of every process, and no log holds a secret."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from holdfast_contract import names, tokens

if TYPE_CHECKING:
    from dataplane import Plane, Process

PASSWORD = "broker-password-5b1f"
SECRETS = {
    "query": "query-secret-91c2",
    "header": "header-secret-77aa",
    "body": "body-secret-0d4e",
    "webhook": "webhook-secret-c0de",
    "cookie": "cookie-secret-1a2b",
    "key": "key-secret-3c4d",
}


def events(process: Process) -> list[dict[str, Any]]:
    """Every line of a process's output: each is one JSON object, and says when, what and who."""
    lines = [json.loads(line) for line in process.log.read_text().splitlines()]
    for line in lines:
        assert {"time", "level", "service", "event"} <= set(line), line
    return lines


def of_request(process: Process, request_id: str) -> list[str]:
    return [line["event"] for line in events(process) if line.get("request_id") == request_id]


def logs(folder: Path) -> dict[str, str]:
    """What every process of a test has written, the broker's and the models' too."""
    return {path.name: path.read_text() for path in folder.glob("*.log")}


async def _garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An answer that is no HTTP."""
    await reader.readline()
    writer.write(b"!!!\r\n\r\n")
    await writer.drain()
    writer.close()


async def test_one_id_leads_through_every_log_and_none_holds_a_secret(plane: Plane, tmp_path: Path) -> None:
    login = {names.ENV_NATS_USER: "someone", names.ENV_NATS_PASSWORD: PASSWORD}
    told: list[str] = []

    async def hook(request: web.Request) -> web.Response:
        told.append(request.headers["webhook-id"])
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", hook)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    garbage = await asyncio.start_server(_garbage, "127.0.0.1", 0)
    good_port, bad_port = runner.addresses[0][1], garbage.sockets[0].getsockname()[1]
    plane.document()
    gateway = await plane.gateway(
        **login, **{names.ENV_WEBHOOK_NETWORKS: "127.0.0.0/8", names.ENV_LOG_LEVEL: "debug"}
    )
    replica = await plane.replica(worker_env={**login, names.ENV_LOG_LEVEL: "debug"})
    sent = {"x-api-key": SECRETS["header"], "cookie": f"a={SECRETS['cookie']}"}
    url = gateway.endpoint("demo", f"/v1/run?key={SECRETS['query']}")
    try:
        async with plane.post(url, headers=sent, data=SECRETS["body"]) as answer:
            assert answer.status == 200
            held_id = answer.headers["x-request-id"]
        submitted = []
        for port in (good_port, bad_port):
            webhook = f"http://127.0.0.1:{port}/hook?key={SECRETS['webhook']}"
            more = {
                "prefer": "respond-async",
                "webhook-url": webhook,
                "idempotency-key": f"{SECRETS['key']}-{port}",
            }
            async with plane.post(url, headers={**sent, **more}, data=SECRETS["body"]) as answer:
                assert answer.status == 202
                submitted.append((await answer.json())["id"])
        stranger = tokens.new_token("stranger")
        async with plane.post(url, token=stranger, headers=sent, data=SECRETS["body"]) as answer:
            assert answer.status == 401
        await plane.until_true(
            lambda: "webhook not delivered" in of_request(gateway, submitted[1]), "a failed delivery"
        )
        await plane.until_true(
            lambda: "webhook delivered" in of_request(gateway, submitted[0]), "a delivery is logged"
        )
        await plane.until_true(lambda: len(of_request(replica.worker, submitted[0])) > 0, "an attempt")
    finally:
        garbage.close()
        await runner.cleanup()

    assert of_request(gateway, held_id) == ["request"]
    assert of_request(replica.worker, held_id) == ["attempt"]
    assert of_request(gateway, submitted[0])[:1] == ["request"]
    assert "attempt" in of_request(replica.worker, submitted[0])
    assert [entry["request_id"] for entry in replica.begun()] == [held_id, *submitted], "what the model got"
    assert submitted[0] in told, "what the receiver of the webhook got"

    texts = logs(tmp_path)
    assert len(texts) >= 4
    for secret in (plane.token, stranger, PASSWORD, *SECRETS.values()):
        assert [name for name, text in texts.items() if secret in text] == []
