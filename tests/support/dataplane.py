"""A data plane on loopback: a real broker, real gateways, real workers each beside a model stand-in."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from bench.ports import free_port
from documents import endpoint_document
from waiting import DEADLINE_S, until

from holdfast_contract import names, tokens
from holdfast_contract.document import EndpointDocument
from holdfast_services.broker import Broker

ROOT = Path(__file__).resolve().parents[2]
STANDIN = ROOT / "tests" / "support" / "standin" / "standin.py"
TOKEN = tokens.new_token("test0001")
BROKER_SECRET = "a secret for the brokers of tests"
OTHER_TOKEN = tokens.new_token("test0002")


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
        fields.setdefault("tokens", (tokens.hash_token(TOKEN),))
        document = endpoint_document(name, **{"max_replicas": 4, "max_queue": 1000, **fields})
        temporary = self.documents / f".{name}.tmp"
        temporary.write_text(document.to_json())
        temporary.rename(self.documents / f"{name}.json")
        return document

    async def gateway(self, **env: str) -> Gateway:
        """Start a gateway and wait until it is ready."""
        port, internal = free_port(), free_port()
        scheme = "https" if names.ENV_TLS_CERTIFICATE_FILE in env else "http"
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
                names.ENV_BASE_URL: f"{scheme}://127.0.0.1:{port}",
                names.ENV_LAME_DUCK_S: "0",
                **self.gateway_env,
                **env,
            },
            url=f"{scheme}://127.0.0.1:{port}",
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
        """Whether the URL answers with this status now, whoever its certificate is from."""
        try:
            async with self.http.get(url, ssl=False) as answer:
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


async def ask(
    plane: Plane, url: str, *, method: str = "POST", token: str | None = "", **more: Any
) -> tuple[int, Mapping[str, str], bytes]:
    """Status, headers and body. `token`: empty: the endpoint's; None: none."""
    headers = dict(more.pop("headers", {}))
    if token is not None:
        headers["authorization"] = f"Bearer {token or plane.token}"
    async with plane.http.request(method, url, headers=headers, **more) as answer:
        return answer.status, answer.headers, await answer.read()
