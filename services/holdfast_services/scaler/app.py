"""Assembles the scaler and runs it until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

import grpc.aio
from aiohttp import web
from nats.aio.msg import Msg

from holdfast_contract import names
from holdfast_services.broker import Broker
from holdfast_services.documents import DocumentSource
from holdfast_services.logs import Log
from holdfast_services.scaler.http import make_app
from holdfast_services.scaler.metrics import Metrics
from holdfast_services.scaler.protocol.externalscaler_pb2_grpc import add_ExternalScalerServicer_to_server
from holdfast_services.scaler.queues import JetStreamQueues
from holdfast_services.scaler.service import ScalerService
from holdfast_services.scaler.tracker import Settings, Tracker

__all__ = ["Listen", "run"]

_T = TypeVar("_T")
_log = Log("scaler")
_GRACE_S: Final = 2.0
"""What calls under way get at the end; each takes milliseconds."""
_GRPC_OPTIONS: Final = (
    # KEDA holds one stream per endpoint over one connection, silent for hours.
    ("grpc.max_concurrent_streams", 100_000),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # A second scaler on the same port would silently take half of the connections.
    ("grpc.so_reuseport", 0),
)


@dataclass(frozen=True, slots=True)
class Listen:
    """Where the scaler listens."""

    host: str = "0.0.0.0"
    grpc_port: int = names.SCALER_PORT
    http_port: int = names.SCALER_HTTP_PORT


async def run(
    connect: Callable[[], Awaitable[Broker]],
    documents: DocumentSource,
    listen: Listen,
    settings: Settings | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT. `connect` may take as long as the broker needs to come up: until then the
    scaler is alive, not ready, and tells KEDA nothing.

    Raises OSError where a port is taken.
    """
    stop = _stop_signal()
    metrics = Metrics()
    async with contextlib.AsyncExitStack() as stack:
        state = _State()
        http = web.AppRunner(make_app(metrics, lambda: state.ready), access_log=None)
        await http.setup()
        stack.push_async_callback(http.cleanup)
        await web.TCPSite(http, listen.host, listen.http_port).start()

        broker = await _unless(stop, connect())
        if broker is None:
            return
        stack.push_async_callback(broker.close)
        connected = broker
        metrics.follow_broker(lambda: connected.connected)
        tracker = state.tracker = Tracker(JetStreamQueues(broker), metrics, settings=settings)
        metrics.follow(tracker)
        broker.on_reconnect(tracker.reconnected)

        async def wake(message: Msg) -> None:
            tracker.wake(message.subject.rpartition(".")[2])

        await broker.subscribe(names.wake_subject("*"), wake)
        server = grpc.aio.server(options=_GRPC_OPTIONS)
        add_ExternalScalerServicer_to_server(ScalerService(tracker, metrics), server)
        if server.add_insecure_port(f"{listen.host}:{listen.grpc_port}") == 0:
            raise OSError(f"port {listen.grpc_port} of {listen.host} is taken: end what listens there")
        await server.start()
        _log.info("scaler started", grpc_port=listen.grpc_port, http_port=listen.http_port)

        work = asyncio.gather(tracker.run(), _follow(documents, tracker))
        await _unless(stop, work)

        _log.info("scaler stopping")
        state.stopping = True
        # First no new calls, then an end of all streams: KEDA doubles its delay before it comes back after every
        # stream that was cut off, and not after one that ended.
        stopping = asyncio.create_task(server.stop(_GRACE_S))
        tracker.end_streams()
        await stopping
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work


@dataclass(slots=True)
class _State:
    """What readiness follows from."""

    tracker: Tracker | None = None
    stopping: bool = False

    @property
    def ready(self) -> bool:
        return not self.stopping and self.tracker is not None and self.tracker.ready


async def _follow(documents: DocumentSource, tracker: Tracker) -> None:
    async for snapshot in documents.snapshots():
        tracker.set_documents(snapshot)


def _stop_signal() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def _unless(stop: asyncio.Event, work: Awaitable[_T]) -> _T | None:
    """The outcome of `work`; None, with `work` still under way, where `stop` comes first."""
    task = asyncio.ensure_future(work)
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait((task, stopped), return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    return await task if task.done() else None
