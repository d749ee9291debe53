"""(a) Time added per request against calling the model itself, at low load over kept connections."""

from __future__ import annotations

import asyncio
import time

from bench import haproxy, load
from bench.plane import Durability, Plane, open_plane
from bench.report import Cell, Table
from bench.statistics import Summary, summarise

__all__ = ["measure"]

_ENDPOINT = "added"
_PAUSE_S = 0.005
"""Between requests: the model has long been free again."""
_WARM_UP = 50


async def measure(count: int, durability: Durability) -> Table:
    """`count` requests each way, alternating, so that a noisy moment meets all alike."""
    async with open_plane(durability) as plane:
        senders = await _senders(plane)
        took: dict[str, list[float]] = {name: [] for name in senders}
        with load.without_collector():
            for number in range(count + _WARM_UP):
                for name, send in senders.items():
                    sample = await send(0.0)
                    if number >= _WARM_UP:
                        took[name].append(1000 * (sample.answered - sample.sent))
                    await asyncio.sleep(_PAUSE_S)
    base = summarise(took["direct"])
    return Table(
        key="added",
        title="Time added per request at low load",
        columns=("way", "p50 ms", "p99 ms", "added p50 ms", "added p99 ms", "requests"),
        rows=tuple(_row(name, summarise(values), base) for name, values in took.items()),
        notes=("baseline: `direct`, the same client calling the model. Aim: ≤ 1.5 ms p50, ≤ 4 ms p99.",),
    )


async def _senders(plane: Plane) -> dict[str, load.Sender]:
    models = plane.start_models(1)
    plane.document(_ENDPOINT, replicas=1)
    gateway = plane.start_gateway()
    await plane.until_ready([gateway.url])
    await plane.until_known(_ENDPOINT)
    worker = plane.start_worker(_ENDPOINT, models.ports[0])
    await plane.until_ready([worker.url])
    senders = {"direct": load.direct(plane.http, models.ports[0])}
    if haproxy.find():
        ways = haproxy.start(
            plane.folder, plane.processes, {_ENDPOINT: models.ports}, count=1, balance="leastconn"
        )
        senders["HAProxy, 1 process"] = load.to_urls(plane.http, [f"{ways[0][1]}/e/{_ENDPOINT}/"])
    senders["holdfast"] = load.to_urls(plane.http, [f"{gateway.url}/e/{_ENDPOINT}/"], plane.token)
    # The worker pulls as soon as it is ready; the first request would wait for that.
    ends = time.monotonic() + 10
    while (depth := await plane.broker.depth(_ENDPOINT)) is None or depth.pulls == 0:
        if time.monotonic() > ends:
            raise TimeoutError("the worker does not pull")
        await asyncio.sleep(0.05)
    return senders


def _row(name: str, it: Summary, base: Summary) -> tuple[Cell, ...]:
    return (name, it.p50, it.p99, it.p50 - base.p50, it.p99 - base.p99, it.count)
