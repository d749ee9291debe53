"""How many calls run, how they end, and what the health check says of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import pytest
from served import Got, Served

from holdfast_runtime import Service, cancelled, check_cancelled
from holdfast_runtime.app import Runtime
from holdfast_runtime.calls import Calls


async def until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


class Gate(Service):
    """Calls that go on until the test says so."""

    opened: threading.Event
    seen: list[str]

    def setup(self) -> None:
        self.opened = threading.Event()
        self.seen = [threading.current_thread().name]
        self.now = self.peak = 0

    def infer(self, name: str) -> str:
        self.now += 1
        self.peak = max(self.peak, self.now)
        self.seen.append(threading.current_thread().name)
        self.opened.wait(5)
        self.now -= 1
        return name

    def patient(self) -> str:
        self.seen.append("begun")
        while not cancelled():
            self.opened.wait(0.001)
        self.seen.append("saw it")
        check_cancelled()
        raise AssertionError

    def items(self) -> Iterator[int]:
        try:
            yield from range(10**9)
        finally:
            self.seen.append("closed")

    async def sleepy(self) -> None:
        self.seen.append("begun")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.seen.append("cancelled")
            raise

    async def aitems(self) -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.sleep(60)
        finally:
            self.seen.append("closed")

    def teardown(self) -> None:
        self.seen.append("teardown")


class TwoGates(Gate):
    concurrency = 2


@pytest.mark.parametrize(("kind", "peak"), [(Gate, 1), (TwoGates, 2)])
async def test_never_more_calls_run_than_declared_and_the_others_wait(
    serve: Any, kind: Any, peak: int
) -> None:
    served = await serve(kind)
    service: Any = served.runtime.service
    asked = [asyncio.create_task(served.ask(name=str(number))) for number in range(5)]
    await until(lambda: served.runtime.calls.running == peak and served.runtime.calls.waiting == 5 - peak)
    health = await served.get("/healthcheck")
    assert (health.status, health.json) == (200, {"ready": True, "running": peak, "waiting": 5 - peak})
    # A call holds its slot a moment before its thread begins.
    await until(lambda: service.now == peak)
    service.opened.set()
    assert [(await one).body for one in asked] == [b"0", b"1", b"2", b"3", b"4"]
    assert service.peak == peak


async def test_with_concurrency_1_every_call_runs_in_the_thread_that_ran_setup(serve: Any) -> None:
    served = await serve(Gate)
    served.runtime.service.opened.set()
    for _ in range(3):
        await served.ask(name="x")
    assert len(set(served.runtime.service.seen)) == 1


async def test_code_in_a_thread_sees_that_its_caller_went_and_keeps_its_slot_until_it_ends(
    serve: Any,
) -> None:
    served = await serve(Gate)
    leave = asyncio.Event()
    asked = asyncio.create_task(served.ask("/patient", leave=leave))
    await until(lambda: "begun" in served.runtime.service.seen)
    leave.set()
    got = await asked
    assert got.status == 0
    await until(lambda: "saw it" in served.runtime.service.seen and served.runtime.calls.running == 0)


async def test_code_that_does_not_look_keeps_its_slot_though_its_caller_went(serve: Any) -> None:
    served = await serve(Gate)
    leave = asyncio.Event()
    asked = asyncio.create_task(served.ask(name="deaf", leave=leave))
    await until(lambda: served.runtime.service.now == 1)
    leave.set()
    await asked
    assert served.runtime.calls.running == 1
    served.runtime.service.opened.set()
    await until(lambda: served.runtime.calls.running == 0)


async def test_async_code_is_cancelled_when_its_caller_goes(serve: Any) -> None:
    served = await serve(Gate)
    leave = asyncio.Event()
    asked = asyncio.create_task(served.ask("/sleepy", leave=leave))
    await until(lambda: "begun" in served.runtime.service.seen)
    leave.set()
    await asked
    assert "cancelled" in served.runtime.service.seen
    assert served.runtime.calls.running == 0


@pytest.mark.parametrize("path", ["/items", "/aitems"])
async def test_a_stream_is_closed_when_its_caller_goes(serve: Any, path: str) -> None:
    served = await serve(Gate)
    leave, got = asyncio.Event(), Got()
    asked = asyncio.create_task(served.ask(path, leave=leave, got=got))
    await until(lambda: got.pieces)
    leave.set()
    await asked
    await until(lambda: "closed" in served.runtime.service.seen and served.runtime.calls.running == 0)
    assert not got.ended


async def test_a_request_whose_caller_goes_while_it_waits_is_never_begun(serve: Any) -> None:
    served = await serve(Gate)
    leave = asyncio.Event()
    first = asyncio.create_task(served.ask(name="first"))
    second = asyncio.create_task(served.ask(name="second", leave=leave))
    await until(lambda: served.runtime.calls.waiting == 1)
    leave.set()
    await second
    assert served.runtime.calls.waiting == 0
    served.runtime.service.opened.set()
    assert (await first).body == b"first"
    assert served.runtime.service.peak == 1


async def test_the_health_check_is_503_until_setup_has_ended_and_so_are_requests(serve: Any) -> None:
    opened = threading.Event()

    class Slow(Gate):
        def setup(self) -> None:
            opened.wait(5)
            super().setup()

    served = await serve(Slow, ready=False)
    health, asked = await served.get("/healthcheck"), await served.ask(name="x")
    assert health.status == asked.status == 503
    assert health.json["detail"] == "setup() has not ended yet"
    assert asked.headers["retry-after"] == "5"
    opened.set()
    await served.until_ready()
    assert (await served.get("/healthcheck")).status == 200


async def test_a_setup_that_fails_is_told_and_ends_the_process(serve: Any) -> None:
    class Broken(Gate):
        def setup(self) -> None:
            raise FileNotFoundError("weights.bin")

    told: list[bool] = []
    served = await serve(Broken, ready=False, runtime=Runtime(Broken, on_failure=lambda: told.append(True)))
    await until(lambda: told)
    assert (await served.get("/healthcheck")).json[
        "detail"
    ] == "setup() failed: FileNotFoundError: weights.bin"


async def test_the_health_check_is_503_while_a_call_makes_no_progress() -> None:
    now = 100.0
    calls = Calls(1, 30, clock=lambda: now)
    opened = threading.Event()
    asked = asyncio.create_task(calls.run("infer", lambda: opened.wait(5), is_async=False, request_id="r1"))
    await until(lambda: calls.running == 1)
    now += 30
    assert calls.hung() is None
    now += 1
    assert calls.hung() == "request r1 to /infer has made no progress for 31 s, above hung_after_s=30"
    asked.cancel()
    with suppress(asyncio.CancelledError):
        await asked
    assert "and its caller has gone" in str(calls.hung())
    opened.set()
    await until(lambda: calls.running == 0)
    assert calls.hung() is None
    calls.close()


async def test_every_item_of_a_stream_is_progress() -> None:
    now = 0.0
    calls = Calls(1, 30, clock=lambda: now)
    stream = calls.stream("items", lambda: iter([1, 2, 3]), is_async=False)
    for _ in range(3):
        await anext(stream)
        now += 20
        assert calls.hung() is None
    await stream.aclose()
    await calls.drained()
    calls.close()


async def test_a_hung_service_begins_nothing_new(serve: Any) -> None:
    class Quick(Gate):
        hung_after_s = 0.01

    served = await serve(Quick)
    asked = asyncio.create_task(served.ask(name="x"))
    await until(lambda: served.runtime.calls.hung())
    refused = await served.ask(name="y")
    assert (refused.status, refused.json["type"]) == (503, "https://holdfast.dev/problems/hung")
    assert (await served.get("/healthcheck")).status == 503
    served.runtime.service.opened.set()
    assert (await asked).status == 200


async def test_stopping_does_not_wait_for_a_call_that_hangs_and_whose_caller_has_gone(serve: Any) -> None:
    class Quick(Gate):
        hung_after_s = 0.01

    served = Served(Runtime(Quick))
    async with served.running():
        await served.until_ready()
        service: Any = served.runtime.service
        asked = asyncio.create_task(served.ask(name="last"))
        await until(lambda: served.runtime.calls.hung())
        asked.cancel()
    assert "teardown" not in service.seen
    service.opened.set()


async def test_stopping_waits_for_what_runs_and_then_tears_down(serve: Any) -> None:
    served = Served(Runtime(Gate))
    async with served.running():
        await served.until_ready()
        service: Any = served.runtime.service
        asked = asyncio.create_task(served.ask(name="last"))
        await until(lambda: served.runtime.calls.running == 1)
        asyncio.get_running_loop().call_later(0.02, service.opened.set)
    assert (await asked).body == b"last"
    assert service.seen[-1] == "teardown"
