"""`python -m holdfast_services.worker`: reads the environment, assembles the worker, runs it until SIGTERM."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import uvloop
from pydantic import ValidationError

from holdfast_contract import names
from holdfast_contract.document import EndpointDocument
from holdfast_services import lean_nats, memory  # noqa: F401  # lean_nats: for what it does, before all the others
from holdfast_services.bodies import Bodies, BodyStore
from holdfast_services.broker import Broker
from holdfast_services.credentials import Login, read_secret
from holdfast_services.logs import Log, configure
from holdfast_services.records import Records
from holdfast_services.tracing import Tracing
from holdfast_services.worker.attempt import DEFAULT_MAX_RESULT_BYTES, Means
from holdfast_services.worker.http import serve
from holdfast_services.worker.model import Model
from holdfast_services.worker.reply import ReplySession
from holdfast_services.worker.service import WorkerService

_log = Log("worker")
CONTRACT_BROKEN: Final = 3
_TERMINATION_LOG: Final = Path("/dev/termination-log")


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that the environment says."""

    nats_url: str
    login: Login
    bodies_url: str | None
    bodies_key: str = field(repr=False)
    """This endpoint's, where bodies are reached by way of a gateway."""
    document: EndpointDocument
    model_url: str
    replica: str
    state_dir: Path | None
    bind: str
    port: int
    drain_s: float
    max_result_bytes: int
    log_level: str
    otlp_endpoint: str | None

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Settings:
        """Raises ValueError naming the variable that is wrong."""
        path = environ.get(names.ENV_DOCUMENT)
        if not path:
            raise ValueError(f"{names.ENV_DOCUMENT} is not set: set it to the endpoint document's path")
        try:
            document = EndpointDocument.from_json(Path(path).read_text())
        except (OSError, ValidationError) as error:
            raise ValueError(f"{names.ENV_DOCUMENT}={path} is no endpoint document: {error}") from error
        state_dir = environ.get(names.ENV_WORKER_STATE_DIR)
        drain = environ.get(names.ENV_DRAIN_S)
        return cls(
            nats_url=environ.get(names.ENV_NATS_URL)
            or f"nats://nats.{names.SYSTEM_NAMESPACE}:{names.NATS_PORT}",
            login=Login.read(environ),
            bodies_url=environ.get(names.ENV_BODIES_URL) or None,
            bodies_key=read_secret(environ, names.ENV_BODIES_KEY),
            document=document,
            model_url=(environ.get(names.ENV_MODEL_URL) or f"http://127.0.0.1:{document.port}").rstrip("/"),
            replica=environ.get(names.ENV_POD_NAME) or f"{socket.gethostname()}-{os.getpid()}",
            state_dir=Path(state_dir) if state_dir else None,
            bind=environ.get(names.ENV_BIND) or "0.0.0.0",
            port=int(environ.get(names.ENV_PORT) or names.WORKER_PORT),
            drain_s=float(drain) if drain else document.scaling.max_request_s,
            max_result_bytes=int(environ.get(names.ENV_MAX_RESULT_BYTES) or DEFAULT_MAX_RESULT_BYTES),
            log_level=environ.get(names.ENV_LOG_LEVEL) or "info",
            otlp_endpoint=environ.get(names.ENV_OTLP_ENDPOINT) or None,
        )


def _body_store(settings: Settings, broker: Broker, stack: AsyncExitStack) -> BodyStore:
    if settings.bodies_url is None:
        return Bodies(broker)
    from holdfast_services.worker.remote import (
        GatewayBodies,
    )  # and a client library, which others do not need

    store = GatewayBodies(settings.bodies_url, settings.bodies_key)
    stack.push_async_callback(store.close)
    return store


def _means(settings: Settings, broker: Broker, stack: AsyncExitStack) -> Means:
    """What an attempt works with. `stack` closes it."""
    bodies = _body_store(settings, broker, stack)
    model = Model(settings.model_url, settings.document.health_check_path, bodies)
    stack.callback(model.close)
    replies = ReplySession()
    stack.callback(replies.close)
    return Means(
        model=model,
        replies=replies,
        records=Records(broker),
        bodies=bodies,
        replica=settings.replica,
        max_request_s=settings.document.scaling.max_request_s,
        max_result_bytes=settings.max_result_bytes,
    )


async def run(settings: Settings, tracing: Tracing | None = None) -> int:
    """Run until SIGTERM or SIGINT, then drain: finish what is under way, give back what takes too long.

    Returns the exit code: CONTRACT_BROKEN where the model does not answer its examples, else 0.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        if tracing is not None:
            stack.push_async_callback(tracing.close)
        broker = await Broker.connect(
            settings.nats_url,
            f"worker-{settings.replica}",
            login=settings.login,
            inbox=names.inbox_prefix("worker", settings.document.name),
        )
        stack.push_async_callback(broker.close)
        means = _means(settings, broker, stack)
        service = WorkerService(
            settings.document, broker, means, state_dir=settings.state_dir, tracing=tracing
        )
        pages = await serve(service, settings.bind, settings.port)
        stack.callback(pages.close)
        memory.settle()
        working = asyncio.create_task(service.run())
        stopping = asyncio.create_task(stop.wait())
        broken = asyncio.create_task(service.contract_broken.wait())
        await asyncio.wait({working, stopping, broken}, return_when=asyncio.FIRST_COMPLETED)
        if broken.done() and not stopping.done():
            # Ends so that the reason is seen where people look: in the pod's status, and so in `pulumi up`.
            _tell_kubelet(service.problem or "")
            working.cancel()
            await asyncio.wait({working})
            return CONTRACT_BROKEN
        if working.done() and not service.draining:
            await working  # raises: it does not end by itself
        # Drained by the pod's preStop hook: stay until told to go, or the kubelet starts another worker.
        await stopping
        try:
            await asyncio.wait_for(service.drain(), settings.drain_s)
        except TimeoutError:
            _log.warning("no more time: giving back what is under way")
            await service.give_back_all()
        broken.cancel()
        await working
    _log.info("stopped")
    return 0


def _tell_kubelet(text: str) -> None:
    try:
        _TERMINATION_LOG.write_text(text[:4000])
    except OSError:
        pass  # not in a pod


def main() -> int:
    """Exit code 2 where the environment is wrong, 3 where the contract is broken."""
    try:
        settings = Settings.read(os.environ)
        configure("worker", settings.log_level)
        # The gateway has decided which traces are recorded.
        tracing = Tracing.start(settings.otlp_endpoint, "worker", instance=settings.replica, ratio=1)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return uvloop.run(run(settings, tracing))


if __name__ == "__main__":
    sys.exit(main())
