"""What the pod's kubelet and Prometheus ask the worker: health, drain, metrics."""

from __future__ import annotations

from aiohttp import web

from holdfast_services.exposition import CONTENT_TYPE
from holdfast_services.worker.service import WorkerService

__all__ = ["make_app"]


def make_app(service: WorkerService) -> web.Application:
    """`/healthz`, `/readyz` (200 while it pulls), `/drain` (returns when every slot is empty), `/metrics`."""

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(_: web.Request) -> web.Response:
        if service.ready:
            return web.json_response({"status": "ok"})
        return web.json_response({"status": service.problem or "draining"}, status=503)

    async def drain(_: web.Request) -> web.Response:
        await service.drain()
        return web.json_response({"status": "drained"})

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=service.metrics.text(), headers={"content-type": CONTENT_TYPE})

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/drain", drain)
    app.router.add_get("/metrics", metrics)
    return app
