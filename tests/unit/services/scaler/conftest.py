"""A clock that stands still, and queues made of plain numbers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest
from documents import endpoint_document

from holdfast_contract.autoscaling import NEVER, Decision
from holdfast_contract.document import EndpointDocument, EndpointState
from holdfast_services.scaler.knowledge import Backlog, Reading
from holdfast_services.scaler.ports import Clock, QueuesUnavailable
from holdfast_services.scaler.tracker import Settings, Tracker

START = 1_800_000_000.0


@dataclass
class FakeTime:
    """Time that passes when a test says so."""

    passed_s: float = 0.0

    @property
    def now(self) -> float:
        return START + self.passed_s

    def clock(self) -> Clock:
        return Clock(unix=lambda: self.now, monotonic=lambda: self.passed_s)


@dataclass
class FakeQueues:
    """Queues by endpoint, and what was asked."""

    readings: dict[str, Reading] = field(default_factory=dict)
    backlogs: dict[str, Backlog] = field(default_factory=dict)
    down: bool = False
    asked: list[str] = field(default_factory=list)
    hold: asyncio.Event | None = None
    """Readings wait for it."""

    async def read(self, endpoint: str, *, recent_since: float) -> Reading:
        self.asked.append(endpoint)
        if self.hold is not None:
            await self.hold.wait()
        await asyncio.sleep(0)
        if self.down:
            raise QueuesUnavailable("the broker is down")
        return self.readings.get(endpoint, Reading(0, NEVER))

    async def sweep(self) -> Mapping[str, Backlog]:
        await asyncio.sleep(0)
        if self.down:
            raise QueuesUnavailable("the broker is down")
        return self.backlogs


@dataclass
class Counts:
    """What happened."""

    decisions: dict[str, Decision] = field(default_factory=dict)
    wakes: int = 0
    pushes: int = 0

    def decided(self, endpoint: str, demand: int, decision: Decision) -> None:
        self.decisions[endpoint] = decision

    def forgotten(self, endpoint: str) -> None:
        self.decisions.pop(endpoint, None)

    def woken(self) -> None:
        self.wakes += 1

    def pushed(self) -> None:
        self.pushes += 1

    def read(self, *, ok: bool, seconds: float) -> None: ...

    def swept(self, *, ok: bool, seconds: float) -> None: ...


@dataclass
class World:
    """A tracker with everything around it under the test's control."""

    time: FakeTime
    queues: FakeQueues
    counts: Counts
    tracker: Tracker

    async def settle(self) -> None:
        """Start what is due and let all tasks run until they wait."""
        self.tracker.start_due_readings()
        for _ in range(10):
            await asyncio.sleep(0)

    async def pass_time(self, seconds: float, step_s: float = 0.05) -> None:
        """Let time pass in small steps, with the sweeps and readings that fall into it."""
        for _ in range(round(seconds / step_s)):
            self.time.passed_s = round(self.time.passed_s + step_s, 6)
            if self.time.passed_s % 5 < step_s and not self.queues.down:
                await self.tracker.sweep()
            await self.settle()


@pytest.fixture
def document() -> Callable[..., EndpointDocument]:
    """Makes endpoint documents; `paused` and any field of scaling may be given."""

    def make(name: str = "chat", *, paused: bool = False, **scaling: int) -> EndpointDocument:
        state = EndpointState.PAUSED if paused else EndpointState.ACTIVE
        return endpoint_document(name, state=state, **{"max_replicas": 20, "max_queue": 100, **scaling})

    return make


@pytest.fixture
async def world() -> World:
    """A tracker that knows no document yet."""
    time, queues, counts = FakeTime(), FakeQueues(), Counts()
    tracker = Tracker(queues, counts, settings=Settings(), clock=time.clock())
    return World(time, queues, counts, tracker)
