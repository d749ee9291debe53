"""`python -m holdfast_services.gateway`: reads the environment, assembles the gateway, runs it until SIGTERM."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import uvicorn
import uvloop

from holdfast_contract import names, problems
from holdfast_services.bodies import Bodies
from holdfast_services.broker import Broker
from holdfast_services.documents import DirectoryDocuments, DocumentSource, KubernetesDocuments
from holdfast_services.gateway.activity import Activity
from holdfast_services.gateway.app import InternalApp, PublicApp
from holdfast_services.gateway.catalog import Catalog
from holdfast_services.gateway.cluster import ClusterReplicas
from holdfast_services.gateway.coldstart import ColdStarts
from holdfast_services.gateway.core.estimate import ServiceTimes
from holdfast_services.gateway.core.ratelimit import RateLimiter
from holdfast_services.gateway.core.refusal import Refusal
from holdfast_services.gateway.held import HeldRequests, ReplySigner
from holdfast_services.gateway.http_protocol import BoundedHttp
from holdfast_services.gateway.metrics import Metrics
from holdfast_services.gateway.pages import Pages
from holdfast_services.gateway.replicas import NoReplicaView, ReplicaView
from holdfast_services.gateway.replies import Replies
from holdfast_services.gateway.serve import Parts, Server
from holdfast_services.kube import Cluster
from holdfast_services.logs import Log, configure

_log = Log("gateway")
_KEEP_ALIVE_S: Final = 75
"""Longer than any usual load balancer or client keeps an idle connection, so that they close first."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that the environment says."""

    nats_url: str
    nats_user: str | None
    nats_password: str | None = field(repr=False)
    nats_replicas: int
    namespace: str
    documents_dir: str | None
    bind: str
    port: int
    internal_port: int
    pod_ip: str
    base_url: str
    domain: str | None
    max_body_bytes: int
    drain_s: float
    lame_duck_s: float
    forwarded_hops: int
    log_level: str

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Settings:
        """Raises ValueError naming the variable that is wrong."""

        def number(name: str, default: float) -> float:
            text = environ.get(name) or str(default)
            try:
                return float(text)
            except ValueError:
                raise ValueError(f"{name} is {text!r}, not a number: correct or unset it") from None

        return cls(
            nats_url=environ.get(names.ENV_NATS_URL)
            or f"nats://nats.{names.SYSTEM_NAMESPACE}:{names.NATS_PORT}",
            nats_user=environ.get(names.ENV_NATS_USER),
            nats_password=environ.get(names.ENV_NATS_PASSWORD),
            nats_replicas=int(number(names.ENV_NATS_REPLICAS, 1)),
            namespace=environ.get(names.ENV_NAMESPACE) or names.ENDPOINTS_NAMESPACE,
            documents_dir=environ.get(names.ENV_DOCUMENTS_DIR) or None,
            bind=environ.get(names.ENV_BIND) or "0.0.0.0",
            port=int(number(names.ENV_PORT, names.GATEWAY_PORT)),
            internal_port=int(number(names.ENV_INTERNAL_PORT, names.GATEWAY_INTERNAL_PORT)),
            pod_ip=environ.get(names.ENV_POD_IP) or "127.0.0.1",
            base_url=environ.get(names.ENV_BASE_URL) or "",
            domain=environ.get(names.ENV_DOMAIN) or None,
            max_body_bytes=int(number(names.ENV_MAX_BODY_BYTES, 256 * 1024 * 1024)),
            drain_s=number(names.ENV_DRAIN_S, 900),
            lame_duck_s=number(names.ENV_LAME_DUCK_S, 5),
            forwarded_hops=int(number(names.ENV_FORWARDED_HOPS, 0)),
            log_level=environ.get(names.ENV_LOG_LEVEL) or "info",
        )


class _Listener(uvicorn.Server):
    """A server that leaves signals to us: two of them share one process and stop one after the other."""

    @contextmanager
    def capture_signals(self) -> Any:
        yield


def _listener(app: Any, settings: Settings, port: int) -> _Listener:
    return _Listener(
        uvicorn.Config(
            app,
            host=settings.bind,
            port=port,
            loop="none",
            http=BoundedHttp,
            ws="none",
            lifespan="off",
            interface="asgi3",
            access_log=False,
            log_config=None,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            backlog=4096,
            timeout_keep_alive=_KEEP_ALIVE_S,
        )
    )


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


async def run(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT, then drain."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        broker = await Broker.connect(
            settings.nats_url,
            f"gateway-{socket.gethostname()}-{os.getpid()}",
            user=settings.nats_user,
            password=settings.nats_password,
        )
        stack.push_async_callback(broker.close)
        source: DocumentSource
        cluster = None if settings.documents_dir else Cluster.from_pod()
        if settings.documents_dir:
            source = DirectoryDocuments(Path(settings.documents_dir))
        elif cluster is not None:
            source = KubernetesDocuments(cluster, settings.namespace)
            stack.push_async_callback(cluster.close)
        else:
            raise ValueError(f"neither {names.ENV_DOCUMENTS_DIR} is set nor is this a pod: set it")
        catalog = Catalog(source, broker, replicas=settings.nats_replicas)
        broker.on_reconnect(catalog.recheck)
        held = HeldRequests()
        watched = (
            ClusterReplicas(cluster, settings.namespace, lambda: catalog.documents, held.endpoints)
            if cluster is not None
            else None
        )
        replicas: ReplicaView = watched or NoReplicaView()
        reply_base = f"http://{_host(settings.pod_ip)}:{settings.internal_port}"
        signer = ReplySigner(reply_base)
        parts = Parts(
            broker=broker,
            bodies=Bodies(broker),
            catalog=catalog,
            held=held,
            signer=signer,
            activity=Activity(broker),
            replicas=replicas,
            limiter=RateLimiter(),
            times=ServiceTimes(),
            max_body_bytes=settings.max_body_bytes,
            forwarded_hops=settings.forwarded_hops,
        )
        metrics = Metrics()
        pages = Pages(parts, settings.base_url, settings.domain)
        server = Server(parts)
        server.on_answered.append(metrics.answered)
        server.on_answered.append(ColdStarts(parts, pages, metrics).answered)
        catalog.on_removed(server.endpoint_removed)
        catalog.on_removed(metrics.forget)
        public = _listener(PublicApp(parts, server, pages, metrics, settings.domain), settings, settings.port)
        internal = _listener(
            InternalApp(parts, Replies(held, signer, broker), pages, metrics),
            settings,
            settings.internal_port,
        )
        async with asyncio.TaskGroup() as tasks:
            watching = [tasks.create_task(catalog.run()), tasks.create_task(parts.activity.run())]
            if watched is not None:
                watched.on_failure(server.activation_failed)
                watching.append(tasks.create_task(watched.run()))
            serving = [tasks.create_task(internal.serve()), tasks.create_task(public.serve())]
            await stop.wait()
            await _drain(parts, pages, public, internal, serving, settings)
            for task in watching:
                task.cancel()


async def _drain(
    parts: Parts,
    pages: Pages,
    public: _Listener,
    internal: _Listener,
    serving: list[asyncio.Task[None]],
    settings: Settings,
) -> None:
    """Not ready at once; the door closes when load balancers had time to notice; then whoever is held is served
    to the end, for as long as there is time."""
    _log.info("stopping", held=len(parts.held))
    pages.leaving = True
    await asyncio.sleep(settings.lame_duck_s)
    parts.stopping = True
    public.should_exit = True  # closes the listener, keeps open connections until their requests end
    try:
        await asyncio.wait_for(parts.held.nobody.wait(), settings.drain_s)
    except TimeoutError:
        _log.warning("callers are still held at the end of the drain", held=len(parts.held))
    for held in parts.held:
        held.finish(
            Refusal(problems.STOPPING, "this gateway had no more time to wait for the answer", retry=False)
        )
    await asyncio.wait({serving[1]}, timeout=5)
    public.force_exit = True
    if parts.background:
        await asyncio.wait(parts.background, timeout=5)
    await parts.activity.flush()
    internal.should_exit = internal.force_exit = True
    _log.info("stopped")


def main() -> int:
    """Exit code 2 where the environment is wrong."""
    try:
        settings = Settings.read(os.environ)
        configure("gateway", settings.log_level)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    uvloop.run(run(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
