"""(b) Waiting time against an ideal central queue, a client that holds the queue itself, and HAProxy.

Every way gets the same arrivals and the same service times, and the same model processes. The ideal is simulated from
what happened in the same run: the moments at which requests were really sent, and how long the model really took.
A way's ratio is the mean (or p99) of its waits over that of the ideal's; a router that loses nothing has 1.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bench import haproxy, load
from bench.plane import Durability, Plane, open_plane
from bench.queueing import central_queue_waits, exponential_times, poisson_arrivals
from bench.report import Cell, Table
from bench.statistics import ratio, summarise

__all__ = ["FULL", "QUICK", "Plan", "Point", "batches", "measure"]

_BATCH_RATE: Final = 150.0
"""Requests a second that points measured at the same time may have together, so that the machine is not what is
measured; a point that has more by itself is measured alone."""
_SHARED_ABOVE: Final = 4
"""Points with more replicas share their workers, one after the other: dozens of processes cost memory."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured."""

    services_s: tuple[float, ...]
    replicas: tuple[int, ...]
    utilisations: tuple[float, ...]
    gateways: tuple[int, ...]
    seconds: float
    """How long requests arrive, for every point and way."""

    def points(self) -> list[Point]:
        """All combinations."""
        return [
            Point(service_s, replicas, utilisation)
            for service_s in self.services_s
            for replicas in self.replicas
            for utilisation in self.utilisations
        ]


@dataclass(frozen=True, slots=True)
class Point:
    """One load on one number of replicas."""

    service_s: float
    """Mean; exponentially distributed."""
    replicas: int
    utilisation: float

    @property
    def rate_per_s(self) -> float:
        """Arrivals a second."""
        return self.utilisation * self.replicas / self.service_s

    @property
    def endpoint(self) -> str:
        """The endpoint whose replicas it uses."""
        if self.replicas > _SHARED_ABOVE:
            return f"r{self.replicas}"
        return f"r{self.replicas}u{round(100 * self.utilisation)}"


FULL: Final = Plan((0.05, 0.2), (1, 4, 16), (0.5, 0.8, 0.95), (1, 2, 3), 10)
QUICK: Final = Plan((0.05,), (1, 4), (0.8,), (1, 2, 3), 6)


@dataclass(frozen=True, slots=True)
class Figures:
    """One way at one point."""

    requests: int
    mean_ms: float
    p99_ms: float
    ideal_mean_ms: float
    ideal_p99_ms: float
    service_mean_ms: float
    handed_to_busy: float
    """Share of requests that came to a model which was already serving one."""

    @property
    def mean_ratio(self) -> float:
        """Of the waits to the ideal's."""
        return ratio(self.mean_ms, self.ideal_mean_ms)

    @property
    def p99_ratio(self) -> float:
        """Of the waits to the ideal's."""
        return ratio(self.p99_ms, self.ideal_p99_ms)

    @property
    def answer_ratio(self) -> float:
        """Of the whole time to the answer, to the ideal's: what a caller feels."""
        return ratio(self.mean_ms + self.service_mean_ms, self.ideal_mean_ms + self.service_mean_ms)


def figures(samples: Sequence[load.Sample], servers: int) -> Figures:
    """Of one way at one point. Raises ValueError without samples."""
    ideal = summarise(
        central_queue_waits(
            [sample.sent for sample in samples], [sample.service_s for sample in samples], servers
        )
    )
    waits = summarise([sample.wait_s for sample in samples])
    return Figures(
        requests=len(samples),
        mean_ms=1000 * waits.mean,
        p99_ms=1000 * waits.p99,
        ideal_mean_ms=1000 * ideal.mean,
        ideal_p99_ms=1000 * ideal.p99,
        service_mean_ms=1000 * sum(sample.service_s for sample in samples) / len(samples),
        handed_to_busy=sum(sample.found_busy > 0 for sample in samples) / len(samples),
    )


def batches(points: Sequence[Point], limit_per_s: float = _BATCH_RATE) -> list[list[Point]]:
    """Points that can be measured at the same time: no endpoint twice, and not too many requests together."""
    found: list[list[Point]] = []
    for point in sorted(points, key=lambda it: -it.rate_per_s):
        for batch in found:
            together = sum(other.rate_per_s for other in batch) + point.rate_per_s
            if together <= limit_per_s and all(other.endpoint != point.endpoint for other in batch):
                batch.append(point)
                break
        else:
            found.append([point])
    return found


async def measure(plan: Plan, durability: Durability) -> Table:
    """All points, all ways."""
    async with open_plane(durability) as plane:
        ports = await _start(plane, plan)
        ways = _ways(plane, plan, ports)
        measured: dict[tuple[Point, str], Figures] = {}
        for way, senders in ways.items():
            for batch in batches(plan.points()):
                measured.update(
                    {(point, way): it for point, it in (await _batch(batch, senders, plan.seconds)).items()}
                )
    return _table(plan, list(ways), measured)


async def _start(plane: Plane, plan: Plan) -> dict[str, tuple[int, ...]]:
    """Model ports by endpoint."""
    replicas = {point.endpoint: point.replicas for point in plan.points()}
    for name, count in replicas.items():
        plane.document(name, replicas=count)
    for _ in range(max(plan.gateways)):
        plane.start_gateway()
    await plane.until_ready([gateway.url for gateway in plane.gateways])
    for name in replicas:
        await plane.until_known(name)
    left = list(plane.start_models(sum(replicas.values())).ports)
    ports = {name: tuple(left.pop() for _ in range(count)) for name, count in replicas.items()}
    for name, of_endpoint in ports.items():
        for port in of_endpoint:
            plane.start_worker(name, port)
    await plane.until_ready([worker.url for worker in plane.workers], within_s=180)
    return ports


def _ways(
    plane: Plane, plan: Plan, ports: Mapping[str, tuple[int, ...]]
) -> dict[str, dict[str, load.Sender]]:
    """For every way a sender by endpoint."""
    ways = {
        "client queue (bound)": {
            name: load.through_client_queue(plane.http, of) for name, of in ports.items()
        }
    }
    for count in plan.gateways:
        urls = [gateway.url for gateway in plane.gateways[:count]]
        ways[f"holdfast ×{count}"] = {
            name: load.to_urls(plane.http, [f"{url}/e/{name}/" for url in urls], plane.token)
            for name in ports
        }
    if haproxy.find():
        for count, balance in ((1, "leastconn"), (2, "leastconn"), (2, "random")):
            started = haproxy.start(plane.folder, plane.processes, ports, count=count, balance=balance)
            ways[f"HAProxy {balance} ×{count}"] = {
                name: load.to_urls(plane.http, [f"{url}/e/{name}/" for _, url in started]) for name in ports
            }
    return ways


async def _batch(
    batch: Sequence[Point], senders: Mapping[str, load.Sender], seconds: float
) -> dict[Point, Figures]:
    for point in batch:  # connections are open and code is warm before anything counts
        await asyncio.gather(*(senders[point.endpoint](0.001) for _ in range(2 * point.replicas)))

    async def one(point: Point) -> list[load.Sample]:
        rng = random.Random(f"{point}")  # the same for every way
        arrivals = poisson_arrivals(point.rate_per_s, seconds, rng) or [0.0]
        services = exponential_times(point.service_s, len(arrivals), rng)
        return await load.open_loop(senders[point.endpoint], arrivals, services)

    with load.without_collector():
        samples = await asyncio.gather(*(one(point) for point in batch))
    return {point: figures(of, point.replicas) for point, of in zip(batch, samples, strict=True)}


def _table(plan: Plan, ways: list[str], measured: Mapping[tuple[Point, str], Figures]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    details: list[dict[str, Cell]] = []
    for point in plan.points():
        bound = measured[point, ways[0]]
        row: list[Cell] = [
            f"{1000 * point.service_s:.0f} ms, {point.replicas} replicas, {100 * point.utilisation:.0f} %",
            bound.requests,
            bound.ideal_mean_ms,
        ]
        for way in ways:
            it = measured[point, way]
            row.append(f"{_short(it.mean_ratio)}/{_short(it.p99_ratio)} {100 * it.handed_to_busy:.0f}%")
            details.append(_detail(point, way, it, bound))
        rows.append(tuple(row))
    return Table(
        key="waiting",
        title="Waiting as a ratio to an ideal central queue: mean/p99, and requests handed to a busy replica",
        columns=("service, replicas, utilisation", "requests", "ideal mean ms", *ways),
        rows=tuple(rows),
        notes=(
            "ideal: simulated with the same arrivals and service times. bound: the client holds the one queue itself.",
            "Aim: mean ≤ 1.05 × and p99 ≤ 1.10 × the bound with 2 and 3 gateways, nothing handed to a busy replica.",
            *(_summary(plan, way, ways[0], measured) for way in ways),
        ),
        details=tuple(details),
    )


def _summary(plan: Plan, way: str, bound: str, measured: Mapping[tuple[Point, str], Figures]) -> str:
    of_way = [(measured[point, way], measured[point, bound]) for point in plan.points()]
    extra = sum(it.mean_ms - it.ideal_mean_ms for it, _ in of_way) / len(of_way)
    answer = sum(it.answer_ratio for it, _ in of_way) / len(of_way)
    busy = sum(it.handed_to_busy * it.requests for it, _ in of_way) / sum(it.requests for it, _ in of_way)
    return (
        f"{way}: {extra:.2f} ms more than the ideal on average, whole answer {answer:.3f} × the ideal's, "
        f"{100 * busy:.1f} % handed to a busy replica"
    )


def _detail(point: Point, way: str, it: Figures, bound: Figures) -> dict[str, Cell]:
    return {
        "service_ms": 1000 * point.service_s,
        "replicas": point.replicas,
        "utilisation": point.utilisation,
        "way": way,
        "requests": it.requests,
        "wait_mean_ms": it.mean_ms,
        "wait_p99_ms": it.p99_ms,
        "ideal_mean_ms": it.ideal_mean_ms,
        "ideal_p99_ms": it.ideal_p99_ms,
        "mean_to_ideal": it.mean_ratio,
        "p99_to_ideal": it.p99_ratio,
        "mean_to_bound": ratio(it.mean_ratio, bound.mean_ratio),
        "p99_to_bound": ratio(it.p99_ratio, bound.p99_ratio),
        "answer_to_ideal": it.answer_ratio,
        "handed_to_busy": it.handed_to_busy,
    }


def _short(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.0f}" if value < 1000 else "≫"
