"""The client for asyncio (and trio): it carries out what the core decides, with httpx2."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self, TypeVar

import anyio
import httpx2

from holdfast_client import _operations as operations
from holdfast_client import _shells as shells
from holdfast_client._body import encode
from holdfast_client._config import resolve
from holdfast_client._core import (
    Clock,
    Effect,
    Failure,
    Options,
    Outcome,
    Reply,
    Send,
    Session,
    Sleep,
    Steps,
    changed,
    timed,
)
from holdfast_client._streams import AsyncStream
from holdfast_client._types import (
    DEFAULT,
    DEFAULT_MAX_RETRIES,
    DEFAULT_TIMEOUT_S,
    Answer,
    Default,
    EndpointInfo,
    Files,
    Input,
    JobStatus,
    OnProgress,
    TemplateInfo,
)

T = TypeVar("T")


class AsyncClient:
    """As `Client`, for asyncio: the same arguments, meanings and errors. Close it, or use it as a context manager.

    >>> async def ask() -> str:
    ...     async with AsyncClient() as client:
    ...         return (await client.infer("echo", {"text": "hello"})).text
    >>> asyncio.run(ask())
    '{"text":"hello"}'
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        timeout: float | None = DEFAULT_TIMEOUT_S,
        max_retries: int = DEFAULT_MAX_RETRIES,
        headers: Mapping[str, str] | None = None,
        on_progress: OnProgress | None = None,
        http_client: httpx2.AsyncClient | None = None,
    ) -> None:
        options = Options(timeout, max_retries, headers or {}, on_progress)
        self._session = Session(resolve(url, token), options)
        self._owned = http_client is None
        self._http = http_client or httpx2.AsyncClient(limits=shells.LIMITS)

    @property
    def url(self) -> str:
        """The gateway."""
        return self._session.settings.url

    def with_options(
        self,
        *,
        timeout: float | Default | None = DEFAULT,
        max_retries: int | Default = DEFAULT,
        headers: Mapping[str, str] | Default = DEFAULT,
        on_progress: OnProgress | Default | None = DEFAULT,
        token: str | Default = DEFAULT,
    ) -> Self:
        """As `Client.with_options`."""
        twin = object.__new__(type(self))
        twin._session = changed(self._session, timeout, max_retries, headers, on_progress, token)
        twin._owned = False
        twin._http = self._http
        return twin

    async def infer(
        self,
        endpoint: str,
        input: Input = None,
        *,
        route: str = "/",
        method: str = "POST",
        files: Files | None = None,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
        timeout: float | Default | None = DEFAULT,
    ) -> Answer:
        """As `Client.infer`."""
        body = encode(input, files, form)
        call = operations.call_of(endpoint, route, method, body, headers, idempotency_key)
        return await self._run(operations.infer(timed(self._session, timeout), call))

    @asynccontextmanager
    async def stream(
        self,
        endpoint: str,
        input: Input = None,
        *,
        route: str = "/",
        method: str = "POST",
        files: Files | None = None,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
        timeout: float | Default | None = DEFAULT,
    ) -> AsyncIterator[AsyncStream]:
        """As `Client.stream`, with `async with` and `async for`."""
        session = timed(self._session, timeout)
        call = operations.call_of(
            endpoint, route, method, encode(input, files, form), headers, idempotency_key
        )
        clock = Clock.start(session)
        reply = await self._run(operations.open_stream(session, call, clock))
        response: httpx2.Response = reply.handle
        try:
            yield AsyncStream(response, clock)
        finally:
            await response.aclose()

    async def submit(
        self,
        endpoint: str,
        input: Input = None,
        *,
        route: str = "/",
        method: str = "POST",
        files: Files | None = None,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
        webhook_url: str | None = None,
        timeout: float | Default | None = DEFAULT,
    ) -> AsyncJob:
        """As `Client.submit`."""
        session = timed(self._session, timeout)
        call = operations.call_of(
            endpoint, route, method, encode(input, files, form), headers, idempotency_key
        )
        accepted = await self._run(operations.submit(session, call, webhook_url))
        return AsyncJob(self, accepted.id, endpoint)

    def job(self, request_id: str, endpoint: str | None = None) -> AsyncJob:
        """As `Client.job`."""
        return AsyncJob(self, request_id, endpoint)

    async def endpoints(self) -> list[EndpointInfo]:
        """As `Client.endpoints`."""
        return await self._run(operations.endpoints(self._session))

    async def endpoint(self, name: str) -> EndpointInfo:
        """As `Client.endpoint`."""
        return await self._run(operations.endpoint(self._session, name))

    async def templates(self) -> list[TemplateInfo]:
        """As `Client.templates`."""
        return await self._run(operations.templates(self._session))

    async def health(self) -> bool:
        """As `Client.health`."""
        return await self._run(operations.health(self._session))

    async def close(self) -> None:
        """Close the connections."""
        if self._owned:
            await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    async def _run(self, steps: Steps[T]) -> T:
        outcome: Outcome = None
        while True:
            try:
                effect = steps.send(outcome)
            except StopIteration as end:
                value: T = end.value
                return value
            outcome = await self._perform(effect)

    async def _perform(self, effect: Effect) -> Outcome:
        if isinstance(effect, Sleep):
            await anyio.sleep(effect.seconds)
            return None
        ends_at = None if effect.timeout_s is None else time.monotonic() + effect.timeout_s
        try:
            request = shells.build(self._http, effect)
            response = await self._http.send(request, stream=True, follow_redirects=False)
        except httpx2.RequestError as error:
            return shells.failure(error, effect)
        if shells.left_open(effect, response):
            return Reply(response.status_code, shells.lower(response.headers), handle=response)
        return await self._read(effect, response, ends_at)

    async def _read(self, effect: Send, response: httpx2.Response, ends_at: float | None) -> Outcome:
        """The rest of the answer, watched for the deadline, which a trickle of bytes would otherwise outlive."""
        parts = []
        try:
            async for chunk in response.aiter_bytes():
                parts.append(chunk)
                if ends_at is not None and time.monotonic() > ends_at:
                    return Failure("while the answer was coming in", timed_out=True)
                if effect.on_bytes:
                    effect.on_bytes(response.num_bytes_downloaded, shells.total_bytes(response.headers))
        except httpx2.RequestError as error:
            return shells.failure(error, effect)
        finally:
            await response.aclose()
        return Reply(response.status_code, shells.lower(response.headers), b"".join(parts))


class AsyncJob:
    """As `Job`, for asyncio."""

    def __init__(self, client: AsyncClient, request_id: str, endpoint: str | None) -> None:
        self._client = client
        self.id = request_id
        self.endpoint = endpoint

    async def status(self) -> JobStatus:
        """As `Job.status`."""
        return await self._client._run(operations.status(self._client._session, self.id, self.endpoint))

    async def result(self, timeout: float | Default | None = DEFAULT) -> Answer:
        """As `Job.result`."""
        session = timed(self._client._session, timeout)
        return await self._client._run(operations.result(session, self.id, self.endpoint))

    async def cancel(self) -> JobStatus:
        """As `Job.cancel`."""
        return await self._client._run(operations.cancel(self._client._session, self.id, self.endpoint))

    async def updates(self, timeout: float | Default | None = DEFAULT) -> AsyncIterator[JobStatus]:
        """As `Job.updates`."""
        session = timed(self._client._session, timeout)
        clock = Clock.start(session)
        current: JobStatus | None = None
        while current is None or not current.state.final:
            current = await self._client._run(
                operations.next_status(session, self.id, self.endpoint, current, clock)
            )
            yield current

    def __aiter__(self) -> AsyncIterator[JobStatus]:
        return self.updates()

    def __repr__(self) -> str:
        return f"AsyncJob({self.id!r}, endpoint={self.endpoint!r})"
