"""Synchronous requests while gateways and workers are told to go, or killed."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING

import aiohttp
from dataplane import ask

from holdfast_contract import names

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataplane import Plane


async def test_a_gateway_that_is_terminated_serves_who_it_holds_and_takes_nobody_new(plane: Plane) -> None:
    plane.document()
    gateway = await plane.gateway()
    await plane.replica(STANDIN_DELAY_MS="3000")
    asked = [asyncio.create_task(ask(plane, gateway.endpoint("demo"))) for _ in range(2)]
    await plane.until_depth(1, 1)
    gateway.signal(signal.SIGTERM)
    ends = time.monotonic() + 30  # a request that came just before the signal is held, too, and served last
    while True:
        try:
            await ask(plane, gateway.endpoint("demo"))
        except aiohttp.ClientConnectionError:
            break
        assert time.monotonic() < ends
    assert [(await task)[0] for task in asked] == [200, 200]
    while gateway.alive:
        assert time.monotonic() < ends
        await asyncio.sleep(0.05)
    assert gateway.code == 0


async def test_a_worker_that_is_terminated_finishes_and_pulls_nothing_more(
    plane: Plane, figures: Callable[[str], None]
) -> None:
    plane.document()
    gateway = await plane.gateway()
    replica = await plane.replica(STANDIN_DELAY_MS="4000")
    first = asyncio.create_task(ask(plane, gateway.endpoint("demo")))
    await plane.until_depth(0, 1)
    await replica.until_begun(1)
    assert (replica.state_dir / "busy").exists()
    second = asyncio.create_task(ask(plane, gateway.endpoint("demo")))
    await plane.until_depth(1, 1)
    async with plane.http.get(f"{replica.worker_url}/drain") as drained:
        assert drained.status == 200
    assert not (replica.state_dir / "busy").exists()
    assert (await first)[0] == 200
    # It stays until it is told to go: a worker that ended here would be started again, and pull.
    assert await plane.status(f"{replica.worker_url}/readyz", 503)
    assert replica.worker.alive
    replica.worker.signal(signal.SIGTERM)
    await asyncio.to_thread(replica.worker.popen.wait, 10)
    assert replica.worker.code == 0
    assert len(replica.begun()) == 1
    other = await plane.replica()
    status, headers, _ = await second
    assert (status, headers["x-replica"], headers["x-attempt"]) == (200, other.name, "1")
    figures(f"finished {len(replica.begun())} and left the other to the next replica, attempt 1")


async def test_a_worker_whose_model_is_restarted_beside_it_finishes_waits_and_goes_on_with_the_next_model(
    plane: Plane, figures: Callable[[str], None]
) -> None:
    plane.document()
    gateway = await plane.gateway()
    replica = await plane.replica(STANDIN_DELAY_MS="1500")
    first = asyncio.create_task(ask(plane, gateway.endpoint("demo")))
    await replica.until_begun(1)
    async with plane.http.get(f"{replica.worker_url}/drain?until=model-restart") as drained:
        assert drained.status == 200
    assert (await first)[0] == 200

    second = asyncio.create_task(ask(plane, gateway.endpoint("demo")))
    await plane.until_depth(1, 0)
    await asyncio.sleep(1.0)
    assert await plane.status(f"{replica.model_url}/healthcheck", 200), "it is well, and about to be stopped"
    assert await plane.status(f"{replica.worker_url}/readyz", 503)
    assert len(replica.begun()) == 1

    replica.model.kill()
    restarted = time.monotonic()
    replica.model.start()
    status, headers, _ = await second
    figures(f"answered {time.monotonic() - restarted:.1f} s after the restart, 1.5 s of it in the model")
    assert (status, headers["x-replica"]) == (200, replica.name)


async def test_a_model_without_an_answer_in_time_gets_no_further_request_before_its_health_check_passes(
    plane: Plane,
) -> None:
    plane.document()
    gateway = await plane.gateway()
    replica = await plane.replica()
    slow = {"x-delay-ms": "20000", "x-deadline": "1"}
    hung = asyncio.create_task(ask(plane, gateway.endpoint("demo"), headers=slow))
    await replica.until_begun(1)
    assert (await ask(plane, f"{replica.model_url}/__health?state=fail"))[0] == 200
    assert (await hung)[0] == 504

    following = asyncio.create_task(ask(plane, gateway.endpoint("demo")))
    await plane.until_depth(1, 0)
    await asyncio.sleep(1.0)
    assert len(replica.begun()) == 1

    assert (await ask(plane, f"{replica.model_url}/__health?state=ok"))[0] == 200
    status, headers, _ = await following
    assert (status, headers["x-attempt"]) == (200, "1")


async def test_a_worker_without_time_gives_its_request_to_another(
    plane: Plane, figures: Callable[[str], None]
) -> None:
    plane.document()
    gateway = await plane.gateway()
    replica = await plane.replica(STANDIN_DELAY_MS="20000", worker_env={names.ENV_DRAIN_S: "0.5"})
    asked = asyncio.create_task(ask(plane, gateway.endpoint("demo")))
    await plane.until_depth(0, 1)
    told_at = time.monotonic()
    replica.worker.signal(signal.SIGTERM)
    await asyncio.to_thread(replica.worker.popen.wait, 10)
    gone_s = time.monotonic() - told_at
    other = await plane.replica()
    status, headers, _ = await asked
    figures(
        f"gone {gone_s:.1f} s after SIGTERM with 0.5 s of grace; answered by attempt {headers['x-attempt']}"
    )
    assert (status, headers["x-replica"], headers["x-attempt"]) == (200, other.name, "2")


async def test_a_worker_killed_before_its_answer_costs_the_caller_only_time(
    plane: Plane, figures: Callable[[str], None]
) -> None:
    """The gateway sees the dead worker's connection and gives the request back without waiting for the
    acknowledgement's 15 s."""
    plane.document()
    gateway = await plane.gateway()
    replica = await plane.replica(STANDIN_DELAY_MS="20000")
    asked = asyncio.create_task(ask(plane, gateway.endpoint("demo")))
    await replica.until_begun(1)
    await asyncio.sleep(0.2)  # beyond the time until a slow answer's connection is opened
    other = await plane.replica()
    killed = time.monotonic()
    replica.kill()
    status, headers, _ = await asked
    assert (status, headers["x-replica"], headers["x-attempt"]) == (200, other.name, "2")
    figures(f"answered by another replica {time.monotonic() - killed:.2f} s after the kill: one 200")
    assert time.monotonic() - killed < 3
