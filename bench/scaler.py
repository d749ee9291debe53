"""(f) The scaler with 10, 100 and 1,000 endpoints: processor time at rest, and reaction time.

    python -m bench.scaler [--seconds 10]

A broker, one scaler process, and a client that asks as KEDA does: one stream per endpoint, and GetMetrics and
IsActive of every endpoint every 5 seconds. `at rest` means that nothing is requested; `a tenth busy` that every
tenth endpoint has a request running. Reaction is from the publication of the wake to the stream's `true`.
The scaler gets its documents once, for reading a thousand files five times a second is no part of it: in a cluster
they come by a watch.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import grpc.aio
import psutil

from bench.ports import free_port
from holdfast_contract import names
from holdfast_contract.autoscaling import KEDA_POLLING_INTERVAL_S, METRIC_NAME, TRIGGER_ENDPOINT
from holdfast_contract.document import EndpointDocument, Scaling
from holdfast_sandbox import builds
from holdfast_sandbox.paths import default_paths
from holdfast_sandbox.progress import Progress
from holdfast_services.broker import Broker
from holdfast_services.documents import Snapshot
from holdfast_services.scaler.app import Listen, run
from holdfast_services.scaler.protocol import externalscaler_pb2 as wire
from holdfast_services.scaler.protocol.externalscaler_pb2_grpc import ExternalScalerStub

COUNTS = (10, 100, 1000)
WAKES = 50
TIMEOUT_S = 3600
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Row:
    """The figures of one number of endpoints."""

    endpoints: int
    rest_cores: float
    """Processor seconds a second of the scaler while nothing is requested."""
    busy_cores: float
    """The same while every tenth endpoint has a request running."""
    broker_cores: float
    """The broker's, at rest."""
    memory_mib: float
    reaction_p50_ms: float
    reaction_worst_ms: float
    answer_p99_ms: float
    """GetMetrics and IsActive, at rest."""


def measure(seconds: float, counts: Sequence[int] = COUNTS) -> list[Row]:
    """A row for each number of endpoints; `seconds`: how long each state is observed."""
    return [asyncio.run(_measure(count, seconds)) for count in counts]


def table(rows: list[Row]) -> str:
    """The rows for people."""
    head = "endpoints  at rest  a tenth busy  broker  memory  reaction p50 / worst   answer p99"
    lines = [
        f"{row.endpoints:9}  {row.rest_cores:5.3f} c  {row.busy_cores:10.3f} c  {row.broker_cores:4.3f} c"
        f"  {row.memory_mib:3.0f} MiB  {row.reaction_p50_ms:6.1f} / {row.reaction_worst_ms:.1f} ms"
        f"  {row.answer_p99_ms:11.1f} ms"
        for row in rows
    ]
    return "\n".join(["scaler: processor time in cores", head, *lines])


async def _measure(count: int, seconds: float) -> Row:
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as scratch, _broker(scratch) as (nats, url):
        broker = await Broker.connect(url, "bench")
        await broker.ensure_buckets(1)
        documents = _documents(count)
        for document in documents.values():
            await broker.ensure_queue(document, 1)
        with _scaler(url, count) as (scaler, address):
            async with grpc.aio.insecure_channel(address) as channel:
                try:
                    return await _observe(Keda(channel, list(documents)), broker, scaler, nats, seconds)
                finally:
                    await broker.close()


async def _observe(
    keda: Keda, broker: Broker, scaler: psutil.Process, nats: psutil.Process, seconds: float
) -> Row:
    async with asyncio.TaskGroup() as tasks:
        everything = tasks.create_task(keda.run())
        await keda.warm()
        rest, broker_rest = await _cores(seconds, scaler, nats)
        answer_p99_ms = 1000 * statistics.quantiles(keda.took_s, n=100)[98]
        reactions = []
        for name in random.Random(1).sample(keda.endpoints, min(WAKES, len(keda.endpoints))):
            sent = time.monotonic()
            await broker.enqueue(name, "r", b"{}", "{}")
            await broker.publish(names.wake_subject(name))
            reactions.append(1000 * (await keda.woken(name) - sent))
        memory_mib = scaler.memory_info().rss / 2**20
        for name in keda.endpoints[::10]:
            with suppress(Exception):
                await broker.enqueue(name, "busy", b"{}", "{}")
            await broker.publish(names.wake_subject(name))
        busy, _ = await _cores(seconds, scaler, nats)
        everything.cancel()
    return Row(
        endpoints=len(keda.endpoints),
        rest_cores=rest,
        busy_cores=busy,
        broker_cores=broker_rest,
        memory_mib=memory_mib,
        reaction_p50_ms=statistics.median(reactions),
        reaction_worst_ms=max(reactions),
        answer_p99_ms=answer_p99_ms,
    )


class Keda:
    """Streams and questions, as one KEDA operator has them: over one connection."""

    def __init__(self, channel: grpc.aio.Channel, endpoints: list[str]) -> None:
        self.endpoints = endpoints
        self.took_s: list[float] = []
        self._stub = ExternalScalerStub(channel)
        self._true: dict[str, asyncio.Future[float]] = {}
        self._asked: set[str] = set()
        self._all_asked = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        self._true = {name: loop.create_future() for name in self.endpoints}
        async with asyncio.TaskGroup() as tasks:
            for number, name in enumerate(self.endpoints):
                tasks.create_task(self._stream(name))
                tasks.create_task(self._poll(name, KEDA_POLLING_INTERVAL_S * number / len(self.endpoints)))

    async def warm(self) -> None:
        """Return when every endpoint was asked for once, and the first second after that is over."""
        await self._all_asked.wait()
        await asyncio.sleep(1)
        self.took_s.clear()

    async def woken(self, endpoint: str) -> float:
        """The moment of the endpoint's first `true`. Raises TimeoutError after 10 seconds."""
        async with asyncio.timeout(10):
            return await asyncio.shield(self._true[endpoint])

    async def _stream(self, name: str) -> None:
        async for _ in self._stub.StreamIsActive(_reference(name)):
            if not self._true[name].done():
                self._true[name].set_result(time.monotonic())

    async def _poll(self, name: str, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        metrics = wire.GetMetricsRequest(scaledObjectRef=_reference(name), metricName=METRIC_NAME)
        while True:
            began = time.monotonic()
            await self._stub.GetMetrics(metrics)
            between = time.monotonic()
            await self._stub.IsActive(metrics.scaledObjectRef)
            self.took_s += [between - began, time.monotonic() - between]
            self._asked.add(name)
            if len(self._asked) == len(self.endpoints):
                self._all_asked.set()
            await asyncio.sleep(KEDA_POLLING_INTERVAL_S)


def _reference(endpoint: str) -> wire.ScaledObjectRef:
    return wire.ScaledObjectRef(
        name=endpoint, namespace="holdfast", scalerMetadata={TRIGGER_ENDPOINT: endpoint}
    )


def _documents(count: int) -> dict[str, EndpointDocument]:
    scaling = Scaling(
        min_replicas=0,
        max_replicas=4,
        timeout_s=TIMEOUT_S,
        concurrency=1,
        max_queue=100,
        startup_budget_s=60,
        max_request_s=60,
    )
    return {
        name: EndpointDocument(
            name=name,
            namespace="holdfast",
            deployment=name,
            image="registry.example/x:1",
            port=80,
            scaling=scaling,
        )
        for name in (f"e{number}" for number in range(count))
    }


class _Once:
    """Documents that never change."""

    def __init__(self, documents: dict[str, EndpointDocument]) -> None:
        self._documents = documents

    async def snapshots(self) -> AsyncIterator[Snapshot]:
        yield self._documents
        await asyncio.Event().wait()


def _serve(url: str, count: int, grpc_port: int) -> None:
    """The measured process: the scaler as it runs in a cluster, but for its documents."""
    listen = Listen(host="127.0.0.1", grpc_port=grpc_port, http_port=free_port())
    asyncio.run(run(lambda: Broker.connect(url, "holdfast-scaler"), _Once(_documents(count)), listen))


async def _cores(seconds: float, *processes: psutil.Process) -> list[float]:
    def spent(process: psutil.Process) -> float:
        times = process.cpu_times()
        return float(times.user + times.system)

    before, began = [spent(process) for process in processes], time.monotonic()
    await asyncio.sleep(seconds)
    passed = time.monotonic() - began
    return [(spent(process) - start) / passed for process, start in zip(processes, before, strict=True)]


@contextmanager
def _broker(folder: str) -> Iterator[tuple[psutil.Process, str]]:
    server = builds.ensure(default_paths().cache, Progress(), ["nats"])["nats"].binaries["nats-server"]
    port = free_port()
    argv = [str(server), "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", f"{folder}/jetstream"]
    with _process(argv, port) as process:
        yield process, f"nats://127.0.0.1:{port}"


@contextmanager
def _scaler(url: str, count: int) -> Iterator[tuple[psutil.Process, str]]:
    port = free_port()
    with _process(
        [sys.executable, "-m", "bench.scaler", "--serve", url, str(count), str(port)], port
    ) as process:
        yield process, f"127.0.0.1:{port}"


@contextmanager
def _process(argv: list[str], port: int) -> Iterator[psutil.Process]:
    """A process that listens on `port`; ended with all of its group afterwards."""
    running = subprocess.Popen(
        argv,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        ends = time.monotonic() + 30
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if running.poll() is not None or time.monotonic() > ends:
                raise RuntimeError(f"{argv[0]} does not listen on port {port}")
            time.sleep(0.05)
        yield psutil.Process(running.pid)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10, help="how long each state is observed")
    parser.add_argument("--serve", nargs=3, metavar=("URL", "COUNT", "PORT"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        url, count, port = given.serve
        _serve(url, int(count), int(port))
    else:
        print(table(measure(given.seconds)))


if __name__ == "__main__":
    main()
