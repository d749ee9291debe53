"""Proofs: what dies, and when, and what the caller sees of it."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataplane import Gateway, Plane


async def ask(plane: Plane, gateway: Gateway, path: str = "/", **headers: str) -> tuple[int, Any, bytes]:
    sent = {"authorization": f"Bearer {plane.token}", **headers}
    async with plane.http.post(gateway.endpoint("demo", path), headers=sent) as answer:
        return answer.status, answer.headers, await answer.read()


async def state(plane: Plane, gateway: Gateway, request_id: str, wait_s: int = 20) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {plane.token}"}
    async with plane.http.get(
        f"{gateway.url}/requests/{request_id}?wait={wait_s}", headers=headers
    ) as answer:
        told: dict[str, Any] = json.loads(await answer.read())
        return told


async def test_a_worker_killed_in_mid_stream_is_a_visible_error_and_nothing_runs_again(
    plane: Plane, figures: Callable[[str], None]
) -> None:
    plane.document()
    gateway = await plane.gateway()
    replica = await plane.replica()
    headers = {
        "authorization": f"Bearer {plane.token}",
        "x-stream-chunks": "100",
        "x-chunk-interval-ms": "100",
        "x-size": "32",
    }
    async with plane.http.post(gateway.endpoint("demo"), headers=headers) as answer:
        assert answer.status == 200
        await answer.content.readexactly(64)
        replica.kill()
        killed_at = time.monotonic()
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()
        figures(f"broke off visibly {time.monotonic() - killed_at:.2f} s after the kill")
    other = await plane.replica()
    await plane.until_depth(0, 0)
    assert other.begun() == []


@pytest.mark.parametrize("usual_ms", [None, 30])
async def test_a_request_of_a_killed_worker_is_answered_by_another_within_two_seconds(
    plane: Plane, figures: Callable[[str], None], usual_ms: int | None
) -> None:
    """Killed as soon as the model has begun: also then the gateway has seen who worked on it, and needs not wait
    for the acknowledgement's 15 seconds. `usual_ms`: what the model took before; None: it has answered nobody."""
    plane.document()
    gateway = await plane.gateway()
    replica = await plane.replica()
    warm = 10 if usual_ms else 0
    for _ in range(warm):
        assert (await ask(plane, gateway, **{"x-delay-ms": str(usual_ms)}))[0] == 200
    asked = asyncio.create_task(ask(plane, gateway, **{"x-delay-ms": "200"}))
    await replica.until_begun(warm + 1)
    replica.worker.kill()
    killed_at = time.monotonic()
    replica.model.kill()
    other = await plane.replica()
    ready_at = time.monotonic()
    status, headers, _ = await asked
    assert (status, headers["x-attempt"], headers["x-replica"]) == (200, "2", other.name)
    assert time.monotonic() - ready_at < 2.0
    figures(
        f"usually {usual_ms} ms: answered {time.monotonic() - killed_at:.2f} s after the kill, "
        f"{time.monotonic() - ready_at:.2f} s after another replica was ready"
    )


async def test_a_worker_killed_between_result_and_acknowledgement_gives_one_result(
    plane: Plane, figures: Callable[[str], None]
) -> None:
    """The acknowledgement cannot get through because the broker is down; the worker dies waiting for it. What
    comes back to the next worker has ended already, and is only acknowledged."""
    plane.document()
    gateway = await plane.gateway()
    replica = await plane.replica(STANDIN_DELAY_MS="1500")
    status, headers, _ = await ask(plane, gateway, prefer="respond-async")
    assert status == 202
    request_id = headers["x-request-id"]
    await replica.until_begun(1)
    await state(plane, gateway, request_id)
    replica.kill()  # at once after its end was written: the acknowledgement may be out or not
    other = await plane.replica()
    ends = time.monotonic() + 25
    while await plane.depth() != (0, 0):
        assert time.monotonic() < ends
        await asyncio.sleep(0.2)
    told = await state(plane, gateway, request_id)
    assert (told["status"], told["replica"], told["attempt"]) == ("SUCCEEDED", replica.name, 1)
    assert other.begun() == []
    figures(f"{told['status']} once, by attempt {told['attempt']}; {len(other.begun())} further executions")


async def test_a_message_that_kills_every_worker_ends_after_three_attempts(
    plane: Plane, figures: Callable[[str], None]
) -> None:
    plane.document()
    gateway = await plane.gateway()
    asked = asyncio.create_task(ask(plane, gateway, "/poison", **{"x-delay-ms": "30000"}))
    killed = 0
    began = time.monotonic()
    for attempt in (1, 2, 3):
        replica = await plane.replica()
        await replica.until_begun(1)
        assert replica.begun()[0]["attempt"] == str(attempt)
        await asyncio.sleep(0.2)  # beyond the time until a slow answer's connection is opened
        replica.kill()
        killed += 1
    last = await plane.replica()
    status, headers, raw = await asked
    assert (status, headers["x-should-retry"]) == (502, "false")
    assert "3 replicas were lost while they worked on it" in json.loads(raw)["detail"]
    assert last.begun() == []
    await plane.until_depth(0, 0)
    figures(
        f"{killed} replicas lost, then FAILED after {time.monotonic() - began:.1f} s; the stream is empty"
    )


async def test_a_gateway_killed_with_all_kinds_of_requests_ends_every_id(
    plane: Plane, scale: float, figures: Callable[[str], None]
) -> None:
    count = max(10, int(30 * scale))
    plane.document(max_replicas=4, max_queue=10 * count)
    dying, living = await plane.gateway(), await plane.gateway()
    submitted = [(await ask(plane, dying, prefer="respond-async"))[1]["x-request-id"] for _ in range(count)]
    keyed = [asyncio.create_task(ask(plane, dying, **{"idempotency-key": f"key-{n}"})) for n in range(count)]
    plain = [asyncio.create_task(ask(plane, dying)) for _ in range(count)]
    await plane.until_depth(3 * count, 0)
    replicas = await asyncio.gather(*(plane.replica(STANDIN_DELAY_MS="50") for _ in range(3)))
    await plane.until_true(lambda: sum(len(r.begun()) for r in replicas) > count // 2, "under way")
    dying.kill()
    await asyncio.gather(*keyed, *plain, return_exceptions=True)
    states = Counter([(await state(plane, living, request_id))["status"] for request_id in submitted])
    await plane.until_depth(0, 0)
    executed = sum(len(r.begun()) for r in replicas)
    again = [await ask(plane, living, **{"idempotency-key": f"key-{n}"}) for n in range(count)]
    repeated = sum(len(r.begun()) for r in replicas) - executed
    figures(
        f"{3 * count} requests, {executed} executions; submitted ended {dict(states)}; "
        f"{count} keys sent again: {Counter(status for status, _, _ in again)}, {repeated} executed again"
    )
    assert states == {"SUCCEEDED": count}
    assert {status for status, _, _ in again} == {200}
    assert repeated == 0


async def test_a_broker_killed_and_restarted_loses_nothing_it_accepted(
    plane: Plane, scale: float, figures: Callable[[str], None]
) -> None:
    count = max(20, int(100 * scale))
    plane.document(max_replicas=4, max_queue=10 * count)
    gateway = await plane.gateway()
    accepted = [(await ask(plane, gateway, prefer="respond-async"))[1]["x-request-id"] for _ in range(count)]
    held = [asyncio.create_task(ask(plane, gateway)) for _ in range(count)]
    await plane.until_depth(2 * count, 0)
    replicas = await asyncio.gather(*(plane.replica(STANDIN_DELAY_MS="20") for _ in range(2)))
    await plane.until_true(lambda: sum(len(r.begun()) for r in replicas) > count // 4, "under way")
    plane.nats.kill()
    refused = Counter([(await ask(plane, gateway, prefer="respond-async"))[0] for _ in range(10)])
    refused += Counter([(await ask(plane, gateway))[0] for _ in range(10)])
    down = time.monotonic()
    plane.nats.start()
    answers = Counter([(await task)[0] for task in held])
    states = Counter([(await state(plane, gateway, request_id))["status"] for request_id in accepted])
    figures(
        f"{2 * count} accepted before the kill: held {dict(answers)}, submitted {dict(states)}, "
        f"meanwhile {dict(refused)}, all done {time.monotonic() - down:.1f} s after the restart"
    )
    assert refused == {503: 20}
    assert answers == {200: count}
    assert states == {"SUCCEEDED": count}
    await plane.until_depth(0, 0)


async def test_a_broker_that_only_pauses_costs_time_and_refuses_nobody(plane: Plane) -> None:
    """It is there, and has the request or has not: whoever gave up would refuse what is executed."""
    plane.document()
    gateway = await plane.gateway()
    replica = await plane.replica()
    assert (await ask(plane, gateway))[0] == 200
    plane.nats.signal(signal.SIGSTOP)
    asked = [asyncio.create_task(ask(plane, gateway)) for _ in range(20)]
    await asyncio.wait(asked, timeout=12)
    assert not any(task.done() for task in asked)
    plane.nats.signal(signal.SIGCONT)
    answers = await asyncio.gather(*asked)
    assert Counter(status for status, _, _ in answers) == {200: 20}
    assert len(replica.begun()) == 21


async def test_a_worker_that_dies_without_closing_its_connections_is_noticed_by_the_acknowledgements_time(
    plane: Plane, figures: Callable[[str], None]
) -> None:
    """A stopped process is as silent as a lost node."""

    plane.document()
    gateway = await plane.gateway()
    silent = await plane.replica(STANDIN_DELAY_MS="30000")
    asked = asyncio.create_task(ask(plane, gateway))
    await silent.until_begun(1)
    other = await plane.replica()
    stopped = time.monotonic()
    silent.worker.signal(signal.SIGSTOP)
    status, headers, _ = await asked
    waited = time.monotonic() - stopped
    figures(f"answered by another replica {waited:.1f} s after the first fell silent")
    assert (status, headers["x-replica"], headers["x-attempt"]) == (200, other.name, "2")
    assert waited < 25
