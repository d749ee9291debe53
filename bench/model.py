"""Models for benchmarks: many in one process, each serving `slots` requests at a time and queueing the rest.

    python -m bench.model --slots 1 PORT [PORT ...]

The tests' stand-in runs everything at once and records much; a GPU does one thing after the other, and a
benchmark's model must cost next to nothing. A request says in `x-service-us` how long it takes; the answer says in
`x-begin` and `x-end` (monotonic seconds, comparable on one machine) when it was really served, and in `x-busy` how
many requests were being served or waiting here when it arrived: with a router that keeps its promise that is below
`slots`. Prints `listening <monotonic seconds>` when all ports are open.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import httptools
import uvloop

_BODY = b'{"ok":true}'


@dataclass(eq=False)
class _Model:
    """One model: slots, and who waits for one."""

    slots: int
    used: int = 0
    waiting: deque[_Call] = field(default_factory=deque)

    def arrived(self, call: _Call) -> None:
        call.found_busy = self.used + len(self.waiting)
        if self.used < self.slots:
            self._begin(call)
        else:
            self.waiting.append(call)

    def _begin(self, call: _Call) -> None:
        self.used += 1
        call.began = time.monotonic()
        if call.service_us:
            asyncio.get_running_loop().call_later(call.service_us / 1e6, self._end, call)
        else:
            self._end(call)

    def _end(self, call: _Call) -> None:
        self.used -= 1
        call.connection.answer(call, time.monotonic())
        if self.waiting:
            self._begin(self.waiting.popleft())


@dataclass(eq=False, slots=True)
class _Call:
    connection: _Connection
    service_us: int = 0
    found_busy: int = 0
    began: float = 0.0


class _Connection(asyncio.Protocol):
    """HTTP/1.1 with kept connections and no pipelining, which neither worker nor HAProxy does."""

    def __init__(self, model: _Model) -> None:
        self._model = model
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._call = _Call(self)
        self._path = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def on_message_begin(self) -> None:
        self._call = _Call(self)
        self._path = b""

    def on_url(self, url: bytes) -> None:
        self._path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"x-service-us":
            self._call.service_us = int(value)

    def on_message_complete(self) -> None:
        if self._path == b"/healthcheck":
            self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        else:
            self._model.arrived(self._call)

    def answer(self, call: _Call, ended: float) -> None:
        if not self._transport.is_closing():
            self._transport.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
                b"x-busy: %d\r\nx-begin: %.6f\r\nx-end: %.6f\r\n\r\n%b"
                % (len(_BODY), call.found_busy, call.began, ended, _BODY)
            )


async def serve(ports: list[int], slots: int) -> None:
    """Until cancelled."""
    loop = asyncio.get_running_loop()
    for port in ports:
        await loop.create_server(partial(_Connection, _Model(slots)), "127.0.0.1", port, backlog=2048)
    print(f"listening {time.monotonic():.6f}", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description="models for benchmarks")
    parser.add_argument("--slots", type=int, default=1)
    parser.add_argument("ports", type=int, nargs="+")
    given = parser.parse_args()
    uvloop.run(serve(given.ports, given.slots))


if __name__ == "__main__":
    main()
