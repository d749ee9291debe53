"""A service class as a process: alone, and behind a real gateway, broker and worker."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

SERVICE = Path(__file__).resolve().parents[2] / "support" / "owncode"
ARGV = (sys.executable, "-m", "holdfast_runtime", str(SERVICE))


def words(record: Path) -> list[str]:
    return record.read_text().split() if record.exists() else []


async def replica(plane: Any, tmp_path: Path, **env: str) -> tuple[Any, Path]:
    """A worker and the service beside it, and the file in which the service records what it does."""
    record = tmp_path / "record"
    return await plane.replica(argv=ARGV, RECORD=str(record), PYTHONUNBUFFERED="1", **env), record


async def test_own_code_answers_through_gateway_queue_and_worker(plane: Any, tmp_path: Path) -> None:
    plane.document()
    gateway = await plane.gateway()
    _, record = await replica(plane, tmp_path)
    async with plane.post(gateway.endpoint("demo"), json={"text": "hello"}) as answer:
        assert (answer.status, await answer.text()) == (200, "HELLO")
    async with plane.post(gateway.endpoint("demo", "/infer"), json={"txt": "hello"}) as answer:
        problem = await answer.json(content_type="application/problem+json")
        assert answer.status == 422
        assert 'txt is "hello", no parameter of this route: did you mean text?' in problem["detail"]
        assert problem["request_id"] == answer.headers["x-request-id"]
    form = aiohttp.FormData()
    form.add_field("file", b"x" * 400_000, filename="a.bin")
    async with plane.post(gateway.endpoint("demo", "/size"), data=form) as answer:
        assert await answer.json() == 400_000
    async with plane.http.get(
        gateway.endpoint("demo", "/openapi.json"), headers={"authorization": f"Bearer {plane.token}"}
    ) as answer:
        assert (await answer.json())["info"]["title"] == "Worked"
    assert words(record).count("begin") == 1


async def test_a_stream_passes_item_by_item_and_a_broken_one_has_no_clean_end(
    plane: Any, tmp_path: Path
) -> None:
    plane.document()
    gateway = await plane.gateway()
    await replica(plane, tmp_path)
    async with plane.post(gateway.endpoint("demo", "/count"), json={"to": 3}) as answer:
        assert answer.content_type == "text/event-stream"
        assert await answer.read() == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"
    async with plane.post(gateway.endpoint("demo", "/half")) as answer:
        assert answer.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()


@pytest.mark.parametrize(
    ("path", "said"), [("/patient", "cancelled"), ("/sleepy", "cancelled"), ("/endless", "closed")]
)
async def test_a_caller_that_goes_cancels_the_call(plane: Any, tmp_path: Path, path: str, said: str) -> None:
    plane.document()
    gateway = await plane.gateway()
    _, record = await replica(plane, tmp_path)

    async def ask() -> None:
        async with plane.post(gateway.endpoint("demo", path)) as answer:
            await answer.read()

    asked = asyncio.create_task(ask())
    await plane.until_true(lambda: "begin" in words(record), "the call has begun")
    asked.cancel()
    await plane.until_true(lambda: said in words(record), "the call sees that its caller went", 2)
    async with plane.post(gateway.endpoint("demo"), json={"text": "next"}) as answer:
        assert await answer.text() == "NEXT"


async def test_sigterm_lets_what_runs_end_and_then_tears_down(plane: Any, tmp_path: Path) -> None:
    plane.document()
    gateway = await plane.gateway()
    one, record = await replica(plane, tmp_path)

    async def ask() -> str:
        async with plane.post(gateway.endpoint("demo"), json={"text": "last", "seconds": 0.5}) as answer:
            return str(await answer.text())

    asked = asyncio.create_task(ask())
    await plane.until_true(lambda: "begin" in words(record), "the call has begun")
    os.kill(one.model.popen.pid, signal.SIGTERM)
    assert await asked == "LAST"
    await plane.until_true(lambda: not one.model.alive, "the service has ended")
    assert (one.model.code, words(record)) == (0, ["setup", "begin", "end", "teardown"])


async def test_a_replica_takes_nothing_before_setup_has_ended(plane: Any, tmp_path: Path) -> None:
    plane.document()
    gateway = await plane.gateway()
    gate = tmp_path / "gate"
    record = tmp_path / "record"
    one = await plane.replica(argv=ARGV, RECORD=str(record), SETUP_GATE=str(gate), ready=False)

    asked = asyncio.create_task(plane.post(gateway.endpoint("demo"), json={"text": "held"}).__aenter__())
    await plane.until_depth(1, 0)
    await plane.until_status(f"{one.model_url}/healthcheck", 503)
    assert words(record) == []
    gate.touch()
    async with await asked as answer:
        assert await answer.text() == "HELD"


async def test_a_setup_that_fails_ends_the_process_with_the_reason_in_its_log(
    plane: Any, tmp_path: Path
) -> None:
    plane.document()
    one = await plane.replica(argv=ARGV, RECORD=str(tmp_path / "record"), SETUP_FAILS="1", ready=False)
    await plane.until_true(lambda: not one.model.alive, "the service has ended")
    assert one.model.code == 1
    assert "FileNotFoundError: weights.bin" in one.model.log.read_text()


async def test_a_hung_call_makes_the_health_check_fail_though_sigterm_cannot_end_it(
    plane: Any, tmp_path: Path
) -> None:
    plane.document()
    gateway = await plane.gateway()
    one, record = await replica(plane, tmp_path, HUNG_AFTER_S="0.3")

    async def ask() -> int:
        async with plane.post(gateway.endpoint("demo"), json={"text": "x", "seconds": 30}) as answer:
            return int(answer.status)

    asked = asyncio.create_task(ask())
    await plane.until_true(lambda: "begin" in words(record), "the call has begun")
    await plane.until_status(f"{one.model_url}/healthcheck", 503)
    async with plane.http.get(f"{one.model_url}/healthcheck") as answer:
        detail = (await answer.json(content_type="application/problem+json"))["detail"]
    assert "to /infer has made no progress for" in detail
    asked.cancel()
