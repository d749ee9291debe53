"""(c) Requests a second, synchronous and durable, over 64 connections; everything shares the machine.

The model answers at once, so what is measured is the way there and back. `requests/s per gateway core` is requests
over the gateway's processor seconds. Debian's `wrk` makes the load; without it, an aiohttp client in a process of its
own does, and costs more itself.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bench import haproxy
from bench.plane import Durability, Models, Plane, open_plane
from bench.processes import ROOT, Process
from bench.report import Cell, Table

__all__ = ["measure", "parse_wrk"]

_CONNECTIONS: Final = 64
_WORKERS: Final = 4
_SLOTS: Final = 16
"""Of each worker: as many slots as connections, so that nobody waits for one."""
_ENDPOINT: Final = "throughput"
_SCRIPT: Final = """\
wrk.method = "POST"
wrk.body = '{"input":"x"}'
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "Bearer %s"
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    'FIGURES {"requests":%%d,"duration_us":%%d,"failed":%%d,"p50_us":%%d,"p99_us":%%d}\\n',
    summary.requests, summary.duration,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a load generator says."""

    requests: int
    seconds: float
    failed: int
    p50_ms: float
    p99_ms: float


def parse_wrk(output: str) -> Outcome:
    """The line that our script prints at the end. Raises ValueError where there is none."""
    for line in output.splitlines():
        if line.startswith("FIGURES "):
            data = json.loads(line.removeprefix("FIGURES "))
            return Outcome(
                requests=data["requests"],
                seconds=data["duration_us"] / 1e6,
                failed=data["failed"],
                p50_ms=data["p50_us"] / 1000,
                p99_ms=data["p99_us"] / 1000,
            )
    raise ValueError(f"the load generator printed no figures:\n{output[-1000:]}")


async def measure(seconds: int, durabilities: tuple[Durability, ...]) -> Table:
    """`seconds`: how long each way is under load. A row for each way to keep what is acknowledged."""
    rows = []
    for number, durability in enumerate(durabilities):
        async with open_plane(durability) as plane:
            models = plane.start_models(_WORKERS, slots=_SLOTS)
            if number == 0:
                rows += await _baselines(plane, models, seconds)
            rows.append(await _holdfast(plane, models, seconds, f"holdfast, {durability}"))
    return Table(
        key="throughput",
        title=f"Requests a second over {_CONNECTIONS} connections, {_WORKERS} workers of {_SLOTS} slots",
        columns=(
            "way",
            "requests/s",
            "p50 ms",
            "p99 ms",
            "failed",
            "requests/s per gateway core",
            "gateway µs",
            "broker µs",
            "workers µs",
            "models µs",
        ),
        rows=tuple(rows),
        notes=(
            "One gateway; µs: processor time per request. With `sync always` it is on disk before it is acknowledged;",
            "then one server waits for its disk at every acknowledgement of a worker, three do so once for many.",
            "Aim: ≥ 4,000 requests/s (Knative without durability: 3,960 on two such cores).",
        ),
    )


async def _baselines(plane: Plane, models: Models, seconds: int) -> list[tuple[Cell, ...]]:
    rows = [await _way(plane, "direct to one model", f"http://127.0.0.1:{models.ports[0]}/", seconds, {})]
    if haproxy.find():
        proxy, url = haproxy.start(
            plane.folder,
            plane.processes,
            {_ENDPOINT: models.ports},
            count=1,
            balance="leastconn",
            slots=_SLOTS,
        )[0]
        url = f"{url}/e/{_ENDPOINT}/"
        rows.append(await _way(plane, "HAProxy, not durable", url, seconds, {"gateway": [proxy]}))
    return rows


async def _holdfast(plane: Plane, models: Models, seconds: int, name: str) -> tuple[Cell, ...]:
    plane.document(_ENDPOINT, replicas=_WORKERS, concurrency=_SLOTS)
    gateway = plane.start_gateway()
    await plane.until_ready([gateway.url])
    await plane.until_known(_ENDPOINT)
    workers = [plane.start_worker(_ENDPOINT, port) for port in models.ports]
    await plane.until_ready([worker.url for worker in workers])
    url = f"{gateway.url}/e/{_ENDPOINT}/"
    parts = {
        "gateway": [gateway.process],
        "broker": plane.nats,
        "workers": [worker.process for worker in workers],
        "models": [models.process],
    }
    await _load(plane, url, 1)  # code is warm, connections between parts are open
    return await _way(plane, name, url, seconds, parts)


async def _way(
    plane: Plane, name: str, url: str, seconds: int, parts: Mapping[str, list[Process]]
) -> tuple[Cell, ...]:
    before = {part: sum(it.processor_s() for it in of) for part, of in parts.items()}
    outcome = await _load(plane, url, seconds)
    if outcome.requests == 0:
        raise RuntimeError(f"{name}: no request was answered")
    spent = {
        part: 1e6 * (sum(it.processor_s() for it in of) - before[part]) / outcome.requests
        for part, of in parts.items()
    }
    gateway = spent.get("gateway")
    return (
        name,
        outcome.requests / outcome.seconds,
        outcome.p50_ms,
        outcome.p99_ms,
        outcome.failed,
        1e6 / gateway if gateway else None,
        *(spent.get(part) for part in ("gateway", "broker", "workers", "models")),
    )


async def _load(plane: Plane, url: str, seconds: int) -> Outcome:
    wrk = shutil.which("wrk")
    if wrk is not None:
        script = plane.folder / "wrk.lua"
        script.write_text(_SCRIPT % plane.token)
        argv = [wrk, "-t1", f"-c{_CONNECTIONS}", f"-d{seconds}s", "--latency", "-s", str(script), url]
    else:
        token = plane.folder / "token"
        token.write_text(plane.token)
        argv = [sys.executable, "-m", "bench.closed_loop", url, str(_CONNECTIONS), str(seconds), str(token)]
    process = await asyncio.create_subprocess_exec(
        *argv, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(seconds + 30):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return parse_wrk(output.decode(errors="replace"))
