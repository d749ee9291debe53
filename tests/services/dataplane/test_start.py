"""A gateway that starts before its broker."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataplane import Gateway, Plane


async def early_gateway(plane: Plane) -> tuple[Gateway, asyncio.Task[Gateway]]:
    """A gateway that lives and has no broker; the task ends when it is ready."""
    plane.nats.kill()
    getting_ready = asyncio.create_task(plane.gateway())
    gateways: list[Any] = []

    def started() -> bool:
        gateways[:] = [process for process in plane.processes if hasattr(process, "internal_url")]
        return bool(gateways)

    await plane.until_true(started, "a gateway was started")
    await plane.until_status(f"{gateways[0].url}/healthz", 200)
    return gateways[0], getting_ready


async def test_a_gateway_without_its_broker_says_why_it_is_not_ready_and_serves_as_soon_as_there_is_one(
    plane: Plane,
) -> None:
    plane.document()
    gateway, getting_ready = await early_gateway(plane)
    for url in (gateway.url, gateway.internal_url):
        async with plane.http.get(f"{url}/readyz") as answer:
            assert answer.status == 503
            assert "the broker was not reached yet" in (await answer.json())["status"]
    for _ in range(2):  # twice: the connection is kept although nobody read the body
        async with plane.post(gateway.endpoint("demo"), data=b"x" * 1000) as answer:
            told = json.loads(await answer.read())
            assert (answer.status, answer.headers["x-should-retry"]) == (503, "true")
            assert answer.headers["retry-after"] == "2"
            assert told["type"].endswith("queue-down")
            assert "has not reached the broker yet" in told["detail"]
    plane.nats.start()
    await getting_ready
    await plane.replica()
    async with plane.post(gateway.endpoint("demo")) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_gateway_that_waits_for_its_broker_stops_when_it_is_told_to(
    plane: Plane, number: int, figures: Callable[[str], None]
) -> None:
    gateway, getting_ready = await early_gateway(plane)
    getting_ready.cancel()
    began = asyncio.get_running_loop().time()
    gateway.signal(number)
    await plane.until_true(lambda: not gateway.alive, "it stopped", deadline_s=5)
    assert gateway.code == 0
    figures(f"stopped after {asyncio.get_running_loop().time() - began:.2f} s")
