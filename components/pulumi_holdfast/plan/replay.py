"""What given scaling settings would have done with a trace of requests: cold starts, waiting, GPU hours.

The simulation decides as the running system does: with the scaler's own function (`holdfast_contract.autoscaling`),
the autoscaler's formula and rhythm, KEDA's polling, and a queue from which free replicas pull in order of arrival.
What it does not know: machines that cannot be had, requests that fail, and how service times change with load.
"""

from __future__ import annotations

import csv
import heapq
import io
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Final, Self

from holdfast_contract.autoscaling import (
    HPA_SYNC_S,
    HPA_TOLERANCE,
    KEDA_POLLING_INTERVAL_S,
    NEVER,
    ScalingSettings,
    decide,
    hpa_replicas,
)
from pulumi_holdfast.plan.timeouts import HPA_WINDOW_LIMIT_S

__all__ = ["Replay", "Request", "Startup", "TraceError", "parse_trace", "replay"]


class TraceError(ValueError):
    """A trace cannot be read. The text names the line, the value, the rule and the remedy."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a trace."""

    at_s: float
    """Arrival, in seconds since the beginning of the trace."""
    service_s: float
    """How long a replica works on it."""


@dataclass(frozen=True, slots=True)
class Startup:
    """How long a replica takes from being asked for until it takes requests, by phase."""

    scale_s: float = 0.05
    """From the wake until the Deployment asks for the pod (measured: below 0.05 s)."""
    machine_s: float = 0.0
    """Until a machine is there. 0: one is free. 80–120 s for a new GPU machine on AWS."""
    pull_s: float = 0.0
    """Until the image is there. 0: the machine has it. 240–360 s for 15–20 GB."""
    ready_s: float = 5.0
    """Until the container answers its health check: start and weights."""

    @classmethod
    def estimated(cls, *, node_s: float | None, pull_s: float | None, load_s: float | None) -> Self:
        """From an estimate's phases; one without a figure (None) counts nothing. Loading comes on top of the start."""
        usual = cls()
        return cls(machine_s=node_s or 0.0, pull_s=pull_s or 0.0, ready_s=usual.ready_s + (load_s or 0.0))

    @property
    def total_s(self) -> float:
        """All phases."""
        return self.scale_s + self.machine_s + self.pull_s + self.ready_s


@dataclass(frozen=True, slots=True)
class Replay:
    """What happened in a simulation. Waiting is from arrival until a replica takes the request."""

    requests: int
    cold_starts: int
    """Times that the endpoint was woken from 0 replicas."""
    cold_requests: int
    """Requests that arrived while no replica was ready."""
    waiting_p50_s: float
    waiting_p99_s: float
    waiting_max_s: float
    waiting_total_s: float
    gpu_hours: float
    """Replicas from being asked for until they are gone, times the GPUs of each. For an endpoint without GPUs: replica
    hours."""
    busy_gpu_hours: float
    """The part of it in which the replica worked on at least one request."""
    peak_replicas: int
    waits_s: tuple[float, ...]
    """Waiting of each request, in order of arrival; NaN for a refused one."""
    refused: int = 0
    """Requests that found the queue full; they count in no waiting."""

    def as_output(self) -> dict[str, Any]:
        """The summary as plain data, without the single waits."""
        summary = asdict(self)
        del summary["waits_s"]
        return summary


def parse_trace(text: str) -> tuple[Request, ...]:
    """Read a trace: CSV with the columns `at_s` and `service_s`, others are ignored; in any order of arrival.

    Raises TraceError naming the first line that is wrong.
    """
    rows = csv.DictReader(io.StringIO(text))
    missing = {"at_s", "service_s"} - set(rows.fieldnames or ())
    if missing:
        raise TraceError(
            f"trace has no column {', '.join(sorted(missing))}: name the columns at_s and service_s in its first line"
        )
    requests = []
    for number, row in enumerate(rows, start=2):
        values = []
        for column in ("at_s", "service_s"):
            try:
                value = float(row[column] or "")
            except ValueError:
                value = math.nan
            if not 0 <= value < math.inf:
                raise TraceError(
                    f"trace line {number}: {column} is {row[column]!r}, not a number of seconds of at least 0: "
                    "correct it"
                )
            values.append(value)
        requests.append(Request(*values))
    return tuple(sorted(requests, key=lambda request: request.at_s))


def replay(
    trace: Sequence[Request],
    scaling: ScalingSettings,
    *,
    startup: Startup | None = None,
    gpus: int = 1,
    horizon_s: float | None = None,
    tolerance: float = HPA_TOLERANCE,
    max_queue: int | None = None,
) -> Replay:
    """Run a trace, sorted by arrival, through an endpoint with these settings.

    At 0 s `min_replicas` are ready. `horizon_s`: until when replicas are counted; None: until the last request has
    ended and the endpoint is idle. `max_queue`: how many requests are held beyond what `max_replicas` work on,
    one more is refused; None: any number, the default, for a refused request makes waiting look short.

    Raises ValueError for a trace that is not sorted.
    """
    if any(later.at_s < earlier.at_s for earlier, later in pairwise(trace)):
        raise ValueError("trace is not in order of arrival: sort it by at_s")
    return _Simulation(trace, scaling, startup or Startup(), tolerance, max_queue).run(
        max(gpus, 1), horizon_s
    )


@dataclass(slots=True, eq=False)
class _Replica:
    number: int
    asked_at: float
    ready: bool = False
    running: int = 0
    leaving: bool = False
    busy_since: float = 0.0
    busy_s: float = 0.0
    gone_at: float | None = None


_READY: Final = 0
_DONE: Final = 1
_ARRIVED: Final = 2
_POLL: Final = 3
_SYNC: Final = 4
"""Kinds of events, in the order in which those of one moment are handled: what frees a replica comes first."""


class _Simulation:
    """The state of one run."""

    def __init__(
        self,
        trace: Sequence[Request],
        scaling: ScalingSettings,
        startup: Startup,
        tolerance: float,
        max_queue: int | None,
    ) -> None:
        self.trace = trace
        self.scaling = scaling
        self.startup = startup
        self.tolerance = tolerance
        self.max_queue = max_queue
        self.now = 0.0
        self.queue: deque[int] = deque()
        self.replicas: dict[int, _Replica] = {}
        """Those that run or start, and are not leaving."""
        self.every: list[_Replica] = []
        self.free: list[int] = []
        """Numbers of replicas with a free slot; a heap. Replicas that left are skipped."""
        self.ready = 0
        self.running = 0
        self.last_activity_at: float = NEVER
        self.recommended: deque[tuple[float, int]] = deque()
        self.waits = [0.0] * len(trace)
        self.cold_starts = self.cold_requests = self.peak = 0
        self.events: list[tuple[float, int, int, int]] = []
        self.polling = self.syncing = False

    def run(self, gpus: int, horizon_s: float | None) -> Replay:
        for _ in range(self.scaling.min_replicas):
            self._add(ready=True)
        for index, request in enumerate(self.trace):
            heapq.heappush(self.events, (request.at_s, _ARRIVED, index, 0))
        served_until = 0.0
        while self.events:
            self.now, kind, one, other = heapq.heappop(self.events)
            self._handle(kind, one, other)
            if kind in (_DONE, _ARRIVED):
                served_until = self.now
        idle_at = served_until + self.scaling.timeout_s + KEDA_POLLING_INTERVAL_S if self.trace else 0.0
        return self._result(gpus, max(served_until, idle_at if horizon_s is None else horizon_s))

    def _handle(self, kind: int, one: int, other: int) -> None:
        if kind == _ARRIVED:
            self._arrived(one)
        elif kind == _READY:
            self._became_ready(self.every[one])
        elif kind == _DONE:
            self._done(self.every[one])
        elif kind == _POLL:
            self._poll()
        else:
            self._sync()

    # --- requests -----------------------------------------------------------------------------------------
    def _arrived(self, index: int) -> None:
        self.last_activity_at = self.now
        self.queue.append(index)
        self.cold_requests += self.ready == 0
        if not self.replicas:
            self.cold_starts += 1
            for _ in range(max(self.scaling.min_replicas, 1)):
                self._add()
        self._dispatch()
        # As the broker's bound on an endpoint's queue: what all replicas could hold comes on top.
        slots = self.scaling.max_replicas * self.scaling.concurrency
        if self.max_queue is not None and self._demand > self.max_queue + slots:
            self.waits[self.queue.pop()] = math.nan
        self._look_again()

    def _dispatch(self) -> None:
        while self.queue and self.free:
            replica = self.replicas.get(self.free[0])
            if replica is None or replica.running >= self.scaling.concurrency:
                heapq.heappop(self.free)
                continue
            index = self.queue.popleft()
            self.waits[index] = self.now - self.trace[index].at_s
            if replica.running == 0:
                replica.busy_since = self.now
            replica.running += 1
            self.running += 1
            heapq.heappush(
                self.events, (self.now + self.trace[index].service_s, _DONE, replica.number, index)
            )

    def _done(self, replica: _Replica) -> None:
        self.last_activity_at = self.now
        replica.running -= 1
        self.running -= 1
        if replica.running == 0:
            replica.busy_s += self.now - replica.busy_since
            if replica.leaving:
                replica.gone_at = self.now
        if not replica.leaving:
            heapq.heappush(self.free, replica.number)
        self._dispatch()
        self._look_again()

    # --- replicas -----------------------------------------------------------------------------------------
    def _add(self, *, ready: bool = False) -> None:
        replica = _Replica(len(self.every), self.now)
        self.every.append(replica)
        self.replicas[replica.number] = replica
        self.peak = max(self.peak, len(self.replicas))
        if ready:
            self._became_ready(replica)
        else:
            heapq.heappush(self.events, (self.now + self.startup.total_s, _READY, replica.number, 0))

    def _became_ready(self, replica: _Replica) -> None:
        if replica.leaving:
            return
        replica.ready = True
        self.ready += 1
        for _ in range(self.scaling.concurrency):
            heapq.heappush(self.free, replica.number)
        self._dispatch()

    def _remove(self, count: int) -> None:
        """Kubernetes takes those that are not ready first; then idle ones, newest first; a busy one finishes."""
        order = sorted(self.replicas.values(), key=lambda r: (r.ready, r.running > 0, -r.number))
        for replica in order[:count]:
            replica.leaving = True
            self.ready -= replica.ready
            del self.replicas[replica.number]
            if replica.running == 0:
                replica.gone_at = self.now

    # --- KEDA and the autoscaler --------------------------------------------------------------------------
    @property
    def _demand(self) -> int:
        return len(self.queue) + self.running

    def _look_again(self) -> None:
        """Plan the next looks, as far as they can change anything: a look at nothing is not simulated."""
        if not self.polling and self.replicas and self.scaling.min_replicas == 0 and self._demand == 0:
            self.polling = True
            idle_at = self.last_activity_at + self.scaling.timeout_s
            self._plan(_POLL, max(idle_at, self.now), KEDA_POLLING_INTERVAL_S)
        if (
            not self.syncing
            and self.replicas
            and self.scaling.max_replicas > max(self.scaling.min_replicas, 1)
        ):
            self.syncing = True
            self._plan(_SYNC, self.now, HPA_SYNC_S)

    def _plan(self, kind: int, earliest: float, period_s: float) -> None:
        """The first beat at or after `earliest` that is not now."""
        at = math.ceil(earliest / period_s) * period_s
        heapq.heappush(self.events, (at if at > self.now else at + period_s, kind, 0, 0))

    def _poll(self) -> None:
        self.polling = False
        decision = decide(
            demand=self._demand,
            last_activity_at=self.last_activity_at,
            now=self.now,
            scaling=self.scaling,
            tolerance=self.tolerance,
        )
        if not decision.active:
            self._remove(len(self.replicas))
        self._look_again()

    def _sync(self) -> None:
        self.syncing = False
        current = len(self.replicas)
        if current == 0:
            return
        decision = decide(
            demand=self._demand,
            last_activity_at=self.last_activity_at,
            now=self.now,
            scaling=self.scaling,
            tolerance=self.tolerance,
        )
        proposed = hpa_replicas(current, decision.metric_milli, self.scaling, tolerance=self.tolerance)
        window_s = min(self.scaling.timeout_s, HPA_WINDOW_LIMIT_S)
        self.recommended.append((self.now, proposed))
        while self.recommended[0][0] <= self.now - window_s:
            self.recommended.popleft()
        if proposed > current:
            for _ in range(proposed - current):
                self._add()
        else:
            kept = max(number for _, number in self.recommended)
            self._remove(max(current - kept, 0))
        floor = max(self.scaling.min_replicas, 1)
        if self._demand > 0 or len(self.replicas) > floor:
            self._look_again()

    # --- figures ------------------------------------------------------------------------------------------
    def _result(self, gpus: int, until_s: float) -> Replay:
        seconds = sum(
            max((until_s if replica.gone_at is None else replica.gone_at) - replica.asked_at, 0.0)
            for replica in self.every
        )
        waits = sorted(wait for wait in self.waits if not math.isnan(wait))
        return Replay(
            requests=len(self.trace),
            cold_starts=self.cold_starts,
            cold_requests=self.cold_requests,
            waiting_p50_s=_percentile(waits, 0.50),
            waiting_p99_s=_percentile(waits, 0.99),
            waiting_max_s=waits[-1] if waits else 0.0,
            waiting_total_s=math.fsum(waits),
            gpu_hours=gpus * seconds / 3600,
            busy_gpu_hours=gpus * sum(replica.busy_s for replica in self.every) / 3600,
            peak_replicas=self.peak,
            waits_s=tuple(self.waits),
            refused=len(self.waits) - len(waits),
        )


def _percentile(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank percentile; 0 without values."""
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)] if ordered else 0.0
