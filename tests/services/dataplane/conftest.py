"""A data plane on loopback: a real broker, real gateways, real workers each beside a model stand-in."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from holdfast_contract import names, tokens
from holdfast_contract.document import EndpointDocument, Scaling
from holdfast_sandbox import builds
from holdfast_sandbox.paths import default_paths
from holdfast_sandbox.progress import Progress
from holdfast_services.broker import Broker
from holdfast_services.credentials import Login
from pulumi_holdfast.plan import identities
from pulumi_holdfast.plan.system import nats as nats_plan
from pulumi_holdfast.spec.shared import parse_shared

ROOT = Path(__file__).resolve().parents[3]
STANDIN = ROOT / "tests" / "support" / "standin" / "standin.py"
DEADLINE_S = 20.0
TOKEN = tokens.new_token("test0001")
BROKER_SECRET = "a secret for the brokers of tests"
OTHER_TOKEN = tokens.new_token("test0002")


def free_port() -> int:
    """A loopback port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def until(
    condition: Callable[[], Awaitable[Any]],
    what: str,
    *,
    deadline_s: float = DEADLINE_S,
    every_s: float = 0.02,
) -> Any:
    """Wait until the condition is true and return its value; fails the test at the deadline."""
    ends = time.monotonic() + deadline_s
    while True:
        value = await condition()
        if value:
            return value
        if time.monotonic() > ends:
            pytest.fail(f"not within {deadline_s} s: {what}")
        await asyncio.sleep(every_s)


@dataclass
class Process:
    """A process in a group of its own, with its output in a file."""

    argv: list[str]
    log: Path
    env: dict[str, str] = field(default_factory=dict)
    popen: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as out:
            self.popen = subprocess.Popen(
                self.argv, env={**os.environ, **self.env}, stdout=out, stderr=out, start_new_session=True
            )

    @property
    def alive(self) -> bool:
        return self.popen is not None and self.popen.poll() is None

    @property
    def code(self) -> int | None:
        return None if self.popen is None else self.popen.poll()

    def signal(self, number: int) -> None:
        """To the whole group."""
        if self.popen is not None and self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.popen.pid, number)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        if self.popen is not None:
            self.popen.wait()

    def rss_bytes(self) -> int:
        assert self.popen is not None
        pages = int(Path(f"/proc/{self.popen.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize()


@dataclass
class Gateway(Process):
    url: str = ""
    internal_url: str = ""

    def endpoint(self, name: str, path: str = "/") -> str:
        return f"{self.url}/e/{name}{path}"


@dataclass
class Replica:
    """A worker and the model beside it."""

    name: str
    worker: Process
    model: Process
    model_url: str
    worker_url: str
    model_log: Path
    state_dir: Path

    def kill(self) -> None:
        self.worker.kill()
        self.model.kill()

    def executions(self) -> list[dict[str, Any]]:
        """Every begin and end that the model recorded, also those before a crash."""
        if not self.model_log.exists():
            return []
        return [json.loads(line) for line in self.model_log.read_text().splitlines() if line]

    def begun(self) -> list[dict[str, Any]]:
        return [entry for entry in self.executions() if entry["event"] == "begin"]

    async def until_begun(self, number: int, deadline_s: float = DEADLINE_S) -> None:
        """Wait until the model has begun this many executions."""

        async def enough() -> bool:
            return len(self.begun()) >= number

        await until(enough, f"{number} executions begun", deadline_s=deadline_s)

    def peak(self) -> int:
        return max((entry["concurrency"] for entry in self.begun()), default=0)


class Plane:
    """Starts and stops everything; one per test."""

    def __init__(self, folder: Path, nats_server: Path) -> None:
        self.folder = folder
        self.token = TOKEN
        self.documents = folder / "documents"
        self.documents.mkdir()
        self._nats_server = nats_server
        self._processes: list[Process] = []
        self.nats_port = free_port()
        self.nats_url = f"nats://127.0.0.1:{self.nats_port}"
        self.nats: Process = self._nats()
        self.gateway_env: dict[str, str] = {}
        """Of every gateway."""
        self.http: aiohttp.ClientSession
        self.broker: Broker

    @property
    def processes(self) -> tuple[Process, ...]:
        """All that were started, oldest first."""
        return tuple(self._processes)

    def _process(self, process: Process) -> None:
        process.start()
        self._processes.append(process)

    def _nats(self) -> Process:
        config = self.folder / "nats.conf"
        config.write_text(
            f'listen: "127.0.0.1:{self.nats_port}"\n'
            f'jetstream {{ store_dir: "{self.folder}/nats", sync_interval: always }}\n'
        )
        return Process([str(self._nats_server), "-c", str(config)], self.folder / "nats.log")

    async def start(self) -> None:
        self._process(self.nats)
        self.http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=60)
        )
        self.broker = await Broker.connect(self.nats_url, "test")

    async def stop(self) -> None:
        if hasattr(self, "broker"):  # not where the start failed
            await self.broker.close()
        for process in reversed(self._processes):
            process.signal(signal.SIGKILL)
        for process in self._processes:
            process.kill()
        if hasattr(self, "http"):
            await self.http.close()

    def login(self, endpoint: str) -> dict[str, str]:
        """What the workers of an endpoint show the broker; here it asks nobody."""
        return {}

    async def moto(self) -> str:
        """Start the stand-in for S3; its URL."""
        port = free_port()
        argv = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        self._process(Process(argv, self.folder / "moto.log"))
        url = f"http://127.0.0.1:{port}"
        await until(lambda: self.status(f"{url}/moto-api/", 200), "moto answers", deadline_s=60)
        return url

    # --- parts --------------------------------------------------------------------------------------------
    def document(self, name: str = "demo", **fields: Any) -> EndpointDocument:
        """Declare an endpoint; fields of `scaling` may stand beside the others."""
        scaling: dict[str, Any] = {
            "min_replicas": 0,
            "max_replicas": 4,
            "timeout_s": 60,
            "concurrency": 1,
            "max_queue": 1000,
            "startup_budget_s": 60,
            "max_request_s": 60,
        }
        for key in list(fields):
            if key in scaling:
                scaling[key] = fields.pop(key)
        fields.setdefault("tokens", (tokens.hash_token(TOKEN),))
        document = EndpointDocument(
            name=name,
            namespace="holdfast",
            deployment=name,
            image="standin",
            port=8000,
            scaling=Scaling(**scaling),
            **fields,
        )
        temporary = self.documents / f".{name}.tmp"
        temporary.write_text(document.to_json())
        temporary.rename(self.documents / f"{name}.json")
        return document

    async def gateway(self, **env: str) -> Gateway:
        """Start a gateway and wait until it is ready."""
        port, internal = free_port(), free_port()
        process = Gateway(
            [sys.executable, "-m", "holdfast_services.gateway"],
            self.folder / f"gateway-{port}.log",
            {
                names.ENV_NATS_URL: self.nats_url,
                names.ENV_DOCUMENTS_DIR: str(self.documents),
                names.ENV_BIND: "127.0.0.1",
                names.ENV_PORT: str(port),
                names.ENV_INTERNAL_PORT: str(internal),
                names.ENV_POD_IP: "127.0.0.1",
                names.ENV_BASE_URL: f"http://127.0.0.1:{port}",
                names.ENV_LAME_DUCK_S: "0",
                **self.gateway_env,
                **env,
            },
            url=f"http://127.0.0.1:{port}",
            internal_url=f"http://127.0.0.1:{internal}",
        )
        self._process(process)
        await until(lambda: self.status(f"{process.url}/readyz", 200), "gateway ready")
        return process

    async def replica(
        self,
        endpoint: str = "demo",
        *,
        ready: bool = True,
        worker_env: dict[str, str] | None = None,
        argv: tuple[str, ...] = (sys.executable, str(STANDIN)),
        **env: str,
    ) -> Replica:
        """Start a model (the stand-in unless `argv` says another) and its worker; `env` is the model's."""
        model_port, worker_port = free_port(), free_port()
        name = f"{endpoint}-{model_port}"
        state_dir = self.folder / name
        state_dir.mkdir()
        model_log = self.folder / f"{name}.jsonl"
        model = Process(
            list(argv),
            self.folder / f"{name}.model.log",
            {
                "STANDIN_PORT": str(model_port),
                "STANDIN_NAME": name,
                "STANDIN_LOG": str(model_log),
                "HOST": "127.0.0.1",
                "PORT": str(model_port),
                **env,
            },
        )
        worker = Process(
            [sys.executable, "-m", "holdfast_services.worker"],
            self.folder / f"{name}.worker.log",
            {
                names.ENV_NATS_URL: self.nats_url,
                names.ENV_DOCUMENT: str(self.documents / f"{endpoint}.json"),
                names.ENV_MODEL_URL: f"http://127.0.0.1:{model_port}",
                names.ENV_BIND: "127.0.0.1",
                names.ENV_PORT: str(worker_port),
                names.ENV_POD_NAME: name,
                names.ENV_WORKER_STATE_DIR: str(state_dir),
                **self.login(endpoint),
                **(worker_env or {}),
            },
        )
        self._process(model)
        self._process(worker)
        replica = Replica(
            name,
            worker,
            model,
            f"http://127.0.0.1:{model_port}",
            f"http://127.0.0.1:{worker_port}",
            model_log,
            state_dir,
        )
        if ready:
            await until(lambda: self.status(f"{replica.worker_url}/readyz", 200), "worker ready")
        return replica

    # --- asking -------------------------------------------------------------------------------------------
    async def status(self, url: str, wanted: int) -> bool:
        """Whether the URL answers with this status now."""
        try:
            async with self.http.get(url) as answer:
                return answer.status == wanted
        except aiohttp.ClientError:
            return False

    async def until_status(self, url: str, wanted: int) -> None:
        """Wait until the URL answers with this status."""
        await until(lambda: self.status(url, wanted), f"{url} answers {wanted}")

    def post(
        self, url: str, *, token: str | None = TOKEN, headers: dict[str, str] | None = None, **more: Any
    ) -> Any:
        """A POST with a token."""
        sent = dict(headers or {})
        if token is not None:
            sent["authorization"] = f"Bearer {token}"
        return self.http.post(url, headers=sent, **more)

    async def depth(self, endpoint: str = "demo") -> tuple[int, int]:
        """(waiting, running) in the queue."""
        depth = await self.broker.depth(endpoint)
        return (0, 0) if depth is None else (depth.waiting, depth.running)

    async def until_depth(self, waiting: int, running: int, endpoint: str = "demo") -> None:
        """Wait until exactly this many requests wait and run."""

        async def reached() -> bool:
            return await self.depth(endpoint) == (waiting, running)

        await until(reached, f"{waiting} waiting and {running} running of {endpoint}")

    async def until_true(
        self, condition: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S
    ) -> None:
        """Wait until the condition holds."""

        async def holds() -> Any:
            return condition()

        await until(holds, what, deadline_s=deadline_s)

    async def empty(self, endpoint: str = "demo") -> bool:
        return await self.depth(endpoint) == (0, 0)


class ClusterPlane(Plane):
    """The same with three brokers, set up by the very text that the shared stack gives them."""

    previous_secret: str | None = None

    def __init__(self, folder: Path, nats_server: Path) -> None:
        super().__init__(folder, nats_server)
        ports = [free_port() for _ in range(3)]
        self._routes = [free_port() for _ in range(3)]
        self.monitors = [free_port() for _ in range(3)]
        self.nats_url = ",".join(f"nats://127.0.0.1:{port}" for port in ports)
        self.servers = [self._server(index, port) for index, port in enumerate(ports)]
        gateway = self.credentials(identities.GATEWAY, identities.GATEWAY)
        self.gateway_env = {names.ENV_NATS_CREDENTIALS: str(gateway), names.ENV_NATS_REPLICAS: "3"}

    def credentials(self, part: str, name: str, secret: str = BROKER_SECRET) -> Path:
        """A credentials file, made as the stacks make it."""
        path = self.folder / f"{part}-{name}.creds"
        path.write_text(identities.credentials(identities.signing_key(secret, part).seed, name))
        return path

    def login(self, endpoint: str) -> dict[str, str]:
        return {names.ENV_NATS_CREDENTIALS: str(self.credentials(identities.WORKER, endpoint))}

    async def connected(self, part: str, name: str, secret: str = BROKER_SECRET) -> Broker:
        """A connection with the rights of a part."""
        endpoint = name if part == identities.WORKER else None
        login = Login(self.credentials(part, name, secret))
        return await Broker.connect(
            self.nats_url, "test", login=login, inbox=names.inbox_prefix(part, endpoint)
        )

    def _server(self, index: int, port: int) -> Process:
        spec = parse_shared("test", {"services_image": "services:1", "base_url": "http://127.0.0.1"})
        text = nats_plan.configuration(spec)
        # In a pod every server has an address and a disk of its own.
        for planned, here in (
            (f"port: {names.NATS_PORT}\n", f'listen: "127.0.0.1:{port}"\n'),
            (f"http_port: {nats_plan.MONITOR_PORT}\n", f'http: "127.0.0.1:{self.monitors[index]}"\n'),
            (f"  port: {nats_plan.CLUSTER_PORT}\n", f'  listen: "127.0.0.1:{self._routes[index]}"\n'),
            ('store_dir: "/data"', f'store_dir: "{self.folder}/nats-{index}"'),
        ):
            assert text.count(planned) == 1, planned
            text = text.replace(planned, here)
        config = self.folder / f"nats-{index}.conf"
        config.write_text(text)
        routes = [f'"nats-route://cluster:password-of-cluster@127.0.0.1:{route}"' for route in self._routes]
        env = {
            "POD_NAME": f"nats-{index}",
            "OPERATOR": f'"{identities.operator(BROKER_SECRET)}"',
            "ACCOUNTS": identities.accounts(BROKER_SECRET, self.previous_secret),
            "PASSWORD_CLUSTER": "password-of-cluster",
            "ROUTES": f"[{', '.join(routes)}]",
        }
        return Process([str(self._nats_server), "-c", str(config)], self.folder / f"nats-{index}.log", env)

    async def start(self) -> None:
        for server in self.servers:
            self._process(server)
        self.http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=60)
        )
        for index in range(3):
            await self.until_well(index)
        self.broker = await self.connected(identities.GATEWAY, identities.GATEWAY)

    async def until_well(self, index: int) -> None:
        """Wait until a server has caught up with the others."""
        url = f"http://127.0.0.1:{self.monitors[index]}/healthz"
        await until(lambda: self.status(url, 200), f"server {index} is well", deadline_s=60)

    async def leader(self, endpoint: str = "demo") -> Process:
        """The server that leads an endpoint's queue."""
        info = await self.broker.jetstream.stream_info(names.stream_name(endpoint))
        assert info.cluster is not None
        assert info.cluster.leader is not None
        return self.servers[int(info.cluster.leader.rsplit("-", 1)[1])]


@pytest.fixture(scope="session")
def nats_server() -> Path:
    """The broker's binary; built where it is missing."""
    built = builds.ensure(default_paths().cache, Progress(), ["nats"])
    return built["nats"].binaries["nats-server"]


@pytest.fixture
async def plane(tmp_path: Path, nats_server: Path) -> AsyncIterator[Plane]:
    """A broker and nothing else yet."""
    plane = Plane(tmp_path, nats_server)
    try:
        await plane.start()
        yield plane
    finally:
        await plane.stop()


@pytest.fixture
async def three_brokers(tmp_path: Path, nats_server: Path) -> AsyncIterator[ClusterPlane]:
    """Three brokers that keep everything thrice, and nothing else yet."""
    plane = ClusterPlane(tmp_path, nats_server)
    try:
        await plane.start()
        yield plane
    finally:
        await plane.stop()


@pytest.fixture(scope="session")
def scale() -> float:
    """HOLDFAST_PROOF_SCALE multiplies the sizes of the proofs: below 1 for a quick look; 1: as they are stated."""
    return float(os.environ.get("HOLDFAST_PROOF_SCALE", "1"))


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Print a figure of a proof so that it is seen even where the test passes."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def show(text: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"\n  {request.node.name}: {text}", flush=True)

    return show
