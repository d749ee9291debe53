"""What running processes tell about themselves: exactly the metrics of the contract."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from bench.ports import free_port
from waiting import until

from holdfast_contract import metrics, names
from holdfast_contract.metrics import Part

if TYPE_CHECKING:
    from dataplane import Plane

Start = Callable[[], Awaitable[str]]


@pytest.fixture
async def scaler(plane: Plane, tmp_path: Path) -> AsyncIterator[Start]:
    """Starts a scaler beside the data plane, its output in `scaler.log`; returns the URL of its HTTP side."""
    started: list[subprocess.Popen[bytes]] = []

    async def start() -> str:
        grpc_port, http_port = free_port(), free_port()
        env = {
            names.ENV_NATS_URL: plane.nats_url,
            names.ENV_DOCUMENTS_DIR: str(plane.documents),
            names.ENV_BIND: "127.0.0.1",
            names.ENV_PORT: str(grpc_port),
            names.ENV_INTERNAL_PORT: str(http_port),
        }
        started.append(spawn("holdfast_services.scaler", env, tmp_path / "scaler.log"))
        url = f"http://127.0.0.1:{http_port}"
        await until(lambda: plane.status(f"{url}/readyz", 200), "the scaler is ready")
        return url

    yield start
    for process in started:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def spawn(module: str, env: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    """A process in a group of its own, with its output in a file."""
    with log.open("wb") as out:
        return subprocess.Popen(
            [sys.executable, "-m", module],
            env={**os.environ, **env},
            stdout=out,
            stderr=out,
            start_new_session=True,
        )


def exported(text: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Of an exposition: kind and labels of each metric by name; labels are empty where it has no series yet."""
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    labels: dict[str, frozenset[str]] = dict.fromkeys(kinds, frozenset())
    for series, inside in re.findall(r"^(holdfast_\w+)(?:\{(.*)\})? ", text, re.MULTILINE):
        name = series if series in kinds else re.sub(r"_(bucket|sum|count)$", "", series)
        assert name in kinds, f"{series} is of no metric"
        labels[name] |= set(re.findall(r'(\w+)="', inside)) - {"le"}
    return {name: (kind, labels[name]) for name, kind in kinds.items()}


def assert_as_declared(part: Part, text: str) -> None:
    found = exported(text)
    declared = {metric.name: metric for metric in metrics.of(part)}
    assert set(found) == set(declared), "what is exported and the catalogue differ"
    for name, (kind, labels) in found.items():
        assert kind == declared[name].kind.value, name
        assert labels in (frozenset(), frozenset(declared[name].labels)), name


async def test_every_process_exports_exactly_the_metrics_of_the_catalogue(
    plane: Plane, scaler: Start
) -> None:
    plane.document()
    gateway = await plane.gateway()
    replica = await plane.replica()
    scaler_url = await scaler()
    async with plane.post(gateway.endpoint("demo")) as answer:
        assert answer.status == 200

    async def counted() -> bool:  # the answer is out a moment before the attempt is over
        async with plane.http.get(f"{replica.worker_url}/metrics") as page:
            return f'{metrics.EXECUTIONS}{{endpoint="demo",state="succeeded"}} 1.0' in await page.text()

    await until(counted, "the attempt is counted")
    texts = {}
    urls = {Part.GATEWAY: gateway.internal_url, Part.WORKER: replica.worker_url, Part.SCALER: scaler_url}
    for part, url in urls.items():
        async with plane.http.get(f"{url}/metrics") as page:
            assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
            texts[part] = await page.text()
    for part, text in texts.items():
        assert_as_declared(part, text)
        assert f"{metrics.BROKER_CONNECTED} 1.0" in text
    assert f'{metrics.ATTEMPT_WAIT_SECONDS}_count{{endpoint="demo"}} 1.0' in texts[Part.WORKER]
    assert f'{metrics.MODEL_READY}{{endpoint="demo"}} 1.0' in texts[Part.WORKER]
    assert f'{metrics.ACTIVATION_FAILING}{{endpoint="demo"}} 0.0' in texts[Part.GATEWAY]
    assert f'{metrics.SCALER_CALLS}{{code="OK",method="GetMetrics"}} 0.0' in texts[Part.SCALER]


async def test_a_lost_broker_and_a_long_attempt_are_seen_in_the_metrics(plane: Plane) -> None:
    plane.document()
    gateway = await plane.gateway()
    replica = await plane.replica(STANDIN_DELAY_MS="60000")

    async def figure(url: str, series: str) -> float:
        async with plane.http.get(f"{url}/metrics") as page:
            text = await page.text()
        return next(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(series))

    headers = {"authorization": f"Bearer {plane.token}"}
    held = asyncio.ensure_future(plane.http.post(gateway.endpoint("demo"), headers=headers))
    try:
        await replica.until_begun(1)
        age = f'{metrics.ATTEMPT_AGE}{{endpoint="demo"}}'

        async def older() -> bool:
            return await figure(replica.worker_url, age) > 0.3

        await until(older, "an age")
        assert await figure(replica.worker_url, f'{metrics.SLOTS_BUSY}{{endpoint="demo"}}') == 1
        held_callers = [
            await figure(gateway.internal_url, f'{name}{{endpoint="demo"}}')
            for name in (metrics.WAITING, metrics.RUNNING)
        ]
        assert sum(held_callers) == 1
        plane.nats.kill()
        for url in (gateway.internal_url, replica.worker_url):

            async def lost(url: str = url) -> bool:
                return await figure(url, metrics.BROKER_CONNECTED) == 0

            await until(lost, "a lost connection")
    finally:
        held.cancel()
