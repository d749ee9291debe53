"""The model stand-in does what its headers say, and records it truly: other tests rest on it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

STANDIN = Path(__file__).resolve().parents[2] / "support" / "standin" / "standin.py"
Start = Callable[..., "Running"]


class Running:
    """A stand-in process, and its address once it listens."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        words = process.stdout.readline().split()
        self.url = f"http://127.0.0.1:{words[1]}" if words[:1] == ["listening"] else ""


@pytest.fixture
def start() -> Iterator[Start]:
    processes: list[subprocess.Popen[str]] = []

    def run(**environ: str) -> Running:
        process = subprocess.Popen(
            [sys.executable, STANDIN],
            env={"PATH": os.environ["PATH"], "STANDIN_PORT": "0", "STANDIN_NAME": "one", **environ},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        processes.append(process)
        return Running(process)

    yield run
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture
async def http() -> Any:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        yield session


async def _stats(http: aiohttp.ClientSession, one: Running) -> dict[str, Any]:
    async with http.get(f"{one.url}/__stats") as answer:
        return dict(await answer.json())


async def _until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not await condition():  # noqa: ASYNC110 - what is waited for is in another process
            await asyncio.sleep(0.01)


async def test_it_accounts_for_the_request_that_it_executed(
    start: Start, http: aiohttp.ClientSession
) -> None:
    one = start()
    headers = {"x-request-id": "r1", "x-attempt": "2"}
    async with http.post(f"{one.url}/predict?a=b", data=b"hello", headers=headers) as answer:
        account = await answer.json()
    assert (account["standin"], account["request_id"], account["attempt"]) == ("one", "r1", "2")
    assert (account["path"], account["query"]) == ("/predict", "a=b")
    assert account["body_sha256"] == hashlib.sha256(b"hello").hexdigest()
    stats = await _stats(http, one)
    assert [execution["outcome"] for execution in stats["executions"]] == ["answered"]


async def test_peak_concurrency_is_the_most_at_the_same_time(
    start: Start, http: aiohttp.ClientSession
) -> None:
    one = start(STANDIN_DELAY_MS="200")

    async def call() -> None:
        async with http.post(f"{one.url}/predict") as answer:
            await answer.read()

    await asyncio.gather(*(call() for _ in range(4)))
    assert (await _stats(http, one))["peak_concurrency"] == 4
    await http.post(f"{one.url}/__reset")
    await call()
    await call()
    stats = await _stats(http, one)
    assert (stats["peak_concurrency"], stats["executed"], stats["running"]) == (1, 2, 0)


async def test_a_header_wins_over_the_query_and_that_over_the_environment(
    start: Start, http: aiohttp.ClientSession
) -> None:
    one = start(STANDIN_SIZE="10")
    async with http.get(f"{one.url}/a") as answer:
        assert len(await answer.read()) == 10
    async with http.get(f"{one.url}/a?x-size=20") as answer:
        assert len(await answer.read()) == 20
    async with http.get(f"{one.url}/a?x-size=20", headers={"x-size": "30"}) as answer:
        assert len(await answer.read()) == 30


async def test_it_streams_chunks_and_events(start: Start, http: aiohttp.ClientSession) -> None:
    one = start()
    async with http.get(f"{one.url}/a?x-stream-chunks=3&x-size=100") as answer:
        assert answer.headers["transfer-encoding"] == "chunked"
        assert len(await answer.read()) == 300
    async with http.get(f"{one.url}/a?x-stream-chunks=2&x-stream-kind=sse") as answer:
        assert answer.content_type == "text/event-stream"
        events = [line[6:] for line in (await answer.text()).splitlines() if line.startswith("data: ")]
    assert [json.loads(event)["chunk"] for event in events] == [0, 1]


async def test_a_caller_that_goes_away_is_recorded_as_canceled(
    start: Start, http: aiohttp.ClientSession
) -> None:
    one = start()
    call = asyncio.create_task(http.get(f"{one.url}/a?x-delay-ms=60000"))

    async def running() -> bool:
        return (await _stats(http, one))["running"] == 1

    async def idle() -> bool:
        return not await running()

    await _until(running)
    call.cancel()
    await _until(idle)
    assert (await _stats(http, one))["executions"][0]["outcome"] == "canceled"


@pytest.mark.parametrize("crash", ["drop", "garbage"])
async def test_it_can_break_the_connection_and_live_on(
    start: Start, http: aiohttp.ClientSession, crash: str
) -> None:
    one = start()
    with pytest.raises(aiohttp.ClientError):
        await http.post(f"{one.url}/a?x-crash={crash}")
    assert (await _stats(http, one))["executions"][0]["outcome"] == "dropped"


@pytest.mark.parametrize(("crash", "received"), [("before", b""), ("mid", b"0123456789abcdef" * 2)])
async def test_a_crash_ends_the_process_and_its_log_survives(
    start: Start, http: aiohttp.ClientSession, tmp_path: Path, crash: str, received: bytes
) -> None:
    log = tmp_path / "log"
    one = start(STANDIN_LOG=str(log))
    got = bytearray()

    async def call() -> None:
        async with http.post(f"{one.url}/a?x-stream-chunks=4&x-crash={crash}") as answer:
            async for chunk in answer.content.iter_any():
                got.extend(chunk)

    with pytest.raises(aiohttp.ClientError):
        await call()
    assert one.process.wait(10) == 70
    assert got == received
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(event["event"], event["outcome"]) for event in events] == [
        ("begin", "running"),
        ("end", "crashed"),
    ]


async def test_health_is_late_or_fails_when_told(start: Start, http: aiohttp.ClientSession) -> None:
    late = start(STANDIN_HEALTH_DELAY_MS="300")

    async def healthy(one: Running) -> bool:
        async with http.get(f"{one.url}/healthcheck") as answer:
            return answer.status == 200

    assert not await healthy(late)
    await _until(lambda: healthy(late))
    await http.post(f"{late.url}/__health?state=fail")
    assert not await healthy(late)
    tired = start(STANDIN_HEALTH_FAIL_AFTER="1")
    assert await healthy(tired)
    await http.post(f"{tired.url}/a")
    assert not await healthy(tired)


async def test_values_of_variables_and_files_are_told_by_hash_only(
    start: Start, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("s3cret")
    one = start(TOKEN="s3cret")
    expected = hashlib.sha256(b"s3cret").hexdigest()
    for question in ("__env?name=TOKEN", f"__file?path={tmp_path}/secret"):
        async with http.get(f"{one.url}/{question}") as answer:
            assert await answer.json() == {"sha256": expected}
    async with http.get(f"{one.url}/__env?name=OTHER") as answer:
        assert await answer.json() == {"sha256": None}


@pytest.mark.parametrize(
    ("environ", "code"), [({"STANDIN_EXIT_AT_START": "3"}, 3), ({"STANDIN_REQUIRE_ENV": "DB_URL"}, 78)]
)
def test_it_can_refuse_to_start(start: Start, environ: dict[str, str], code: int) -> None:
    assert start(**environ).process.wait(10) == code


async def test_at_sigterm_it_finishes_what_it_began(start: Start, http: aiohttp.ClientSession) -> None:
    one = start()
    call = asyncio.create_task(http.get(f"{one.url}/a?x-delay-ms=500"))

    async def running() -> bool:
        return (await _stats(http, one))["running"] == 1

    await _until(running)
    one.process.send_signal(signal.SIGTERM)
    assert (await call).status == 200
    assert await asyncio.to_thread(one.process.wait, 10) == 0
