"""The data plane with three brokers that keep everything thrice."""

from __future__ import annotations

from pathlib import Path

import aiohttp
from bench.ports import free_port
from dataplane import (
    BROKER_SECRET,
    Plane,
    Process,
)
from waiting import until

from holdfast_contract import names
from holdfast_services.broker import Broker
from holdfast_services.credentials import Login
from pulumi_holdfast.plan import identities
from pulumi_holdfast.plan.system import nats as nats_plan
from pulumi_holdfast.spec.shared import parse_shared


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
