"""A real broker, real scaler processes, and a client that plays gateway and KEDA."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc.aio
import pytest
from bench.ports import free_port
from documents import endpoint_document
from waiting import DEADLINE_S, until

from holdfast_contract import names
from holdfast_contract.autoscaling import METRIC_NAME, TRIGGER_ENDPOINT, TRIGGER_TOLERANCE
from holdfast_contract.document import EndpointDocument, EndpointState
from holdfast_sandbox import builds
from holdfast_sandbox.paths import default_paths
from holdfast_sandbox.progress import Progress
from holdfast_services.broker import Broker
from holdfast_services.credentials import Login
from holdfast_services.scaler.protocol import externalscaler_pb2 as wire
from holdfast_services.scaler.protocol.externalscaler_pb2_grpc import ExternalScalerStub


@dataclass
class Process:
    """A process in a group of its own, with its output in a file."""

    argv: list[str]
    log: Path
    env: dict[str, str] = field(default_factory=dict)
    _running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as out:
            self._running = subprocess.Popen(
                self.argv, env={**os.environ, **self.env}, stdout=out, stderr=out, start_new_session=True
            )

    @property
    def pid(self) -> int:
        assert self._running is not None
        return self._running.pid

    @property
    def ended(self) -> bool:
        return self._running is None or self._running.poll() is not None

    @property
    def code(self) -> int | None:
        return self._running.poll() if self._running else None

    def signal(self, number: int) -> None:
        if not self.ended:
            os.killpg(self.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        if self._running is not None:
            self._running.wait(10)


@dataclass
class Nats:
    """A broker with a fixed port and directory, so that it can be killed and come back."""

    process: Process
    port: int

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.process.start()
        ends = time.monotonic() + DEADLINE_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            if time.monotonic() > ends or self.process.ended:
                pytest.fail(f"the broker did not start:\n{self.process.log.read_text()}")
            time.sleep(0.02)


@dataclass
class Keda:
    """Asks as KEDA does."""

    channel: grpc.aio.Channel
    stub: ExternalScalerStub

    @staticmethod
    def reference(endpoint: str, **metadata: str) -> wire.ScaledObjectRef:
        return wire.ScaledObjectRef(
            name=endpoint, namespace="holdfast", scalerMetadata={TRIGGER_ENDPOINT: endpoint, **metadata}
        )

    async def is_active(self, endpoint: str) -> bool:
        return (await self.stub.IsActive(self.reference(endpoint), timeout=10)).result

    async def metric(self, endpoint: str, tolerance: str | None = None) -> float:
        metadata = {TRIGGER_TOLERANCE: tolerance} if tolerance is not None else {}
        request = wire.GetMetricsRequest(
            scaledObjectRef=self.reference(endpoint, **metadata), metricName=METRIC_NAME
        )
        answer = await self.stub.GetMetrics(request, timeout=10)
        assert [value.metricName for value in answer.metricValues] == [METRIC_NAME]
        return answer.metricValues[0].metricValueFloat

    async def refusal(self, call: object) -> grpc.aio.AioRpcError:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call  # type: ignore[misc]
        return raised.value

    def stream(self, endpoint: str) -> Stream:
        return Stream(self.stub.StreamIsActive(self.reference(endpoint)))


class Stream:
    """An open StreamIsActive: when it said what, and how it ended."""

    def __init__(self, call: grpc.aio.UnaryStreamCall[wire.ScaledObjectRef, wire.IsActiveResponse]) -> None:
        self.said: list[tuple[float, bool]] = []
        self.code: grpc.StatusCode | None = None
        self._call = call
        self._task = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        try:
            async for answer in self._call:
                self.said.append((time.monotonic(), answer.result))
        except grpc.aio.AioRpcError:
            pass
        self.code = await self._call.code()

    async def close(self) -> None:
        self._call.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task


@dataclass
class Scaler:
    """A scaler process."""

    process: Process
    grpc_port: int
    http_port: int

    def get(self, path: str) -> tuple[int, str]:
        """Status and text; status 0: it does not listen."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def figure(self, line: str) -> float:
        """The value of one metric, by the beginning of its line; 0 where there is none yet."""
        for candidate in self.get("/metrics")[1].splitlines():
            if candidate.startswith(line):
                return float(candidate.rsplit(" ", 1)[1])
        return 0.0


@dataclass
class World:
    """Broker, documents, and as many scalers and clients as a test asks for."""

    nats: Nats
    folder: Path
    broker: Broker
    scalers: list[Scaler] = field(default_factory=list)
    channels: list[grpc.aio.Channel] = field(default_factory=list)

    async def declare(self, *documents: EndpointDocument, queue: bool = True) -> None:
        """Write the documents, and the queues as a gateway makes them."""
        for document in documents:
            if queue:
                await self.broker.ensure_queue(document, 1)
            temporary = self.folder / "documents" / f"{document.name}.tmp"
            temporary.write_text(document.to_json())
            temporary.rename(temporary.with_suffix(".json"))

    def withdraw(self, endpoint: str) -> None:
        """Remove a document."""
        (self.folder / "documents" / f"{endpoint}.json").unlink()

    async def scaler(self, *, ready: bool = True, **environment: str) -> Scaler:
        """Start a scaler."""
        grpc_port, http_port = free_port(), free_port()
        env = {
            names.ENV_NATS_URL: self.nats.url,
            names.ENV_DOCUMENTS_DIR: str(self.folder / "documents"),
            names.ENV_BIND: "127.0.0.1",
            names.ENV_PORT: str(grpc_port),
            names.ENV_INTERNAL_PORT: str(http_port),
            **environment,
        }
        log = self.folder / f"scaler{len(self.scalers)}.log"
        process = Process([sys.executable, "-m", "holdfast_services.scaler"], log, env)
        scaler = Scaler(process, grpc_port, http_port)
        self.scalers.append(scaler)
        process.start()
        if ready:
            await until(lambda: scaler.get("/readyz")[0] == 200 or process.ended, "the scaler is ready")
            assert not process.ended, log.read_text()
        return scaler

    def keda(self, scaler: Scaler) -> Keda:
        """A client with a connection of its own."""
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{scaler.grpc_port}")
        self.channels.append(channel)
        return Keda(channel, ExternalScalerStub(channel))

    async def accept(self, endpoint: str, request_id: str, *, wake: bool = True) -> float:
        """Queue a request as a gateway does. Returns the moment before the wake."""
        await self.broker.enqueue(endpoint, request_id, b"{}", "{}")
        await self.broker.touch_activity(endpoint, time.time())
        sent = time.monotonic()
        if wake:
            await self.broker.publish(names.wake_subject(endpoint))
            await self.broker.client.flush()
        return sent

    async def finish(self, endpoint: str) -> None:
        """Take one request and settle it, as a worker does."""
        subscription = await self.broker.jetstream.pull_subscribe_bind(
            names.CONSUMER, names.stream_name(endpoint)
        )
        for message in await subscription.fetch(1, timeout=5):
            await message.ack_sync()
        await subscription.unsubscribe()


@pytest.fixture(scope="session")
def nats_server() -> Path:
    """The broker's program, built once."""
    return builds.ensure(default_paths().cache, Progress(), ["nats"])["nats"].binaries["nats-server"]


@contextlib.contextmanager
def running_nats(program: Path, folder: Path, *options: str) -> Iterator[Nats]:
    """A broker that keeps its data in `folder`."""
    port = free_port()
    argv = [
        str(program),
        "-a",
        "127.0.0.1",
        "-p",
        str(port),
        "-js",
        "-sd",
        str(folder / "jetstream"),
        *options,
    ]
    server = Nats(Process(argv, folder / "nats.log"), port)
    server.start()
    try:
        yield server
    finally:
        server.process.kill()


@contextlib.asynccontextmanager
async def made_world(nats: Nats, folder: Path, login: Login | None = None) -> AsyncIterator[World]:
    """A broker with its buckets, and no scaler yet."""
    (folder / "documents").mkdir()
    broker = await Broker.connect(nats.url, "test", login=login)
    await broker.ensure_buckets(1)
    world = World(nats, folder, broker)
    try:
        yield world
    finally:
        for scaler in world.scalers:
            scaler.process.kill()
        for channel in world.channels:
            await channel.close(None)
        await broker.close()


@pytest.fixture
async def world(nats_server: Path, tmp_path: Path) -> AsyncIterator[World]:
    """Everything but scalers."""
    with running_nats(nats_server, tmp_path) as nats:
        async with made_world(nats, tmp_path) as world:
            yield world


@pytest.fixture
async def locked_world(nats_server: Path, tmp_path: Path) -> AsyncIterator[World]:
    """The same with a broker that wants a password."""
    settings = tmp_path / "nats.conf"
    settings.write_text('authorization { users: [ { user: "system", password: "right" } ] }')
    with running_nats(nats_server, tmp_path, "-c", str(settings)) as nats:
        async with made_world(nats, tmp_path, Login(user="system", password="right")) as world:
            yield world


@pytest.fixture
def document() -> Callable[..., EndpointDocument]:
    """Makes endpoint documents."""

    def make(name: str = "chat", *, paused: bool = False, **scaling: int) -> EndpointDocument:
        state = EndpointState.PAUSED if paused else EndpointState.ACTIVE
        return endpoint_document(name, state=state, **{"max_replicas": 20, "max_queue": 100, **scaling})

    return make
