"""(e) From 0 replicas: a request, the wake, a replica that starts, the answer; each phase.

Without a cluster a process stands for the pod: the worker is started when the wake is heard, as a native sidecar is,
and the model opens its port after the worker runs. What is ours: until the wake is heard, and from the moment at which
the model listens until the caller is answered. With `--cluster ENDPOINT` the same in Kubernetes.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from nats.aio.msg import Msg

from bench import cluster
from bench.plane import Durability, Plane, open_plane
from bench.ports import free_port
from bench.report import Cell, Table
from bench.statistics import percentile
from holdfast_contract import names

__all__ = ["measure"]

_ENDPOINT: Final = "wake"


async def measure(times: int, cluster_endpoint: str | None, durability: Durability) -> Table:
    """`times`: cold starts with processes; one more in the cluster where an endpoint is named."""
    async with open_plane(durability) as plane:
        plane.document(_ENDPOINT, replicas=1)
        gateway = plane.start_gateway()
        await plane.until_ready([gateway.url])
        await plane.until_known(_ENDPOINT)
        runs = [await _once(plane, gateway.url) for _ in range(times)]
    phases = ("request to wake heard", "wake to worker ready to serve", "model listens to answered", "in all")
    rows: list[tuple[Cell, ...]] = [
        (f"processes: {name}", *_spread([1000 * run[index] for run in runs]))
        for index, name in enumerate(phases)
    ]
    if cluster_endpoint is not None:
        found = await cluster.phases(cluster_endpoint)
        rows += [(f"cluster: {name}", 1000 * seconds, 1000 * seconds, 1) for name, seconds in found.items()]
    return Table(
        key="wake",
        title="From 0 replicas to the answer",
        columns=("phase", "median ms", "worst ms", "times"),
        rows=tuple(rows),
        notes=(
            "The worker's own start is the start of a Python process on a machine that does other things as well.",
            "Aim: replicas patched ≤ 50 ms after the request, ≤ 100 ms of ours between Ready and answered, "
            "answered within 1.0 s for a model that starts at once (Knative 0.96 s, KEDA http-add-on 1.87 s).",
        ),
    )


async def _once(plane: Plane, url: str) -> tuple[float, float, float, float]:
    """Seconds of each phase."""
    woken: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    async def on_wake(_: Msg) -> None:
        if not woken.done():
            woken.set_result(time.monotonic())

    subscription = await plane.broker.subscribe(names.wake_subject(_ENDPOINT), on_wake)
    await plane.broker.client.flush()
    port = free_port()
    sent = time.monotonic()
    asked = asyncio.create_task(_ask(plane, f"{url}/e/{_ENDPOINT}/"))
    async with asyncio.timeout(30):
        heard = await woken
    worker = plane.start_worker(_ENDPOINT, port)
    await asyncio.to_thread(worker.process.wait_listening, int(worker.url.rpartition(":")[2]))
    worker_up = time.monotonic()
    model = plane.start_model_at(port)
    async with asyncio.timeout(30):
        answered = await asked
    listens = float(model.log.read_text().split()[1])
    await subscription.unsubscribe()
    await plane.until_empty(_ENDPOINT)  # the acknowledgement follows the answer
    model.kill()
    worker.process.kill()
    return heard - sent, worker_up - heard, answered - listens, answered - sent


async def _ask(plane: Plane, url: str) -> float:
    async with plane.http.post(url, data=b"{}", headers={"authorization": f"Bearer {plane.token}"}) as answer:
        text = await answer.text()
        if answer.status != 200:
            raise RuntimeError(f"{url} answered {answer.status}: {text[:300]}")
        return time.monotonic()


def _spread(values: list[float]) -> tuple[float, float, int]:
    return percentile(values, 0.5), max(values), len(values)
