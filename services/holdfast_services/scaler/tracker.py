"""Keeps the knowledge of all endpoints fresh enough, and answers from it.

How fresh: an active endpoint is never answered from a reading older than `max_age_s` or than the last wake. An
inactive one is answered from memory as long as the list of all queues, read every `sweep_s`, keeps coming and says
nothing new; the step from active to inactive is only ever taken on a reading made for it. Where the broker does not
answer, neither does the scaler: KEDA and the autoscaler then leave the replicas as they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Final

from holdfast_contract.autoscaling import HPA_TOLERANCE, Decision
from holdfast_contract.document import EndpointDocument
from holdfast_services.logs import Log
from holdfast_services.scaler.knowledge import Knowledge
from holdfast_services.scaler.ports import Clock, Observer, Queues, QueuesUnavailable

__all__ = ["Settings", "Subscription", "Tracker", "Unavailable", "Unknown"]

_log = Log("scaler")
_SWEEP_GRACE_S: Final = 2.0
"""How much later than due a sweep may come before the memory of inactive endpoints is not trusted any more."""


class Unavailable(Exception):
    """The scaler does not know, and says so instead of guessing."""


class Unknown(Exception):
    """No such endpoint is declared."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How often the broker is asked."""

    max_age_s: float = 1.0
    """Oldest reading from which an active endpoint is answered; also how often a busy one is looked at."""
    sweep_s: float = 5.0
    """Seconds between two lists of all queues: how late a lost wake is noticed. KEDA's own polling is as
    slow; a list of 1,000 queues takes four requests."""
    reads_per_s: float = 200.0
    """Most readings a second that the scaler makes of its own accord. With more busy endpoints it looks at
    each less often; KEDA's questions are still answered from fresh readings."""


@dataclass(slots=True)
class _Entry:
    """An endpoint: its knowledge, and what is under way for it."""

    knowledge: Knowledge
    reading: asyncio.Task[None] | None = None
    due_at: float | None = None
    """When the next reading is to be made, monotonic; what the heap holds with another time is void."""


class Subscription:
    """One open stream."""

    __slots__ = ("_ended", "_event")

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._ended = False

    def notify(self) -> None:
        """Let `wait` return True; several notifications before it is called count as one."""
        self._event.set()

    def end(self) -> None:
        """Let `wait` return False, now and from now on."""
        self._ended = True
        self._event.set()

    async def wait(self) -> bool:
        """True: the endpoint became active (perhaps before this call). False: the stream is to end."""
        await self._event.wait()
        if self._ended:
            return False
        self._event.clear()
        return True


class Tracker:
    """All endpoints. For one event loop; holds nothing that a restart would lose."""

    def __init__(
        self,
        queues: Queues,
        observer: Observer,
        *,
        settings: Settings | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._queues = queues
        self._observer = observer
        self._settings = settings or Settings()
        self._clock = clock or Clock()
        self._entries: dict[str, _Entry] = {}
        self._streams: dict[str, set[Subscription]] = {}
        self._due: list[tuple[float, int, str]] = []
        self._numbers = count()
        self._scheduled = asyncio.Event()
        self._sweep_now = asyncio.Event()
        self._documents_known = False
        self._swept_at: float | None = None
        self._sweeping = False
        self._ended = False

    # --- figures ------------------------------------------------------------------------------------------
    @property
    def ready(self) -> bool:
        """Whether the declared endpoints are known and the broker has answered once."""
        return self._documents_known and self._swept_at is not None

    @property
    def endpoints(self) -> int:
        """How many endpoints are declared."""
        return len(self._entries)

    @property
    def active(self) -> int:
        """How many of them are active."""
        return sum(entry.knowledge.active is True for entry in self._entries.values())

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return sum(len(streams) for streams in self._streams.values())

    # --- what it is told ----------------------------------------------------------------------------------
    def set_documents(self, documents: Mapping[str, EndpointDocument]) -> None:
        """Take over a complete snapshot: what it does not hold does not exist."""
        self._documents_known = True
        for name in [name for name in self._entries if name not in documents]:
            del self._entries[name]
            self._observer.forgotten(name)
        new = 0
        for name, document in documents.items():
            entry = self._entries.get(name)
            if entry is None:
                entry = self._entries[name] = _Entry(Knowledge(document))
                # Spread, so that a start with many endpoints is no burst.
                self._schedule(entry, new / self._settings.reads_per_s)
                new += 1
            elif entry.knowledge.document != document:
                if entry.knowledge.replace_document(document, self._clock.unix()):
                    self._push(name)
                self._schedule(entry, 0.0)

    def wake(self, endpoint: str) -> None:
        """A request was queued for this endpoint just now."""
        self._observer.woken()
        entry = self._entries.get(endpoint)
        if entry is None or entry.knowledge.paused:
            return
        if entry.knowledge.learn_wake(self._clock.unix()):
            self._push(endpoint)
        self._schedule(entry, self._settings.max_age_s)

    def reconnected(self) -> None:
        """The broker is back after an interruption, in which wakes were lost."""
        self._sweep_now.set()

    # --- what it is asked ---------------------------------------------------------------------------------
    async def decision(self, endpoint: str, tolerance: float = HPA_TOLERANCE) -> Decision:
        """What to tell KEDA now. Raises Unknown or Unavailable."""
        if not self._documents_known:
            raise Unavailable("the declared endpoints are not known yet")
        entry = self._entries.get(endpoint)
        if entry is None:
            raise Unknown(endpoint)
        if not self._fresh(entry.knowledge):
            await self._have_reading(entry)
            if entry.knowledge.outdated:
                # That one may have been asked for before the latest wake. Once is enough: wakes may come faster
                # than readings.
                await self._have_reading(entry)
        return entry.knowledge.decide(self._clock.unix(), tolerance)

    @contextlib.contextmanager
    def subscribe(self, endpoint: str) -> Iterator[Subscription]:
        """Follow an endpoint, which need not be declared yet: KEDA may hear of it first.

        An active endpoint notifies at once, for KEDA has just connected and may not know.
        """
        subscription = Subscription()
        if self._ended:
            subscription.end()
        self._streams.setdefault(endpoint, set()).add(subscription)
        entry = self._entries.get(endpoint)
        if entry is not None and entry.knowledge.active and entry.knowledge.decide(self._clock.unix()).active:
            subscription.notify()
        try:
            yield subscription
        finally:
            self._streams[endpoint].discard(subscription)
            if not self._streams[endpoint]:
                del self._streams[endpoint]

    def end_streams(self) -> None:
        """End all streams, present and future: the scaler stops."""
        self._ended = True
        for streams in self._streams.values():
            for subscription in streams:
                subscription.end()

    # --- keeping it fresh ---------------------------------------------------------------------------------
    async def run(self) -> None:
        """Sweep and refresh until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sweep_for_ever())
            tasks.create_task(self._refresh_for_ever())

    async def sweep(self) -> None:
        """Read the list of all queues once. Raises QueuesUnavailable."""
        began = self._clock.monotonic()
        try:
            backlogs = await self._queues.sweep()
        except QueuesUnavailable:
            self._sweeping = False
            self._observer.swept(ok=False, seconds=self._clock.monotonic() - began)
            raise
        self._sweeping, self._swept_at = True, began
        self._observer.swept(ok=True, seconds=self._clock.monotonic() - began)
        now = self._clock.unix()
        for name, backlog in backlogs.items():
            entry = self._entries.get(name)
            if entry is None or entry.knowledge.paused:
                continue
            if entry.knowledge.learn_backlog(backlog, now):
                self._push(name)
                self._schedule(entry, 0.0)
            elif backlog.requests and not entry.knowledge.active:
                self._schedule(entry, 0.0)

    def start_due_readings(self) -> float | None:
        """Start the readings whose time has come. Returns the seconds until the next; None: none is planned."""
        now = self._clock.monotonic()
        while self._due and self._due[0][0] <= now:
            due_at, _, name = heapq.heappop(self._due)
            entry = self._entries.get(name)
            if entry is not None and entry.due_at == due_at:
                entry.due_at = None
                if not entry.knowledge.paused:
                    self._ensure_reading(entry)
        return max(self._due[0][0] - now, 0.0) if self._due else None

    async def _sweep_for_ever(self) -> None:
        while True:
            self._sweep_now.clear()
            try:
                await self.sweep()
            except QueuesUnavailable as error:
                _log.warning("queues cannot be listed", error=str(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.sweep_s):
                    await self._sweep_now.wait()

    async def _refresh_for_ever(self) -> None:
        while True:
            self._scheduled.clear()
            wait_s = self.start_due_readings()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._scheduled.wait()

    # --- inside -------------------------------------------------------------------------------------------
    def _fresh(self, knowledge: Knowledge) -> bool:
        """Whether an answer may be given from what is known."""
        if knowledge.paused:
            return True
        if knowledge.read_at is None:
            return False
        now = self._clock.monotonic()
        if knowledge.decide(self._clock.unix()).active:
            return not knowledge.outdated and now - knowledge.read_at <= self._settings.max_age_s
        if knowledge.active is not False or not self._sweeping or self._swept_at is None:
            return False
        return now - self._swept_at <= self._settings.sweep_s + _SWEEP_GRACE_S

    async def _have_reading(self, entry: _Entry) -> None:
        """Wait for a reading, the one under way or a new one. Raises Unavailable."""
        try:
            # Shielded: others may wait for the same reading when this question is withdrawn.
            await asyncio.shield(self._ensure_reading(entry))
        except QueuesUnavailable as error:
            raise Unavailable(str(error)) from error

    def _ensure_reading(self, entry: _Entry) -> asyncio.Task[None]:
        """The reading under way, or a new one."""
        if entry.reading is None:
            entry.reading = asyncio.create_task(self._make_reading(entry))
            # Nobody may be waiting for it: a failure is counted and tried again, not complained about.
            entry.reading.add_done_callback(lambda task: task.cancelled() or task.exception())
        return entry.reading

    async def _make_reading(self, entry: _Entry) -> None:
        knowledge = entry.knowledge
        name = knowledge.document.name
        asked_at = self._clock.monotonic()
        recent_since = self._clock.unix() - knowledge.document.scaling.timeout_s
        outdated, knowledge.outdated = knowledge.outdated, False
        try:
            reading = await self._queues.read(name, recent_since=recent_since)
        except QueuesUnavailable:
            knowledge.outdated = knowledge.outdated or outdated
            self._observer.read(ok=False, seconds=self._clock.monotonic() - asked_at)
            self._schedule(entry, self._interval_s())
            raise
        finally:
            entry.reading = None
        self._observer.read(ok=True, seconds=self._clock.monotonic() - asked_at)
        if self._entries.get(name) is not entry:
            return  # no longer declared
        knowledge.learn_reading(reading, asked_at=asked_at)
        now = self._clock.unix()
        if knowledge.judge(now):
            self._push(name)
        self._observer.decided(name, knowledge.demand, knowledge.decide(now))
        if knowledge.demand > 0:
            self._schedule(entry, self._interval_s())
        elif knowledge.active and knowledge.idle_at() > now:
            # Nothing to see until then, or until a wake.
            self._schedule(entry, knowledge.idle_at() - now)

    def _interval_s(self) -> float:
        """Seconds between two readings of a busy endpoint."""
        return max(self._settings.max_age_s, self.active / self._settings.reads_per_s)

    def _schedule(self, entry: _Entry, delay_s: float) -> None:
        """Have a reading made in `delay_s` seconds, unless one comes earlier anyway."""
        at = self._clock.monotonic() + delay_s
        if entry.due_at is not None and entry.due_at <= at:
            return
        entry.due_at = at
        heapq.heappush(self._due, (at, next(self._numbers), entry.knowledge.document.name))
        if self._due[0][0] == at:
            self._scheduled.set()

    def _push(self, endpoint: str) -> None:
        """Tell the endpoint's streams that it became active."""
        streams = self._streams.get(endpoint)
        if streams:
            self._observer.pushed()
            for subscription in streams:
                subscription.notify()
