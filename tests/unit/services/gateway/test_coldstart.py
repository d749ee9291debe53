"""The phases of a cold start, also those that become known after the answer."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from holdfast_services.gateway.coldstart import ColdStarts
from holdfast_services.gateway.replicas import StartPhases


class Counted:
    """Keeps what was counted."""

    def __init__(self) -> None:
        self.starts: list[dict[str, float | None]] = []

    def cold_start(self, endpoint: str, phases: dict[str, float | None]) -> None:
        assert endpoint == "demo"
        self.starts.append(phases)


def made(*views: StartPhases) -> tuple[ColdStarts, Counted, dict[str, Any]]:
    """`views`: what is known of the newest replica, each time that it is asked; the last from then on."""
    left = list(views)
    replicas = SimpleNamespace(start_phases=lambda _: left.pop(0) if len(left) > 1 else left[0])
    parts: Any = SimpleNamespace(replicas=replicas, clock=lambda: 102.0)
    pages: Any = SimpleNamespace(cold_starts={})
    counted: Any = Counted()
    return ColdStarts(parts, pages, counted, settled_s=0), counted, pages.cold_starts


async def settled() -> None:
    """Returns after everything that was to be called by now: timers are called in order."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    loop.call_later(0, done.set_result, None)
    await done


def held(*, cold: bool = True) -> Any:
    return SimpleNamespace(endpoint="demo", accepted_at=100.0, cold=cold)


async def test_what_the_kubelet_says_after_the_answer_is_counted_too() -> None:
    starts, counted, shown = made(
        StartPhases(scaled=100.1, scheduled=100.2),
        StartPhases(scaled=100.1, scheduled=100.2, pulled=101.0, ready=102.5),
    )
    starts.answered(held())
    assert (shown["demo"]["pulled"], shown["demo"]["answered"]) == (None, 2.0)
    await settled()
    phases = {"scaled": 0.1, "scheduled": 0.2, "pulled": 1.0, "ready": 2.5, "answered": 2.0}
    assert counted.starts == [{"accepted": 0.0, **phases}]
    assert shown["demo"] == counted.starts[0]


async def test_a_newer_replica_does_not_lend_its_times_to_an_older_start() -> None:
    starts, counted, _ = made(StartPhases(scaled=100.1), StartPhases(scaled=107.0, ready=108.0))
    starts.answered(held())
    await settled()
    (phases,) = counted.starts
    assert (phases["scaled"], phases["ready"]) == (0.1, None)


async def test_one_start_is_counted_once_and_a_warm_request_never() -> None:
    starts, counted, _ = made(StartPhases(scaled=100.1))
    for cold in (True, True, False):
        starts.answered(held(cold=cold))
    await settled()
    assert len(counted.starts) == 1


async def test_an_endpoint_made_anew_under_the_name_of_a_removed_one_had_no_cold_start() -> None:
    starts, _, shown = made(StartPhases(scaled=100.1, ready=101.0))
    starts.answered(held())
    assert "demo" in shown

    starts.forget("demo")
    await settled()

    assert shown == {}
