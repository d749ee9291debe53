"""A stand-in for a model: an HTTP server whose behaviour a test chooses, and which records what it executed.

It computes nothing. It exists because a real model can be made neither to crash in the middle of its answer
nor to take exactly 300 ms. Run it as a process (`python standin.py`) or as the image `holdfast/standin`.

Every parameter has a default from the environment and is overridden for one request by a header, or by a
query parameter of the same name (the header wins):

| environment | header or query | meaning |
|---|---|---|
| STANDIN_DELAY_MS | x-delay-ms | milliseconds before the first byte of the answer; 0 |
| STANDIN_SIZE | x-size | bytes of body, of each chunk if streamed; unset: a JSON account of the request |
| STANDIN_STREAM_CHUNKS | x-stream-chunks | stream this many chunks; 0: answer at once, with a length |
| STANDIN_CHUNK_INTERVAL_MS | x-chunk-interval-ms | milliseconds between chunks; 0 |
| STANDIN_STREAM_KIND | x-stream-kind | `bytes` (default) or `sse`: text/event-stream with `data:` events |
| STANDIN_STATUS | x-status | HTTP status of the answer; 200 |
| STANDIN_CRASH | x-crash | see below; unset: none |

Crashes: `before`: the process exits with 70 instead of answering; `mid`: after half of the chunks; `drop` and
`drop-mid`: the same, but only the connection breaks; `garbage`: bytes that are not HTTP.

Only from the environment: STANDIN_HOST (127.0.0.1), STANDIN_PORT (8000; 0: any; printed: `listening <port>`),
STANDIN_START_DELAY_MS (before the port opens), STANDIN_HEALTH_DELAY_MS (health check answers 503 until then),
STANDIN_HEALTH_FAIL_AFTER (health check fails once this many requests were executed), STANDIN_EXIT_AT_START
(exit at once with this code), STANDIN_REQUIRE_ENV (exit with 78 and name the variable where it is unset),
STANDIN_TERM (`finish`: end requests, then exit at SIGTERM; `abrupt`: exit at once; `ignore`), STANDIN_LOG
(append one JSON line as each execution begins and ends: survives a crash), STANDIN_NAME (told in answers; the
host name).

Routes: `/healthcheck`; `GET /__stats` (totals, peak concurrency, executions); `POST /__reset`;
`POST /__health?state=ok|fail`; `GET /__env?name=N` and `/__file?path=P` (SHA-256 of a value, never the
value); `/echo` (the body as it came); every other path is an execution answered as the parameters say.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

CRASH_EXIT = 70
"""Exit code of a crash that was asked for (EX_SOFTWARE)."""
CONFIG_EXIT = 78
"""Exit code where a required variable is unset (EX_CONFIG)."""
MAX_BODY_BYTES = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What to do with one request. Fields as in the table above."""

    delay_ms: float = 0
    size: int | None = None
    stream_chunks: int = 0
    chunk_interval_ms: float = 0
    stream_kind: str = "bytes"
    status: int = 200
    crash: str = ""

    @classmethod
    def read(
        cls, environ: Mapping[str, str], headers: Mapping[str, str], query: Mapping[str, str]
    ) -> Behaviour:
        """The header wins over the query, that over the environment. Raises ValueError on a bad number."""

        def value(name: str) -> str:
            dashed = "x-" + name.replace("_", "-")
            return headers.get(dashed) or query.get(dashed) or environ.get(f"STANDIN_{name.upper()}") or ""

        return cls(
            delay_ms=float(value("delay_ms") or 0),
            size=int(value("size")) if value("size") else None,
            stream_chunks=int(value("stream_chunks") or 0),
            chunk_interval_ms=float(value("chunk_interval_ms") or 0),
            stream_kind=value("stream_kind") or "bytes",
            status=int(value("status") or 200),
            crash=value("crash"),
        )


@dataclass(slots=True)
class Execution:
    """One request that reached the model."""

    number: int
    request_id: str
    attempt: str
    method: str
    path: str
    body_bytes: int
    body_sha256: str
    started_at: float
    concurrency: int
    """How many were being executed when this one began, itself included."""
    ended_at: float | None = None
    outcome: str = "running"
    """`running`, `answered`, `canceled` (the caller went away), `dropped` or `crashed`."""


@dataclass(slots=True)
class Recorder:
    """Counts executions in memory, and in a file where a crash must not lose them."""

    name: str
    log: Path | None = None
    running: int = 0
    peak: int = 0
    """Most executions at the same time since the start or the last reset."""
    executions: list[Execution] = field(default_factory=list)

    def begin(self, request: web.Request, body: bytes) -> Execution:
        """A request is being executed from now on."""
        self.running += 1
        self.peak = max(self.peak, self.running)
        execution = Execution(
            number=len(self.executions) + 1,
            request_id=request.headers.get("x-request-id", ""),
            attempt=request.headers.get("x-attempt", ""),
            method=request.method,
            path=request.path,
            body_bytes=len(body),
            body_sha256=hashlib.sha256(body).hexdigest(),
            started_at=time.time(),
            concurrency=self.running,
        )
        self.executions.append(execution)
        self._write("begin", execution)
        return execution

    def end(self, execution: Execution, outcome: str) -> None:
        """The request is no longer being executed."""
        self.running -= 1
        execution.ended_at, execution.outcome = time.time(), outcome
        self._write("end", execution)

    def stats(self) -> dict[str, Any]:
        """What `/__stats` answers."""
        return {
            "name": self.name,
            "pid": os.getpid(),
            "running": self.running,
            "peak_concurrency": self.peak,
            "executed": len(self.executions),
            "executions": [asdict(execution) for execution in self.executions],
        }

    def _write(self, event: str, execution: Execution) -> None:
        if self.log is not None:
            line = json.dumps({"event": event, "name": self.name, "pid": os.getpid(), **asdict(execution)})
            with self.log.open("a") as file:
                file.write(line + "\n")


class Standin:
    """The server's routes. `environ` is read once."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        log = environ.get("STANDIN_LOG")
        self._environ = environ
        self._began = time.monotonic()
        self._health_forced: bool | None = None
        self.recorder = Recorder(
            name=environ.get("STANDIN_NAME") or socket.gethostname(), log=Path(log) if log else None
        )

    def app(self) -> web.Application:
        """The application; every path that is not one of the stand-in's own is an execution."""
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_get("/healthcheck", self._health)
        app.router.add_get("/__stats", self._stats)
        app.router.add_post("/__reset", self._reset)
        app.router.add_post("/__health", self._set_health)
        app.router.add_get("/__env", self._env)
        app.router.add_get("/__file", self._file)
        app.router.add_route("*", "/{path:.*}", self._execute)
        return app

    def healthy(self) -> bool:
        """Whether the health check passes now."""
        if self._health_forced is not None:
            return self._health_forced
        if (time.monotonic() - self._began) * 1000 < float(self._environ.get("STANDIN_HEALTH_DELAY_MS") or 0):
            return False
        fail_after = self._environ.get("STANDIN_HEALTH_FAIL_AFTER")
        return not fail_after or len(self.recorder.executions) < int(fail_after)

    async def _health(self, _: web.Request) -> web.Response:
        healthy = self.healthy()
        return web.json_response({"ready": healthy}, status=200 if healthy else 503)

    async def _stats(self, _: web.Request) -> web.Response:
        return web.json_response(self.recorder.stats())

    async def _reset(self, _: web.Request) -> web.Response:
        self.recorder.executions.clear()
        self.recorder.peak = self.recorder.running
        return web.json_response({})

    async def _set_health(self, request: web.Request) -> web.Response:
        self._health_forced = {"ok": True, "fail": False}.get(request.query.get("state", ""))
        return web.json_response({"ready": self.healthy()})

    async def _env(self, request: web.Request) -> web.Response:
        value = os.environ.get(request.query.get("name", ""))
        return web.json_response({"sha256": None if value is None else _sha256(value.encode())})

    async def _file(self, request: web.Request) -> web.Response:
        digest = await asyncio.to_thread(_file_sha256, Path(request.query.get("path", "")))
        return web.json_response({"sha256": digest})

    async def _execute(self, request: web.Request) -> web.StreamResponse:
        try:
            behaviour = Behaviour.read(self._environ, request.headers, request.query)
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=400)
        body = await request.read()
        execution = self.recorder.begin(request, body)
        outcome = "canceled"
        try:
            await asyncio.sleep(behaviour.delay_ms / 1000)
            if behaviour.crash in {"before", "drop", "garbage"}:
                outcome = "crashed" if behaviour.crash == "before" else "dropped"
                return self._break(request, behaviour, execution)
            if behaviour.stream_chunks:
                response, outcome = await self._stream(request, behaviour, execution)
            else:
                response, outcome = self._whole(request, behaviour, execution, body), "answered"
            return response
        finally:
            self.recorder.end(execution, outcome)

    def _whole(
        self, request: web.Request, behaviour: Behaviour, execution: Execution, body: bytes
    ) -> web.Response:
        if behaviour.size is not None:
            return web.Response(body=filler(behaviour.size), status=behaviour.status)
        if request.path.endswith("/echo"):
            return web.Response(body=body, status=behaviour.status, content_type=request.content_type)
        account = {
            "standin": self.recorder.name,
            "pid": os.getpid(),
            "number": execution.number,
            "request_id": execution.request_id,
            "attempt": execution.attempt,
            "method": request.method,
            "path": request.path,
            "query": request.query_string,
            "headers": sorted(name.lower() for name in request.headers),
            "trace": {
                name: request.headers[name]
                for name in ("traceparent", "tracestate")
                if name in request.headers
            },
            "body_bytes": execution.body_bytes,
            "body_sha256": execution.body_sha256,
            "concurrency": execution.concurrency,
        }
        return web.json_response(account, status=behaviour.status)

    async def _stream(
        self, request: web.Request, behaviour: Behaviour, execution: Execution
    ) -> tuple[web.StreamResponse, str]:
        sse = behaviour.stream_kind == "sse"
        response = web.StreamResponse(status=behaviour.status)
        response.content_type = "text/event-stream" if sse else "application/octet-stream"
        response.enable_chunked_encoding()
        await response.prepare(request)
        for number in range(behaviour.stream_chunks):
            if number and behaviour.chunk_interval_ms:
                await asyncio.sleep(behaviour.chunk_interval_ms / 1000)
            if behaviour.crash in {"mid", "drop-mid"} and number >= behaviour.stream_chunks / 2:
                self._break(request, behaviour, execution)
                return response, "dropped"
            chunk = filler(behaviour.size or 16)
            text = json.dumps({"chunk": number, "data": chunk.decode()})
            await response.write(f"data: {text}\n\n".encode() if sse else chunk)
        await response.write_eof()
        return response, "answered"

    def _break(self, request: web.Request, behaviour: Behaviour, execution: Execution) -> web.Response:
        """End the process, or only the connection."""
        if behaviour.crash in {"before", "mid"}:
            self.recorder.end(execution, "crashed")
            os._exit(CRASH_EXIT)
        transport = request.transport
        if transport is not None:
            if behaviour.crash == "garbage":
                transport.write(b"\x00\x01 this is not HTTP\r\n\r\n")
                transport.close()
            else:
                transport.abort()
        return web.Response(status=500)


def filler(size: int) -> bytes:
    """`size` bytes of ASCII, the same for the same size."""
    return (b"0123456789abcdef" * (size // 16 + 1))[:size]


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _file_sha256(path: Path) -> str | None:
    return _sha256(path.read_bytes()) if path.is_file() else None


async def serve(environ: Mapping[str, str]) -> int:
    """Run until a signal says to stop. Returns the exit code."""
    await asyncio.sleep(float(environ.get("STANDIN_START_DELAY_MS") or 0) / 1000)
    # handler_cancellation: a caller that goes away ends the execution, and it is recorded as canceled.
    runner = web.AppRunner(Standin(environ).app(), handler_cancellation=True, shutdown_timeout=3600)
    await runner.setup()
    site = web.TCPSite(
        runner, environ.get("STANDIN_HOST") or "127.0.0.1", int(environ.get("STANDIN_PORT") or 8000)
    )
    await site.start()
    print(f"listening {runner.addresses[0][1]}", flush=True)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    term = environ.get("STANDIN_TERM") or "finish"
    loop.add_signal_handler(signal.SIGINT, stop.set)
    loop.add_signal_handler(
        signal.SIGTERM, {"finish": stop.set, "abrupt": lambda: os._exit(143), "ignore": lambda: None}[term]
    )
    await stop.wait()
    await runner.cleanup()
    return 0


def main() -> int:
    """Start as the environment says."""
    if code := os.environ.get("STANDIN_EXIT_AT_START"):
        print("exiting at start, as STANDIN_EXIT_AT_START says", file=sys.stderr)
        return int(code)
    required = os.environ.get("STANDIN_REQUIRE_ENV")
    if required and not os.environ.get(required):
        print(f"{required} is unset: it is required by STANDIN_REQUIRE_ENV", file=sys.stderr)
        return CONFIG_EXIT
    with contextlib.suppress(KeyboardInterrupt):
        return asyncio.run(serve(os.environ))
    return 130


if __name__ == "__main__":
    sys.exit(main())
