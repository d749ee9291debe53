"""A data plane on loopback for benchmarks: broker, gateways, workers and models, all real processes.

The broker has the settings of the shared stack unless a benchmark asks for others: file storage, every write
synchronised to disk before it is acknowledged; here one server by default.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

from bench.ports import free_port
from bench.processes import Process, Processes
from holdfast_contract import names, tokens
from holdfast_contract.document import EndpointDocument, Scaling
from holdfast_sandbox import builds
from holdfast_sandbox.paths import default_paths
from holdfast_sandbox.progress import Progress
from holdfast_services.broker import Broker, BrokerError, Depth

__all__ = ["Durability", "Gateway", "Models", "Plane", "Worker", "open_plane"]

READY_S: Final = 60.0
"""How long parts may take to be ready: many start at once on few cores."""


@dataclass(frozen=True, slots=True)
class Durability:
    """How the broker keeps what it acknowledges."""

    servers: int = 1
    """1 or 3; each message is kept by all of them."""
    sync_interval: str = "10ms"
    """`10ms`, as the shared stack has it for one server (decision 0006): a loss of power, and that alone, may take
    what was acknowledged within that time; a killed broker loses nothing. `always`, as it has it for three: on disk
    before it is acknowledged."""

    def __str__(self) -> str:
        count = "1 server" if self.servers == 1 else f"{self.servers} servers"
        return f"{count}, sync {self.sync_interval}"


@dataclass(frozen=True, slots=True)
class Models:
    """Models of one process; one port each."""

    process: Process
    ports: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway's process and where it listens."""

    process: Process
    url: str
    internal_url: str


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker's process and where its health is asked for."""

    process: Process
    url: str


class Plane:
    """Starts parts; they end with `open_plane`'s block."""

    def __init__(
        self, folder: Path, processes: Processes, http: aiohttp.ClientSession, durability: Durability
    ) -> None:
        self.folder = folder
        self.token = tokens.new_token("bench001")
        self.processes = processes
        self.http = http
        self.documents = folder / "documents"
        self.documents.mkdir()
        self.gateways: list[Gateway] = []
        self.workers: list[Worker] = []
        self._durability = durability
        self._nats_ports = [free_port() for _ in range(durability.servers)]
        self.nats_url = ",".join(f"nats://127.0.0.1:{port}" for port in self._nats_ports)
        self.nats = self._start_nats()
        self.broker: Broker
        """A connection of the benchmark's own."""

    def _start_nats(self) -> list[Process]:
        built = builds.ensure(default_paths().cache, Progress(), ["nats"])
        program = str(built["nats"].binaries["nats-server"])
        routes = [free_port() for _ in self._nats_ports]
        started = []
        for number, port in enumerate(self._nats_ports):
            config = self.folder / f"nats-{number}.conf"
            config.write_text(
                f'server_name: "nats-{number}"\nlisten: "127.0.0.1:{port}"\n'
                f'jetstream {{ store_dir: "{self.folder}/jetstream-{number}", '
                f'sync_interval: "{self._durability.sync_interval}" }}\n'
            )
            if len(routes) > 1:
                others = ", ".join(f'"nats://127.0.0.1:{route}"' for route in routes)
                with config.open("a") as file:
                    file.write(
                        f'cluster {{ name: "bench", listen: "127.0.0.1:{routes[number]}", routes: [{others}] }}\n'
                    )
            process = Process([program, "-c", str(config)], self.folder / f"nats-{number}.log")
            started.append(self.processes.add(process))
        return started

    async def wait_broker(self) -> None:
        """Return when all servers listen."""
        for process, port in zip(self.nats, self._nats_ports, strict=True):
            await asyncio.to_thread(process.wait_listening, port)

    def document(self, name: str, *, replicas: int, concurrency: int = 1, max_queue: int = 20_000) -> None:
        """Declare an endpoint, or declare it anew."""
        document = EndpointDocument(
            name=name,
            namespace=names.ENDPOINTS_NAMESPACE,
            deployment=name,
            image="bench",
            port=8000,
            health_check_path="/healthcheck",
            tokens=(tokens.hash_token(self.token),),
            scaling=Scaling(
                min_replicas=0,
                max_replicas=replicas,
                timeout_s=60,
                concurrency=concurrency,
                max_queue=max_queue,
                startup_budget_s=600,
                max_request_s=600,
            ),
        )
        hidden = self.documents / f".{name}.tmp"
        hidden.write_text(document.to_json())
        hidden.rename(self.documents / f"{name}.json")

    def start_gateway(self, log_level: str = "info") -> Gateway:
        """Start a gateway, with its log as in production."""
        port, internal = free_port(), free_port()
        env = {
            names.ENV_NATS_URL: self.nats_url,
            names.ENV_NATS_REPLICAS: str(self._durability.servers),
            names.ENV_DOCUMENTS_DIR: str(self.documents),
            names.ENV_BIND: "127.0.0.1",
            names.ENV_PORT: str(port),
            names.ENV_INTERNAL_PORT: str(internal),
            names.ENV_POD_IP: "127.0.0.1",
            names.ENV_BASE_URL: f"http://127.0.0.1:{port}",
            names.ENV_LAME_DUCK_S: "0",
            names.ENV_LOG_LEVEL: log_level,
        }
        argv = [sys.executable, "-m", "holdfast_services.gateway"]
        process = self.processes.add(Process(argv, self.folder / f"gateway-{port}.log", env))
        gateway = Gateway(process, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{internal}")
        self.gateways.append(gateway)
        return gateway

    def start_models(self, count: int, slots: int = 1) -> Models:
        """Start `count` models in one process, and wait until they listen."""
        ports = [free_port() for _ in range(count)]
        argv = [sys.executable, "-m", "bench.model", "--slots", str(slots), *map(str, ports)]
        process = self.processes.add(Process(argv, self.folder / f"models-{ports[0]}.log"))
        process.wait_listening(ports[-1])
        return Models(process, tuple(ports))

    def start_model_at(self, port: int) -> Process:
        """Start one model on this port."""
        argv = [sys.executable, "-m", "bench.model", str(port)]
        return self.processes.add(Process(argv, self.folder / f"model-{port}.log"))

    def start_worker(self, endpoint: str, model_port: int) -> Worker:
        """Start the worker beside one model."""
        port = free_port()
        name = f"{endpoint}-{model_port}"
        state = self.folder / f"state-{name}"
        state.mkdir(exist_ok=True)
        env = {
            names.ENV_NATS_URL: self.nats_url,
            names.ENV_DOCUMENT: str(self.documents / f"{endpoint}.json"),
            names.ENV_MODEL_URL: f"http://127.0.0.1:{model_port}",
            names.ENV_BIND: "127.0.0.1",
            names.ENV_PORT: str(port),
            names.ENV_POD_NAME: name,
            names.ENV_WORKER_STATE_DIR: str(state),
        }
        argv = [sys.executable, "-m", "holdfast_services.worker"]
        process = self.processes.add(Process(argv, self.folder / f"worker-{name}.log", env))
        worker = Worker(process, f"http://127.0.0.1:{port}")
        self.workers.append(worker)
        return worker

    async def until_ready(self, urls: list[str], within_s: float = READY_S) -> None:
        """Return when `/readyz` of all these listeners answers 200. Raises TimeoutError."""
        ends = time.monotonic() + within_s
        for url in urls:
            while not await self._ready(url):
                if time.monotonic() > ends:
                    raise TimeoutError(f"{url} is not ready after {within_s} s")
                await asyncio.sleep(0.05)

    async def _ready(self, url: str) -> bool:
        try:
            async with self.http.get(f"{url}/readyz", timeout=aiohttp.ClientTimeout(total=2)) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def until_known(self, endpoint: str, within_s: float = READY_S) -> None:
        """Return when every gateway serves the endpoint and its queue exists."""
        ends = time.monotonic() + within_s
        while await self._depth(endpoint) is None:
            if time.monotonic() > ends:
                raise TimeoutError(f"endpoint {endpoint} has no queue after {within_s} s")
            await asyncio.sleep(0.05)
        for gateway in self.gateways:
            while not await self._known(gateway, endpoint):
                if time.monotonic() > ends:
                    raise TimeoutError(f"{gateway.url} does not know {endpoint} after {within_s} s")
                await asyncio.sleep(0.05)

    async def _depth(self, endpoint: str) -> Depth | None:
        try:
            return await self.broker.depth(endpoint)
        except BrokerError:
            return None  # three servers have just started and are electing

    async def _known(self, gateway: Gateway, endpoint: str) -> bool:
        # Without a token: 401 where the endpoint is known, 404 where it is not.
        async with self.http.post(f"{gateway.url}/e/{endpoint}/") as answer:
            return answer.status == 401

    async def until_empty(self, endpoint: str, within_s: float = READY_S) -> None:
        """Return when nothing waits or runs. Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            while True:
                depth = await self.broker.depth(endpoint)
                if depth is None or depth.demand == 0:
                    return
                await asyncio.sleep(0.05)


@asynccontextmanager
async def open_plane(durability: Durability = Durability()) -> AsyncIterator[Plane]:
    """A broker and nothing else yet; everything that is started within the block is ended with it."""
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as folder, Processes() as processes:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http:
            plane = Plane(Path(folder), processes, http, durability)
            await plane.wait_broker()
            plane.broker = await Broker.connect(plane.nats_url, "bench")
            try:
                yield plane
            finally:
                await plane.broker.close()
