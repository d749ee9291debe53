"""The ASGI application of a service: its routes, `/healthcheck` and `/openapi.json`."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route as WebRoute
from starlette.types import Receive, Scope, Send

from holdfast_runtime import inputs, media, openapi, problems
from holdfast_runtime.calls import Calls
from holdfast_runtime.linger import Lingering
from holdfast_runtime.problems import Failed, InputError
from holdfast_runtime.routes import Route, Streaming, routes_of
from holdfast_runtime.service import Cancelled, Service

__all__ = ["Runtime"]

log = logging.getLogger("holdfast")
_STREAM_TYPES: Final[Mapping[Streaming, str]] = {
    Streaming.EVENTS: "text/event-stream",
    Streaming.TEXT: "text/plain; charset=utf-8",
    Streaming.BYTES: media.UNKNOWN_TYPE,
}


class Runtime:
    """Serves one service class."""

    def __init__(self, kind: type[Service], *, on_failure: Callable[[], None] = lambda: None) -> None:
        """`on_failure` is called once where `setup` fails. Raises ServiceError where the class cannot be served."""
        self.kind = kind
        self.routes = routes_of(kind)
        self.service: Service | None = None
        """None until `setup` has ended."""
        self.failure: str | None = None
        """Why `setup` failed; None: it has not."""
        self._on_failure = on_failure
        self.calls = Calls(kind.concurrency, kind.hung_after_s)

    def app(self) -> Starlette:
        """The application. Its lifespan runs `setup` while the health check already answers."""
        pages = [
            WebRoute("/healthcheck", self._health),
            WebRoute("/openapi.json", self._openapi),
            *(
                WebRoute(path, _Page(self, route), methods=["POST"])
                for route in self.routes
                for path in route.paths
            ),
        ]
        return Starlette(
            routes=pages,
            lifespan=self._lifespan,
            middleware=[Middleware(Lingering)],
            exception_handlers={HTTPException: _http_error},
        )

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        starting = asyncio.create_task(self._start())
        try:
            yield
        finally:
            if self.service is None:
                starting.cancel()
            else:
                await self.calls.drained()
                hung = self.calls.hung()
                if hung is None:
                    await self.calls.once(self.service.teardown)
                else:
                    log.warning("stopped without teardown(): %s", hung)
            self.calls.close()

    async def _start(self) -> None:
        began = asyncio.get_running_loop().time()
        try:
            service = await self.calls.once(self.kind)
            await self.calls.once(service.setup)
        except Exception as error:
            self.failure = f"setup() failed: {type(error).__name__}: {error}"
            log.exception("%s cannot be served: setup() failed", self.kind.__name__)
            self._on_failure()
            return
        self.service = service
        log.info("%s is ready after %.2f s", self.kind.__name__, asyncio.get_running_loop().time() - began)

    def ready(self) -> Service:
        """The service. Raises Failed where it cannot take a request."""
        if self.service is None:
            raise Failed(problems.NOT_READY, self.failure or "setup() has not ended yet")
        hung = self.calls.hung()
        if hung is not None:
            raise Failed(problems.HUNG, hung)
        return self.service

    async def _health(self, request: Request) -> Response:
        try:
            self.ready()
        except Failed as failed:
            return problems.answer(failed, None)
        return JSONResponse({"ready": True, "running": self.calls.running, "waiting": self.calls.waiting})

    async def _openapi(self, _: Request) -> Response:
        return JSONResponse(openapi.document(self.kind, self.routes))


async def _http_error(request: Request, error: Exception) -> Response:
    """The framework's own errors, in the shape of all others."""
    assert isinstance(error, HTTPException)
    kinds = {404: problems.NOT_FOUND, 405: problems.METHOD_NOT_ALLOWED}
    kind = kinds.get(error.status_code, problems.BAD_REQUEST)
    detail = f"{request.method} {request.url.path}: {error.detail}"
    return problems.answer(Failed(kind, detail), _request_id(request), dict(error.headers or {}))


def _request_id(request: Request) -> str | None:
    return request.headers.get(problems.HEADER_REQUEST_ID)


class _Page:
    """One route: a raw application, so that it sees when its caller goes."""

    def __init__(self, runtime: Runtime, route: Route) -> None:
        self._runtime = runtime
        self._route = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        limit = self._runtime.kind.max_body_bytes
        request = Request(scope, inputs.limited(receive, limit))
        try:
            service = self._runtime.ready()
            if int(request.headers.get("content-length") or 0) > limit:
                raise inputs.too_large(limit)
            arguments = await inputs.arguments(request, self._route)
        except Failed as failed:
            await problems.answer(failed, _request_id(request))(scope, receive, send)
            return
        except ClientDisconnect:
            return
        work = asyncio.create_task(self._work(service, arguments, request, send))
        gone = asyncio.create_task(_gone(receive))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            if not work.done():
                work.cancel()
            await asyncio.wait({work})
        if not work.cancelled() and (error := work.exception()) is not None:
            raise error

    async def _work(
        self, service: Service, arguments: Mapping[str, Any], request: Request, send: Send
    ) -> None:
        method = partial(getattr(service, self._route.name), **arguments)
        try:
            if self._route.streaming is Streaming.NO:
                result = await self._runtime.calls.run(
                    self._route.name,
                    method,
                    is_async=self._route.is_async,
                    request_id=_request_id(request),
                )
                answer = await self._shaped(result, request)
                await answer(request.scope, request.receive, send)
            else:
                await self._stream(method, request, send)
        except Cancelled:
            log.info("request %s to /%s was cancelled", _request_id(request) or "", self._route.name)
        except Exception as error:
            failed = self._explained(error, request)
            await problems.answer(failed, _request_id(request))(request.scope, request.receive, send)

    def _explained(self, error: Exception, request: Request) -> Failed:
        if isinstance(error, Failed):
            return error
        if isinstance(error, InputError):
            return problems.bad_input([error.error])
        log.error("request %s to /%s failed", _request_id(request) or "", self._route.name, exc_info=error)
        # The message may say what only the service's owner should read; the log has it.
        return Failed(problems.MODEL_ERROR, f"/{self._route.name} raised {type(error).__name__}")

    async def _shaped(self, result: Any, request: Request) -> Response:
        """What a method returned, as an answer."""
        if isinstance(result, Response):
            return result
        if isinstance(result, media.File):
            headers = {}
            if result.name is not None:
                headers["content-disposition"] = f'attachment; filename="{_header_text(result.name)}"'
            return Response(result.data, headers=headers, media_type=result.content_type)
        if isinstance(result, bytes | bytearray | memoryview):
            return Response(bytes(result), media_type=media.UNKNOWN_TYPE)
        if media.is_image(type(result)):
            accept = request.headers.get("accept", "")
            data, kind = await asyncio.to_thread(media.encoded_image, result, accept)
            return Response(data, media_type=kind)
        if isinstance(result, str) and self._route.answer_kind is str:
            return Response(result, media_type="text/plain")
        answer = self._route.answer
        # An annotation of a file with another result: what came is shown as JSON, or fails and is logged.
        text = answer.dump_json(result) if answer is not None else json.dumps(result).encode()
        return Response(text, media_type="application/json")

    async def _stream(self, method: Callable[[], Any], request: Request, send: Send) -> None:
        """The head goes out with the first item, so that what fails before it is an ordinary error."""
        route = self._route
        items = self._runtime.calls.stream(
            route.name, method, is_async=route.is_async, request_id=_request_id(request)
        )
        begun = False
        async with aclosing(items):
            try:
                async for item in items:
                    piece = self._piece(item)
                    if not begun:
                        begun = True
                        await send(_head(route.streaming))
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            except Exception as error:
                if not begun:
                    raise
                await self._broken(self._explained(error, request), request, send)
                return
            if not begun:
                await send(_head(route.streaming))
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _piece(self, item: Any) -> bytes:
        if self._route.streaming is Streaming.TEXT:
            return str(item).encode()
        if self._route.streaming is Streaming.BYTES:
            return bytes(item)
        assert self._route.answer is not None  # events always have one
        return b"data: " + self._route.answer.dump_json(item) + b"\n\n"

    async def _broken(self, failed: Failed, request: Request, send: Send) -> None:
        """An event that says so; a body of another kind has no clean end: the server cuts the connection."""
        if self._route.streaming is not Streaming.EVENTS:
            return
        event = b"event: error\ndata: " + problems.encoded(failed, _request_id(request)) + b"\n\n"
        await send({"type": "http.response.body", "body": event, "more_body": False})


def _head(streaming: Streaming) -> dict[str, Any]:
    headers = [(b"content-type", _STREAM_TYPES[streaming].encode())]
    # Proxies on the way keep nothing back.
    headers += [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
    return {"type": "http.response.start", "status": 200, "headers": headers}


def _header_text(text: str) -> str:
    """What may stand between a header's quotes: a caller's name must not end them, or the header."""
    ascii_text = text.encode("ascii", "replace").decode()
    return "".join(one if one.isprintable() and one not in '"\\' else "_" for one in ascii_text)


async def _gone(receive: Receive) -> None:
    """Ends when the caller has gone: servers do not say so when an answer is sent."""
    while (await receive())["type"] != "http.disconnect":
        pass
