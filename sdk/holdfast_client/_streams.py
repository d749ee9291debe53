"""Answers that are read as they come: bytes, lines, or server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping

import httpx2

from holdfast_client import _protocol as protocol
from holdfast_client import _shells as shells
from holdfast_client._core import Clock
from holdfast_client._types import Timings, read_timings


class _Head:
    """What is known of an answer before its body."""

    def __init__(self, response: httpx2.Response, clock: Clock) -> None:
        self._response = response
        self._clock = clock
        self.status_code = response.status_code
        self.headers: Mapping[str, str] = shells.lower(response.headers)

    @property
    def request_id(self) -> str | None:
        """The gateway's name for the request."""
        return self.headers.get(protocol.HEADER_REQUEST_ID)

    @property
    def timings(self) -> Timings:
        """Where the time went so far."""
        return read_timings(self.headers, self._clock.elapsed_s)

    def _check(self) -> None:
        if self._clock.left_s == 0:
            raise self._clock.error(f"{self._response.num_bytes_downloaded} bytes of the answer had come")


class Stream(_Head):
    """An answer under way, from `Client.stream`. Read it once, in one of the ways."""

    def iter_bytes(self) -> Iterator[bytes]:
        """Chunks as they come; of any size, never empty.

        Raises StreamBrokenError where the answer breaks off, APITimeoutError where it takes too long.
        """
        with shells.broken_stream(self._response, self._clock):
            for chunk in self._response.iter_bytes():
                self._check()
                yield chunk

    def iter_lines(self) -> Iterator[str]:
        """Lines of text without their ends. Raises as `iter_bytes`."""
        with shells.broken_stream(self._response, self._clock):
            for line in self._response.iter_lines():
                self._check()
                yield line

    def events(self) -> Iterator[httpx2.ServerSentEvent]:
        """Server-sent events (`event`, `data`, `id`, and `json()` of the data); comments are left out.

        Raises as `iter_bytes`, and StreamBrokenError where the gateway says that the answer cannot go on.
        """
        with shells.broken_stream(self._response, self._clock):
            for event in httpx2.EventSource(self._response):
                self._check()
                shells.check_event(event, self.request_id)
                yield event

    def read(self) -> bytes:
        """All of it. Raises as `iter_bytes`."""
        return b"".join(self.iter_bytes())


class AsyncStream(_Head):
    """An answer under way, from `AsyncClient.stream`: as `Stream`, with asynchronous iterators."""

    async def iter_bytes(self) -> AsyncIterator[bytes]:
        """As `Stream.iter_bytes`."""
        with shells.broken_stream(self._response, self._clock):
            async for chunk in self._response.aiter_bytes():
                self._check()
                yield chunk

    async def iter_lines(self) -> AsyncIterator[str]:
        """As `Stream.iter_lines`."""
        with shells.broken_stream(self._response, self._clock):
            async for line in self._response.aiter_lines():
                self._check()
                yield line

    async def events(self) -> AsyncIterator[httpx2.ServerSentEvent]:
        """As `Stream.events`."""
        with shells.broken_stream(self._response, self._clock):
            async for event in httpx2.EventSource(self._response):
                self._check()
                shells.check_event(event, self.request_id)
                yield event

    async def read(self) -> bytes:
        """As `Stream.read`."""
        return b"".join([chunk async for chunk in self.iter_bytes()])
