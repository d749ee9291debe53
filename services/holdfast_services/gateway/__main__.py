"""`python -m holdfast_services.gateway`: reads the environment, assembles the gateway, runs it until SIGTERM."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from holdfast_contract import names, problems
from holdfast_services import memory
from holdfast_services.bodies import Bodies, BodyStore
from holdfast_services.broker import Broker
from holdfast_services.documents import DirectoryDocuments, DocumentSource, KubernetesDocuments
from holdfast_services.gateway.activity import Activity
from holdfast_services.gateway.app import InternalApp, PublicApp
from holdfast_services.gateway.body_pages import BodyPages
from holdfast_services.gateway.catalog import Catalog
from holdfast_services.gateway.cluster import ClusterReplicas
from holdfast_services.gateway.coldstart import ColdStarts
from holdfast_services.gateway.connections import Connections, most_connections
from holdfast_services.gateway.core.estimate import ServiceTimes
from holdfast_services.gateway.core.ratelimit import RateLimiter
from holdfast_services.gateway.core.refusal import Refusal
from holdfast_services.gateway.held import HeldRequests, ReplySigner
from holdfast_services.gateway.listeners import Listeners
from holdfast_services.gateway.metrics import Metrics
from holdfast_services.gateway.page import Page
from holdfast_services.gateway.pages import Pages
from holdfast_services.gateway.peers import Peers
from holdfast_services.gateway.replicas import NoReplicaView
from holdfast_services.gateway.replies import Replies
from holdfast_services.gateway.request_pages import RequestPages
from holdfast_services.gateway.serve import Parts, Server
from holdfast_services.gateway.settings import Settings
from holdfast_services.gateway.submissions import Submissions
from holdfast_services.gateway.sweeper import Sweeper
from holdfast_services.gateway.templates import Templates
from holdfast_services.gateway.tls import Tls
from holdfast_services.gateway.usage import Usage, UsageBucket
from holdfast_services.gateway.waiters import Waiters
from holdfast_services.gateway.webhooks import Webhooks
from holdfast_services.kube import Cluster
from holdfast_services.logs import Log, configure
from holdfast_services.records import Records
from holdfast_services.s3 import S3Bodies
from holdfast_services.tracing import Tracing

_log = Log("gateway")


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


@dataclass(frozen=True, slots=True)
class Assembled:
    """A gateway that is not running yet."""

    parts: Parts
    pages: Pages
    public: PublicApp
    internal: InternalApp
    work: tuple[Coroutine[Any, Any, None], ...]
    """What runs beside the listeners, for ever."""


async def assemble(
    settings: Settings,
    broker: Broker,
    stack: AsyncExitStack,
    connections: Connections,
    tracing: Tracing | None = None,
    tls: Tls | None = None,
) -> Assembled:
    """Put a gateway together. `stack` closes what it opens."""
    cluster = _cluster(settings, stack)
    catalog = Catalog(_documents(settings, cluster), broker, replicas=settings.nats_replicas)
    broker.on_reconnect(catalog.recheck)
    held, peers = HeldRequests(), Peers(broker)
    await broker.subscribe(names.SUBJECT_GATEWAYS, peers.heard)
    watched = None
    if cluster is not None:
        watched = ClusterReplicas(cluster, settings.namespace, lambda: catalog.documents, held.endpoints)
    parts = Parts(
        broker=broker,
        bodies=await _body_store(settings, broker, stack),
        catalog=catalog,
        held=held,
        signer=ReplySigner(f"http://{_host(settings.pod_ip)}:{settings.internal_port}"),
        activity=Activity(broker),
        replicas=watched or NoReplicaView(),
        limiter=RateLimiter(),
        times=ServiceTimes(),
        max_body_bytes=settings.max_body_bytes,
        forwarded_hops=settings.forwarded_hops,
        gateways=peers.alive,
        tracing=tracing,
    )
    base_url = settings.base_url.rstrip("/")
    usage = Usage(UsageBucket(broker), lambda: catalog.documents, parts.replicas.counts)
    pages = _pages(settings, parts, base_url, usage)
    metrics, server, records = _metrics(broker, connections, tls), Server(parts), Records(broker)
    waiters = Waiters(records, held)
    await broker.subscribe(names.done_subject("*", "*"), waiters.announced)
    submissions = Submissions(parts, server, records, waiters, base_url)
    request_pages = RequestPages(parts, records, waiters, submissions)
    cold_starts = ColdStarts(parts, pages, metrics)
    server.on_answered += [metrics.answered, cold_starts.answered]
    for forget in (
        server.endpoint_removed,
        parts.activity.forget,
        cold_starts.forget,
        metrics.forget,
        pages.recent.forget,
        pages.endpoint_pages.forget,
        usage.forget,
    ):
        catalog.on_removed(forget)
    webhooks = Webhooks(
        broker,
        records,
        lambda: catalog.documents,
        submissions.poll_url,
        allowed_private=settings.webhook_networks,
        told=metrics.webhook,
        tracing=tracing,
    )
    sweeper = Sweeper(parts, records, metrics.expired)
    work = [catalog.run(), parts.activity.run(), peers.run(), sweeper.run(), webhooks.run()]
    if watched is not None:
        watched.on_failure(server.activation_failed)
        work += [watched.run(), usage.run()]
    public = PublicApp(parts, server, submissions, pages, request_pages, metrics, settings.domain)
    pages.endpoint_pages.app = public
    shared = BodyPages(parts.bodies, settings.bodies_key) if settings.bodies_bucket else None
    internal = InternalApp(parts, Replies(held, parts.signer, broker), pages, metrics, shared)
    return Assembled(parts=parts, pages=pages, public=public, internal=internal, work=tuple(work))


def _cluster(settings: Settings, stack: AsyncExitStack) -> Cluster | None:
    """The cluster that this pod is in; None where documents come from a folder, or this is no pod."""
    cluster = None if settings.documents_dir else Cluster.from_pod()
    if cluster is not None:
        stack.push_async_callback(cluster.close)
    return cluster


def _documents(settings: Settings, cluster: Cluster | None) -> DocumentSource:
    """Where endpoints are declared. Raises ValueError where nothing says so."""
    if settings.documents_dir:
        return DirectoryDocuments(Path(settings.documents_dir))
    if cluster is None:
        raise ValueError(f"neither {names.ENV_DOCUMENTS_DIR} is set nor is this a pod: set it")
    return KubernetesDocuments(cluster, settings.namespace)


def _pages(settings: Settings, parts: Parts, base_url: str, usage: Usage) -> Pages:
    return Pages(
        parts,
        base_url,
        settings.domain,
        page=Page.load(Path(settings.web_dir)) if settings.web_dir else None,
        templates=Templates.load(Path(settings.templates_dir)) if settings.templates_dir else None,
        usage=usage,
    )


def _metrics(broker: Broker, connections: Connections, tls: Tls | None) -> Metrics:
    """Counters, and what is looked at when somebody reads them."""
    metrics = Metrics()
    metrics.follow(lambda: broker.connected)
    metrics.follow_connections(connections)
    if tls is not None:
        metrics.follow_certificate(lambda: tls.expires_at)
    return metrics


async def _body_store(settings: Settings, broker: Broker, stack: AsyncExitStack) -> BodyStore:
    """The bucket where there is one, else the broker. Raises ValueError where the bucket cannot be entered."""
    if settings.bodies_bucket is None:
        return Bodies(broker)
    store = await S3Bodies.connect(settings.bodies_bucket)
    stack.push_async_callback(store.close)
    return store


async def run(settings: Settings, tracing: Tracing | None = None, tls: Tls | None = None) -> None:
    """Listen at once, serve as soon as the queue is reached, and drain at SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        if tracing is not None:
            stack.push_async_callback(tracing.close)
        async with asyncio.TaskGroup() as tasks:
            context = tls.context if tls is not None else None
            connections = Connections(most_connections(settings.max_connections), loop.time)
            listeners = Listeners.start(
                tasks, settings.bind, settings.port, settings.internal_port, connections, context
            )
            renewing = tasks.create_task(tls.run()) if tls is not None else None
            stopping = tasks.create_task(stop.wait())
            starting = tasks.create_task(_start(settings, stack, connections, tracing, tls))
            # A listener that ends by itself (its port is taken) ends the process.
            ends = {stopping, listeners.public.task, listeners.internal.task}
            await asyncio.wait({starting, *ends}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                gateway = starting.result()
                working = [tasks.create_task(work) for work in gateway.work]
                listeners.public.door.open(gateway.public)
                listeners.internal.door.open(gateway.internal)
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                await _drain(gateway, listeners, settings)
                for task in working:
                    task.cancel()
            else:
                starting.cancel()
            listeners.public.close(now=True)
            listeners.internal.close(now=True)
            stopping.cancel()
            if renewing is not None:
                renewing.cancel()
    _log.info("stopped")


async def _start(
    settings: Settings,
    stack: AsyncExitStack,
    connections: Connections,
    tracing: Tracing | None,
    tls: Tls | None,
) -> Assembled:
    """Returns when the queue is reached, however long that takes."""
    broker = await Broker.connect(
        settings.nats_url,
        f"gateway-{socket.gethostname()}-{os.getpid()}",
        login=settings.login,
        inbox=names.inbox_prefix("gateway"),
    )
    stack.push_async_callback(broker.close)
    gateway = await assemble(settings, broker, stack, connections, tracing, tls)
    memory.settle()
    return gateway


async def _drain(gateway: Assembled, listeners: Listeners, settings: Settings) -> None:
    """Not ready at once; the door closes when load balancers had time to notice; then whoever is held is served
    to the end, for as long as there is time."""
    parts = gateway.parts
    _log.info("stopping", held=len(parts.held))
    gateway.pages.leaving = True
    await asyncio.sleep(settings.lame_duck_s)
    parts.stopping = True
    listeners.public.close()
    try:
        await asyncio.wait_for(parts.held.nobody.wait(), settings.drain_s)
    except TimeoutError:
        _log.warning("callers are still held at the end of the drain", held=len(parts.held))
    for held in parts.held:
        held.finish(
            Refusal(problems.STOPPING, "this gateway had no more time to wait for the answer", retry=False)
        )
    await asyncio.wait({listeners.public.task}, timeout=5)
    listeners.public.close(now=True)
    if parts.background:
        await asyncio.wait(parts.background, timeout=5)
    await parts.activity.flush()


def main() -> int:
    """Exit code 2 where the environment, or the certificate that it names, is wrong."""
    try:
        settings = Settings.read(os.environ)
        configure("gateway", settings.log_level)
        tls = Tls.of(settings.tls_files)
        tracing = Tracing.start(
            settings.otlp_endpoint,
            "gateway",
            instance=f"{socket.gethostname()}-{os.getpid()}",
            ratio=settings.trace_ratio,
        )
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    uvloop.run(run(settings, tracing, tls))
    return 0


if __name__ == "__main__":
    sys.exit(main())
