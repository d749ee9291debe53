"""What the pod's kubelet and Prometheus ask the worker: health, drain, metrics.

Four pages for two askers: a server library would take longer to load than the rest of the worker to begin.
"""

from __future__ import annotations

import asyncio
import json
from typing import Final, cast

import httptools

from holdfast_contract import names
from holdfast_services.exposition import CONTENT_TYPE
from holdfast_services.logs import Log
from holdfast_services.worker.service import WorkerService

__all__ = ["Page", "Pages", "serve"]

_log = Log("http")
_MAX_RECEIVED_BYTES: Final = 64 * 1024
"""Of one request, whose body nobody wants: more closes the connection."""
_IDLE_S: Final = 75.0
"""A connection that asks nothing for so long is closed."""
_REASONS: Final = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}

Page = tuple[int, str, bytes]
"""Status, content type, body."""


class Pages:
    """`/healthz`, `/readyz` (200 while it pulls), `/drain` (returns when every slot is empty), `/metrics`.

    A drain is for good, but with the query `until=model-restart`: the container beside may be restarted alone.
    """

    def __init__(self, service: WorkerService) -> None:
        self._service = service

    async def answer(self, method: str, path: str, query: str = "") -> Page:
        """One page."""
        if method not in ("GET", "HEAD"):
            return _status(405, f"{method} is not answered here: use GET")
        match path:
            case "/healthz":
                return _status(200, "ok")
            case "/readyz":
                if self._service.ready:
                    return _status(200, "ok")
                return _status(503, self._service.problem or "draining")
            case "/drain":
                await (self._service.pause() if query == names.DRAIN_UNTIL_RESTART else self._service.drain())
                return _status(200, "drained")
            case "/metrics":
                return 200, CONTENT_TYPE, self._service.metrics.text()
            case _:
                return _status(404, "there are /healthz, /readyz, /drain and /metrics")


def _status(status: int, text: str) -> Page:
    return status, "application/json", json.dumps({"status": text}).encode()


class _Connection(asyncio.Protocol):
    """Answers one request after the other; what comes meanwhile ends it."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._url = b""
        self._received_bytes = 0
        self._answering: asyncio.Task[None] | None = None
        self._idle: asyncio.TimerHandle | None = None

    # --- of the event loop --------------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self._transport = cast(asyncio.Transport, transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed. A drain that it asked for goes on."""
        self._transport = None
        if self._idle is not None:
            self._idle.cancel()

    def data_received(self, data: bytes) -> None:
        """A piece of a request."""
        self._received_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._close()
        if self._received_bytes > _MAX_RECEIVED_BYTES:
            self._close()

    # --- of the parser ------------------------------------------------------------------------------------
    def on_message_begin(self) -> None:
        """A request begins."""
        self._url = b""

    def on_url(self, url: bytes) -> None:
        """What it asks for, or a part of it."""
        self._url += url

    def on_message_complete(self) -> None:
        """It is whole."""
        self._received_bytes = 0
        if self._answering is not None:
            self._close()  # the next before the answer: neither kubelets nor Prometheus do
            return
        if self._idle is not None:
            self._idle.cancel()
        method = self._parser.get_method().decode("latin-1")
        path, _, query = self._url.decode("latin-1").partition("?")
        keep = self._parser.should_keep_alive()
        self._answering = asyncio.get_running_loop().create_task(self._answer(method, path, query, keep))

    async def _answer(self, method: str, path: str, query: str, keep: bool) -> None:
        try:
            status, kind, body = await self._pages.answer(method, path, query)
        except Exception as error:  # of ours; whoever asked sees the connection end
            _log.error("page failed", trace=error, path=path)
            self._close()
            return
        finally:
            self._answering = None
        if self._transport is None or self._transport.is_closing():
            return
        head = (
            f"HTTP/1.1 {status} {_REASONS[status]}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n"
            f"connection: {'keep-alive' if keep else 'close'}\r\n\r\n"
        )
        self._transport.write(head.encode() + (b"" if method == "HEAD" else body))
        if keep:
            self._wait()
        else:
            self._transport.close()

    def _wait(self) -> None:
        self._idle = asyncio.get_running_loop().call_later(_IDLE_S, self._close)

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


async def serve(service: WorkerService, address: str, port: int) -> asyncio.Server:
    """Listen. Raises OSError where the port is taken."""
    pages = Pages(service)
    return await asyncio.get_running_loop().create_server(lambda: _Connection(pages), address, port)
