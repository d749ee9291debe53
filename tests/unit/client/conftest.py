"""A client that talks to the stand-in in memory, with a clock that only tests move."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx2
import pytest

from holdfast_client import AsyncClient, Client


def _load(name: str) -> ModuleType:
    found = importlib.util.spec_from_file_location(
        f"holdfast_test_{name}", Path(__file__).parent / f"{name}.py"
    )
    assert found
    assert found.loader
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module
    found.loader.exec_module(module)
    return module


STANDIN = _load("standin")


class FakeTime:
    """Seconds pass when somebody sleeps, or when a test says so."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.sleeps: list[float] = []

    def __call__(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.seconds += seconds

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)


@pytest.fixture
def standin() -> ModuleType:
    """The module of the stand-in, for its helpers."""
    return STANDIN


@pytest.fixture
def gateway() -> Any:
    """The stand-in itself."""
    return STANDIN.Gateway()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    """Replaces every way in which the clients look at or spend time."""
    fake = FakeTime()
    monkeypatch.setattr("holdfast_client._client.time.sleep", fake.sleep)
    monkeypatch.setattr("holdfast_client._async_client.anyio.sleep", fake.sleep_async)
    return fake


def _still(made: Any, clock: FakeTime) -> Any:
    made._session = replace(
        made._session, monotonic=clock, now=clock, chance=lambda: 0.0, new_key=lambda: "key"
    )
    return made


@pytest.fixture
def client(gateway: Any, clock: FakeTime) -> Callable[..., Client]:
    """Makes a client of the stand-in."""

    def make(**how: Any) -> Client:
        http = httpx2.Client(transport=gateway.transport())
        made: Client = _still(Client(STANDIN.URL, "hf_test_secret", http_client=http, **how), clock)
        return made

    return make


@pytest.fixture
def async_client(gateway: Any, clock: FakeTime) -> Callable[..., AsyncClient]:
    """Makes an asyncio client of the stand-in."""

    def make(**how: Any) -> AsyncClient:
        http = httpx2.AsyncClient(transport=gateway.transport())
        made: AsyncClient = _still(AsyncClient(STANDIN.URL, "hf_test_secret", http_client=http, **how), clock)
        return made

    return make


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever the person who runs the tests has set, it does not reach them."""
    for name in ("HOLDFAST_URL", "HOLDFAST_TOKEN", "HOLDFAST_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOLDFAST_CONFIG", str(tmp_path / "config.toml"))
