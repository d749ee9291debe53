"""The scaler's HTTP side: probes and metrics."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from holdfast_services.exposition import CONTENT_TYPE
from holdfast_services.scaler.metrics import Metrics

__all__ = ["make_app"]


def make_app(metrics: Metrics, ready: Callable[[], bool]) -> web.Application:
    """`/healthz`: the process answers. `/readyz`: 200 while `ready`, else 503. `/metrics`: Prometheus."""

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(text="ready\n") if ready() else web.Response(status=503, text="not ready\n")

    async def exposition(_: web.Request) -> web.Response:
        return web.Response(body=metrics.text(), headers={"content-type": CONTENT_TYPE})

    app = web.Application()
    app.add_routes(
        [web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", exposition)]
    )
    return app
