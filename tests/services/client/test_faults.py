"""The client against a gateway that is killed, restarted, slow, full and rate limited: nothing lost, nothing twice."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

import holdfast_client
from holdfast_contract.document import RateLimit

Connect = Callable[..., Any]
DEADLINE_S = 60


def _executed(*replicas: Any) -> Counter[str]:
    """How often each request was worked on; each has a path of its own."""
    return Counter(one["path"] for replica in replicas for one in replica.begun())


async def _infer(client: Any, number: int, **how: Any) -> str:
    answer = await client.infer("demo", number, route=f"/run/{number}", **how)
    return str(answer.json()["path"])


async def test_a_gateway_killed_and_restarted_under_load_loses_and_doubles_nothing(
    plane: Any, connect: Connect
) -> None:
    plane.document(max_replicas=2)
    gateway = await plane.gateway()
    replicas = [await plane.replica(STANDIN_DELAY_MS="40") for _ in range(2)]
    client = connect(gateway.url, max_retries=100, timeout=DEADLINE_S)
    asked = asyncio.gather(*(_infer(client, number) for number in range(80)))
    for _ in range(3):
        await asyncio.sleep(0)
        begun = sum(_executed(*replicas).values())
        ends = time.monotonic() + DEADLINE_S
        while sum(_executed(*replicas).values()) < min(begun + 10, 70):
            assert time.monotonic() < ends, "nothing is worked on any more"
            await asyncio.sleep(0.02)
        gateway.kill()
        gateway.start()
    answers = await asyncio.wait_for(asked, DEADLINE_S)
    assert sorted(answers) == sorted(f"/run/{number}" for number in range(80))
    assert _executed(*replicas) == Counter({f"/run/{number}": 1 for number in range(80)})


async def test_a_submitted_request_survives_the_gateway_that_took_it(plane: Any, connect: Connect) -> None:
    plane.document()
    gateway = await plane.gateway()
    client = connect(gateway.url, max_retries=100, timeout=DEADLINE_S)
    jobs = [await client.submit("demo", number, route=f"/run/{number}") for number in range(5)]
    gateway.kill()
    replica = await plane.replica()
    gateway.start()
    answers = [await job.result(timeout=DEADLINE_S) for job in jobs]
    assert [answer.json()["path"] for answer in answers] == [f"/run/{number}" for number in range(5)]
    assert set(_executed(replica).values()) == {1}


async def test_a_full_queue_is_waited_for_and_everything_runs_once(plane: Any, connect: Connect) -> None:
    plane.document(max_replicas=1, max_queue=2)
    gateway = await plane.gateway()
    replica = await plane.replica(STANDIN_DELAY_MS="150")
    told: list[holdfast_client.Progress] = []
    client = connect(gateway.url, max_retries=100, timeout=DEADLINE_S, on_progress=told.append)
    answers = await asyncio.gather(*(_infer(client, number) for number in range(12)))
    assert len(set(answers)) == 12
    assert set(_executed(replica).values()) == {1}
    assert any("queue-full" in one.detail for one in told), "the queue was never full"


async def test_a_full_queue_without_retries_says_what_to_do(plane: Any, connect: Connect) -> None:
    plane.document(max_replicas=1, max_queue=0)
    gateway = await plane.gateway()
    replica = await plane.replica(STANDIN_DELAY_MS="1500")
    client = connect(gateway.url, max_retries=0)
    first = asyncio.ensure_future(_infer(client, 1))
    await plane.until_depth(0, 1)
    with pytest.raises(holdfast_client.RateLimitError, match="Send it again after `Retry-After`") as full:
        await _infer(client, 2)
    assert full.value.problem.slug == "queue-full"
    assert await first == "/run/1"
    assert _executed(replica) == Counter({"/run/1": 1})


async def test_a_rate_limit_that_soon_passes_is_waited_for(plane: Any, connect: Connect) -> None:
    plane.document(rate_limit=RateLimit(requests=3, window_s=3))
    gateway = await plane.gateway()
    replica = await plane.replica()
    client = connect(gateway.url, max_retries=100, timeout=DEADLINE_S)
    answers = await asyncio.gather(*(_infer(client, number) for number in range(6)))
    assert len(set(answers)) == 6
    assert set(_executed(replica).values()) == {1}


async def test_a_quickstarts_limit_is_told_at_once_with_what_to_do(plane: Any, connect: Connect) -> None:
    plane.document(rate_limit=RateLimit(requests=15, window_s=3600))
    gateway = await plane.gateway()
    replica = await plane.replica()
    client = connect(gateway.url)
    for number in range(15):
        await _infer(client, number)
    began = time.monotonic()
    with pytest.raises(
        holdfast_client.RateLimitError, match="a clone of the template has no shared limit"
    ) as limited:
        await _infer(client, 15)
    assert time.monotonic() - began < 5, "nobody waits four minutes unasked"
    assert limited.value.retry_after_s == pytest.approx(240, abs=5)
    assert len(_executed(replica)) == 15


async def test_a_model_that_is_too_slow_is_told_with_the_time_and_stops_working(
    plane: Any, connect: Connect
) -> None:
    plane.document()
    gateway = await plane.gateway()
    replica = await plane.replica(STANDIN_DELAY_MS="20000")
    with pytest.raises(
        (holdfast_client.APITimeoutError, holdfast_client.DeadlineError), match=r"submit|time"
    ):
        await _infer(connect(gateway.url), 1, timeout=1.5)
    ends = time.monotonic() + 15
    while not await plane.empty():
        assert time.monotonic() < ends, "the replica works on for nobody"
        await asyncio.sleep(0.05)
    assert _executed(replica) == Counter({"/run/1": 1})
