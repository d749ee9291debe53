"""(d) Memory of a gateway per held request, with nothing there to answer it; HAProxy's queue as the baseline."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Awaitable, Callable
from typing import Final

import aiohttp
import psutil

from bench import haproxy
from bench.plane import Plane, open_plane
from bench.ports import free_port
from bench.processes import Process
from bench.report import Cell, Table

__all__ = ["measure"]

_ENDPOINT: Final = "memory"
_BODY: Final = b"x" * 1024
_AT_ONCE: Final = 200
"""Requests under way to a gateway that are not yet queued: a burst's shape, and the listener's backlog."""
_WARM_UP: Final = 200
_SETTLE_S: Final = 60.0


async def measure(counts: tuple[int, ...]) -> Table:
    """A row for each number of held requests, and each way. Each gets a gateway of its own: memory once used is not
    given back."""
    _allow_open_files(max(counts) + 2000)
    rows: list[tuple[Cell, ...]] = []
    async with open_plane() as plane:
        plane.document(_ENDPOINT, replicas=1, max_queue=max(counts) + 1000)
        for count in counts:
            rows.append(await _holdfast(plane, count))
            if haproxy.find() and haproxy.most_connections() > count:
                rows.append(await _haproxy(plane, count))
    return Table(
        key="memory",
        title="Memory per held request, bodies of 1 KiB",
        columns=("way", "held", "KiB each", "before MiB", "held MiB", "after MiB", "all held after s"),
        rows=tuple(rows),
        notes=(
            "held: nothing answers; each caller keeps its connection. after: callers gone, requests withdrawn.",
            "Aim: ≤ 30 KiB per held request.",
        ),
    )


def _allow_open_files(number: int) -> None:
    """For this process and all that it starts. Raises RuntimeError where too few are allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= number:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, max(hard, number)))
    except (ValueError, OSError):
        raise RuntimeError(
            f"{number} open files are needed and {hard} allowed: raise it (ulimit -Hn)"
        ) from None


async def _holdfast(plane: Plane, count: int) -> tuple[Cell, ...]:
    gateway = plane.start_gateway()
    await plane.until_ready([gateway.url])
    await plane.until_known(_ENDPOINT)
    url = f"{gateway.url}/e/{_ENDPOINT}/"
    headers = {"authorization": f"Bearer {plane.token}"}

    async def queued() -> int:
        depth = await plane.broker.depth(_ENDPOINT)
        return depth.waiting if depth is not None else 0

    warm = await _hold(url, headers, _WARM_UP)
    await _reach(queued, _WARM_UP)
    await warm.leave()
    await _reach(queued, 0)
    before = gateway.process.memory_bytes()
    began = time.monotonic()
    held = await _hold(url, headers, count)
    await _reach(queued, count)
    took_s = time.monotonic() - began
    full = gateway.process.memory_bytes()
    await held.leave()
    await _reach(queued, 0)
    after = gateway.process.memory_bytes()
    gateway.process.kill()
    plane.gateways.remove(gateway)
    return _row("holdfast", count, before, full, after, took_s)


async def _haproxy(plane: Plane, count: int) -> tuple[Cell, ...]:
    """In front of a model that takes one request for ever; the others wait in HAProxy's queue."""
    silent = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", free_port())
    try:
        port = silent.sockets[0].getsockname()[1]
        process, url = haproxy.start(
            plane.folder, plane.processes, {_ENDPOINT: [port]}, count=1, balance="leastconn"
        )[0]
        before = process.memory_bytes()
        began = time.monotonic()
        held = await _hold(f"{url}/e/{_ENDPOINT}/", {}, count)

        async def open_connections() -> int:
            return await asyncio.to_thread(_established, process)

        await _reach(open_connections, count)
        took_s = time.monotonic() - began
        full = process.memory_bytes()
        await held.leave()
        after = process.memory_bytes()
        process.kill()
        return _row("HAProxy, not durable", count, before, full, after, took_s)
    finally:
        silent.close()


class _Held:
    """Callers who wait."""

    def __init__(self, http: aiohttp.ClientSession, tasks: list[asyncio.Task[None]]) -> None:
        self._http = http
        self._tasks = tasks

    async def leave(self) -> None:
        """Close all their connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._http.close()


async def _hold(url: str, headers: dict[str, str], count: int) -> _Held:
    http = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=None)
    )

    async def one() -> None:
        async with http.post(url, data=_BODY, headers=headers) as answer:
            raise RuntimeError(f"answered with {answer.status} where nothing can answer")

    tasks: list[asyncio.Task[None]] = []
    for _ in range(0, count, _AT_ONCE):
        tasks += [asyncio.create_task(one()) for _ in range(min(_AT_ONCE, count - len(tasks)))]
        await asyncio.sleep(0.05)
    return _Held(http, tasks)


async def _reach(number: Callable[[], Awaitable[int]], wanted: int) -> None:
    ends = time.monotonic() + _SETTLE_S
    while True:
        now = await number()
        if (now >= wanted) if wanted else now == 0:
            return
        if time.monotonic() > ends:
            raise TimeoutError(f"{now} held after {_SETTLE_S:.0f} s, not {wanted}")
        await asyncio.sleep(0.05)


def _established(process: Process) -> int:
    return sum(it.status == psutil.CONN_ESTABLISHED for it in psutil.Process(process.pid).net_connections())


def _row(name: str, count: int, before: int, full: int, after: int, took_s: float) -> tuple[Cell, ...]:
    mib = 2**20
    return (name, count, (full - before) / count / 1024, before / mib, full / mib, after / mib, took_s)
