"""The calls of a service: never more at a time than declared, watched, and cancelled where their caller goes."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing, suppress
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from holdfast_runtime.service import bind_signal

_END: Final = object()
_LOOK_S: Final = 0.5
"""How often is looked, while the service stops, whether what still runs hangs."""


@dataclass(eq=False)
class Call:
    """One call that holds a slot."""

    name: str
    """Its route."""
    request_id: str | None
    progress_at: float
    """When it began, or gave the last item of its stream; by the calls' clock."""
    signal: threading.Event = field(default_factory=threading.Event)
    """Set once it is cancelled."""
    context: Context = field(default_factory=copy_context)

    def __post_init__(self) -> None:
        self.context.run(bind_signal, self.signal)


class Calls:
    """Slots, threads and the watchdog of one service."""

    def __init__(
        self, concurrency: int, hung_after_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._slots = asyncio.Semaphore(concurrency)
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix="service")
        self._hung_after_s = hung_after_s
        self._clock = clock
        self._running: set[Call] = set()
        self._waiting = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def running(self) -> int:
        """Calls that hold a slot, those included whose caller has gone but whose thread still works."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Calls that wait for a slot."""
        return self._waiting

    def hung(self) -> str | None:
        """What hangs, in words; None: nothing. Asked by the health check: nothing runs in the background."""
        for call in self._running:
            if self._hangs(call):
                silent_s = self._clock() - call.progress_at
                gone = ", and its caller has gone" if call.signal.is_set() else ""
                name = f"request {call.request_id}" if call.request_id else "a request"
                return (
                    f"{name} to /{call.name} has made no progress for {silent_s:.0f} s, above hung_after_s="
                    f"{self._hung_after_s:g}{gone}"
                )
        return None

    def _hangs(self, call: Call) -> bool:
        return self._clock() - call.progress_at > self._hung_after_s

    async def once(self, work: Callable[[], Any]) -> Any:
        """Run `setup` or `teardown`: in the service's thread, or on the loop where it is async."""
        result = await asyncio.wrap_future(self._pool.submit(work))
        return await result if inspect.isawaitable(result) else result

    async def run(
        self, name: str, work: Callable[[], Any], *, is_async: bool, request_id: str | None = None
    ) -> Any:
        """Call once a slot is free. When this is cancelled, an async method is cancelled; one in a thread has its
        `cancelled` signal set and keeps its slot until it has ended."""
        call = await self._enter(name, request_id)
        if not is_async:
            return await self._in_thread(call, work, leave=True)
        try:
            return await self._on_loop(call, work())
        finally:
            self._leave(call)

    async def stream(
        self, name: str, work: Callable[[], Any], *, is_async: bool, request_id: str | None = None
    ) -> AsyncGenerator[Any, None]:
        """The items of a generator method, each made when it is asked for. Close it (`aclosing`) to end the call."""
        call = await self._enter(name, request_id)
        handed_over = False
        try:
            if is_async:
                items = work()
                if inspect.isawaitable(items):
                    items = await self._on_loop(call, items)
                async with aclosing(self._async_items(call, items)) as steps:
                    async for item in steps:
                        yield item
                return
            iterator: Iterator[Any] = iter(await self._in_thread(call, work))
            try:
                while (item := await self._in_thread(call, partial(next, iterator, _END))) is not _END:
                    yield item
            finally:
                handed_over = True
                task = asyncio.create_task(self._close(call, iterator))
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)
        finally:
            if not handed_over:
                self._leave(call)

    async def _async_items(self, call: Call, items: Any) -> AsyncGenerator[Any, None]:
        iterator = aiter(items)
        try:
            while True:
                try:
                    item = await self._on_loop(call, anext(iterator))
                except StopAsyncIteration:
                    return
                call.progress_at = self._clock()
                yield item
        finally:
            call.signal.set()
            if isinstance(iterator, AsyncGenerator):
                await iterator.aclose()

    async def _on_loop(self, call: Call, work: Awaitable[Any]) -> Any:
        task = asyncio.get_running_loop().create_task(_outcome(work), context=call.context)
        try:
            result, error = await task
        except asyncio.CancelledError:
            call.signal.set()
            raise
        # StopAsyncIteration cannot leave a task, so outcomes travel as values.
        if error is not None:
            raise error
        return result

    async def _in_thread(self, call: Call, work: Callable[[], Any], *, leave: bool = False) -> Any:
        loop = asyncio.get_running_loop()
        future: Future[Any] = self._pool.submit(call.context.run, _caught, work)

        def ended(_: Future[Any]) -> None:
            call.progress_at = self._clock()
            if leave:
                loop.call_soon_threadsafe(self._leave, call)

        future.add_done_callback(ended)
        try:
            result, error = await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            call.signal.set()
            raise
        if error is not None:
            raise error
        return result

    async def _close(self, call: Call, iterator: Iterator[Any]) -> None:
        """End a generator in its thread, after the step that may still run there; then give the slot back."""
        call.signal.set()
        try:
            if isinstance(iterator, Generator):
                while True:
                    # With one thread this waits for the running step; with several it may come too early.
                    _, error = await asyncio.wrap_future(
                        self._pool.submit(call.context.copy().run, _caught, iterator.close)
                    )
                    if not (isinstance(error, ValueError) and "already executing" in str(error)):
                        break
                    await asyncio.sleep(0.05)
        finally:
            self._leave(call)

    async def _enter(self, name: str, request_id: str | None) -> Call:
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
        call = Call(name, request_id, self._clock())
        self._running.add(call)
        self._idle.clear()
        return call

    def _leave(self, call: Call) -> None:
        self._running.discard(call)
        self._slots.release()
        if not self._running:
            self._idle.set()

    async def drained(self) -> None:
        """Wait until no call holds a slot, or those that do hang: they would keep a replica's GPU for nobody."""
        while not all(self._hangs(call) for call in self._running):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), _LOOK_S)

    def close(self) -> None:
        """Start no thread any more; what runs in one is not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)


async def _outcome(work: Awaitable[Any]) -> tuple[Any, BaseException | None]:
    try:
        return await work, None
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        return None, error


def _caught(work: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    """Outcomes as values: StopIteration cannot travel through a future."""
    try:
        return work(), None
    except BaseException as error:
        return None, error
