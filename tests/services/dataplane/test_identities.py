"""Who may do what at a real broker, set up by the text that the shared stack gives it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import nats
import nats.errors

from holdfast_contract import names
from holdfast_services.credentials import Login
from holdfast_services.scaler.queues import JetStreamQueues
from pulumi_holdfast.plan import identities

if TYPE_CHECKING:
    from dataplane_cluster import ClusterPlane
    from nats.aio.client import Client

SECRET = "a secret for the brokers of tests"
OTHERS = ("chat-2", "cha", "c", "w", "worker", "gateway", "end", "x" * 40)


@asynccontextmanager
async def connected(
    plane: ClusterPlane, part: str, name: str, refusals: list[str], secret: str = SECRET
) -> AsyncIterator[Client]:
    """A bare client with the rights of a part; what the broker refuses it is written down."""

    async def refused(error: Exception) -> None:
        refusals.append(str(error))

    endpoint = name if part == identities.WORKER else None
    client = await nats.connect(
        plane.nats_url.split(","),
        error_cb=refused,
        allow_reconnect=False,
        inbox_prefix=names.inbox_prefix(part, endpoint).encode(),
        **Login(plane.credentials(part, name, secret)).options(),
    )
    try:
        yield client
    finally:
        await client.close()


async def is_refused(client: Client, refusals: list[str], act: Callable[[], Awaitable[Any]]) -> bool:
    """Whether the broker refuses what `act` asks for."""
    refusals.clear()
    await act()
    await client.flush()  # its answer comes after the refusal, which the client may hand over a little later
    for _ in range(50):
        if any("permissions violation" in text for text in refusals):
            return True
        await asyncio.sleep(0.002)
    return False


async def enters(plane: ClusterPlane, secret: str) -> bool:
    """Whether a worker with credentials from this secret is let in."""
    try:
        async with asyncio.timeout(20), connected(plane, identities.WORKER, "demo", [], secret):
            return True
    except nats.errors.Error:  # "Authorization Violation"
        return False


def of_another(other: str) -> list[str]:
    """What would read, take, settle or change what belongs to another endpoint, or to all."""
    queue, record = names.stream_name(other), f"$KV.requests.{other}.01a2"
    return [
        names.queue_subject(other, "01a2"),
        f"$JS.API.CONSUMER.MSG.NEXT.{queue}.w",
        f"$JS.ACK.{queue}.w.1.1.1.1.0",
        f"$JS.API.CONSUMER.CREATE.{queue}",
        f"$JS.API.CONSUMER.DURABLE.CREATE.{queue}.mine",
        f"$JS.API.STREAM.MSG.GET.{queue}",
        f"$JS.API.DIRECT.GET.{queue}",
        f"$JS.API.STREAM.PURGE.{queue}",
        f"$JS.API.STREAM.DELETE.{queue}",
        f"$JS.API.STREAM.INFO.{queue}",
        f"$JS.API.STREAM.SNAPSHOT.{queue}",
        record,
        f"{record}.end",
        "$JS.API.STREAM.MSG.GET.KV_requests",
        "$JS.API.DIRECT.GET.KV_requests",
        f"$JS.API.DIRECT.GET.KV_requests.{record}.end",
        "$JS.API.STREAM.MSG.GET.OBJ_bodies",
        "$JS.API.DIRECT.GET.OBJ_bodies",
        "$JS.API.CONSUMER.CREATE.OBJ_bodies",
        f"$O.bodies.C.{other}.0.0",
        f"$JS.API.DIRECT.GET.OBJ_bodies.$O.bodies.C.{other}.0.0",
        names.cancel_subject(other, "01a2"),
        names.done_subject(other, "01a2"),
        names.webhook_subject(other, "01a2"),
        names.wake_subject(other),
        names.SUBJECT_GATEWAYS,
    ]


async def test_workers_serve_large_bodies_and_answers_with_their_own_rights(
    three_brokers: ClusterPlane,
) -> None:
    plane = three_brokers
    plane.document()
    gateway = await plane.gateway()
    replica = await plane.replica()
    body = b"0123456789abcdef" * 65536
    headers = {"authorization": f"Bearer {plane.token}", "x-size": "1500000"}
    async with plane.http.post(gateway.endpoint("demo"), data=body, headers=headers) as answer:
        assert answer.status == 200
        assert len(await answer.read()) == 1_500_000
    async with plane.http.post(
        gateway.endpoint("demo"), data=body, headers={**headers, "prefer": "respond-async"}
    ) as answer:
        request_id = answer.headers["x-request-id"]
    async with plane.http.get(f"{gateway.url}/requests/{request_id}?wait=20", headers=headers) as answer:
        assert json.loads(await answer.read())["status"] == "SUCCEEDED"
    async with plane.http.get(f"{gateway.url}/requests/{request_id}/result", headers=headers) as answer:
        assert len(await answer.read()) == 1_500_000
    assert "permissions violation" not in replica.worker.log.read_text()
    # What was worked off is removed; the two empty pieces that stand for it go with the bucket's retention.
    info = await plane.broker.jetstream.stream_info("OBJ_bodies", subjects_filter=">")
    assert info.state.bytes < 1_700_000


async def test_a_worker_of_one_endpoint_is_refused_everything_of_another(three_brokers: ClusterPlane) -> None:
    plane = three_brokers
    for name in ("chat", *OTHERS):
        plane.document(name)
    await plane.gateway()
    refusals: list[str] = []
    async with connected(plane, identities.WORKER, "chat", refusals) as client:
        for other in OTHERS:
            for subject in of_another(other):
                assert await is_refused(client, refusals, lambda s=subject: client.publish(s, b"{}")), subject
        for subject in ("$JS.API.DIRECT.GET.KV_requests.$KV.requests.*.01a2.end", "$JS.API.INFO"):
            assert await is_refused(client, refusals, lambda s=subject: client.publish(s, b"")), subject
        for subject in (">", "q.>", "_INBOX.>", "_INBOX_gateway.>", "_INBOX_worker.>", "cancel.>", "wake.*"):
            assert await is_refused(client, refusals, lambda s=subject: client.subscribe(s)), subject
        pull = f"$JS.API.CONSUMER.MSG.NEXT.{names.stream_name('chat')}.w"
        ask = json.dumps({"batch": 1, "no_wait": True}).encode()
        answer = await client.request(pull, ask, timeout=5)
        assert (answer.headers or {}).get("Status") in ("404", "408")


async def test_the_scaler_reads_how_much_waits_and_nothing_else(three_brokers: ClusterPlane) -> None:
    plane = three_brokers
    plane.document()
    gateway = await plane.gateway()
    headers = {"authorization": f"Bearer {plane.token}", "prefer": "respond-async"}
    async with plane.http.post(gateway.endpoint("demo"), headers=headers) as answer:
        assert answer.status == 202
    scaler = await plane.connected(identities.SCALER, identities.SCALER)
    try:
        queues = JetStreamQueues(scaler)
        assert (await queues.sweep())["demo"].requests == 1
        assert (await queues.read("demo", recent_since=0)).demand == 1
    finally:
        await scaler.close()
    refusals: list[str] = []
    async with connected(plane, identities.SCALER, identities.SCALER, refusals) as client:
        for subject in of_another("demo"):
            allowed = subject == "$JS.API.STREAM.INFO.q_demo"
            refused = await is_refused(client, refusals, lambda s=subject: client.publish(s, b"{}"))
            assert refused is not allowed, subject


async def test_a_key_of_one_part_makes_no_user_of_another(three_brokers: ClusterPlane) -> None:
    """A worker called `gateway` is a worker."""
    refusals: list[str] = []
    async with connected(three_brokers, identities.WORKER, "gateway", refusals) as client:
        assert await is_refused(client, refusals, lambda: client.publish("$JS.API.INFO", b""))


async def test_credentials_of_another_secret_open_nothing(three_brokers: ClusterPlane) -> None:
    assert not await enters(three_brokers, "some other secret of theirs")


async def test_a_rotation_keeps_what_waits_and_both_credentials_until_the_old_secret_is_dropped(
    three_brokers: ClusterPlane,
) -> None:
    plane = three_brokers
    new = "a new secret for the brokers of tests"
    plane.document()
    gateway = await plane.gateway()
    headers = {"authorization": f"Bearer {plane.token}", "prefer": "respond-async"}
    async with plane.http.post(gateway.endpoint("demo"), headers=headers) as answer:
        request_id = answer.headers["x-request-id"]

    async def restart(secret: str, previous: str | None) -> None:
        for index, server in enumerate(plane.servers):  # one after the other, as a rollout does
            server.kill()
            server.env.update(
                OPERATOR=f'"{identities.operator(secret)}"', ACCOUNTS=identities.accounts(secret, previous)
            )
            server.start()
            await plane.until_well(index)

    await restart(new, SECRET)
    assert [await enters(plane, secret) for secret in (SECRET, new)] == [True, True]
    await plane.replica()  # still with the old credentials
    headers.pop("prefer")
    async with plane.http.get(f"{gateway.url}/requests/{request_id}?wait=20", headers=headers) as answer:
        state = json.loads(await answer.read())
    assert state["status"] == "SUCCEEDED", state
    await restart(new, None)
    assert [await enters(plane, secret) for secret in (SECRET, new)] == [False, True]
