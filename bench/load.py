"""Sending requests and taking their times: one at a time, or at given moments whether or not answers come."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import aiohttp

__all__ = ["Sample", "Sender", "direct", "open_loop", "through_client_queue", "to_urls", "without_collector"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One answered request. Moments are monotonic seconds, comparable between processes of one machine."""

    sent: float
    begun: float
    """When the model began to serve it, as the model says."""
    ended: float
    answered: float
    """When the whole answer was here."""
    found_busy: int
    """How many requests the model had when this one came."""

    @property
    def service_s(self) -> float:
        """How long the model really took: timers are late by up to a millisecond, for every router alike."""
        return self.ended - self.begun

    @property
    def wait_s(self) -> float:
        """All the rest: queueing, and whatever the way there and back costs."""
        return self.answered - self.sent - self.service_s


Sender = Callable[[float], Awaitable[Sample]]
"""Sends one request that takes so many seconds, and returns when it is answered. Raises RuntimeError on any status
but 200."""


async def _post(http: aiohttp.ClientSession, url: str, token: str | None, service_s: float) -> Sample:
    headers = {"x-service-us": str(round(service_s * 1e6)), "content-type": "application/json"}
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    sent = time.monotonic()
    async with http.post(url, data=b'{"input":"x"}', headers=headers) as answer:
        await answer.read()
        answered = time.monotonic()
        if answer.status != 200:
            raise RuntimeError(f"{url} answered {answer.status}: {(await answer.text())[:300]}")
        head = answer.headers
        return Sample(sent, float(head["x-begin"]), float(head["x-end"]), answered, int(head["x-busy"]))


def direct(http: aiohttp.ClientSession, port: int) -> Sender:
    """Straight to one model."""
    return lambda service_s: _post(http, f"http://127.0.0.1:{port}/", None, service_s)


def to_urls(http: aiohttp.ClientSession, urls: Sequence[str], token: str | None = None) -> Sender:
    """To one router after the other."""
    count = 0

    async def send(service_s: float) -> Sample:
        nonlocal count
        count += 1
        return await _post(http, urls[count % len(urls)], token, service_s)

    return send


def through_client_queue(http: aiohttp.ClientSession, ports: Sequence[int]) -> Sender:
    """No router: the sender itself holds the one queue and gives each free model the next request. Nothing that
    has to send requests over a network can do better."""
    free: asyncio.Queue[int] = asyncio.Queue()
    for port in ports:
        free.put_nowait(port)

    async def send(service_s: float) -> Sample:
        came = time.monotonic()
        port = await free.get()
        try:
            sample = await _post(http, f"http://127.0.0.1:{port}/", None, service_s)
        finally:
            free.put_nowait(port)
        return Sample(came, sample.begun, sample.ended, sample.answered, sample.found_busy)

    return send


async def open_loop(send: Sender, arrivals_s: Sequence[float], services_s: Sequence[float]) -> list[Sample]:
    """Send at these moments from now, and return when all are answered. Raises what a sender raises."""
    began = time.monotonic()
    tasks: list[asyncio.Task[Sample]] = []
    async with asyncio.TaskGroup() as group:
        for moment, service_s in zip(arrivals_s, services_s, strict=True):
            delay = began + moment - time.monotonic()
            if delay > 0:
                await asyncio.sleep(delay)
            tasks.append(group.create_task(_sample(send, service_s)))
    return [task.result() for task in tasks]


async def _sample(send: Sender, service_s: float) -> Sample:
    return await send(service_s)


@contextmanager
def without_collector() -> Iterator[None]:
    """No garbage collection of this process while something is measured."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
