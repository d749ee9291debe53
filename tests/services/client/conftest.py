"""The data plane of the other tests, and clients of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import dataplane
import pytest

import holdfast_client


@pytest.fixture(name="dataplane")
def dataplane_module() -> ModuleType:
    """The module of the data plane, for its tokens and helpers."""
    return dataplane


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., Any]]:
    """Makes asyncio clients, and closes them; `kind` chooses the one of threads."""
    made: list[Any] = []

    def make(url: str, token: str | None = dataplane.TOKEN, *, threads: bool = False, **how: Any) -> Any:
        kind = holdfast_client.Client if threads else holdfast_client.AsyncClient
        made.append(kind(url, token, **how))
        return made[-1]

    yield make
    for client in made:
        if isinstance(client, holdfast_client.AsyncClient):
            await client.close()
        else:
            client.close()


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever the person who runs the tests has set, it does not reach them."""
    for name in ("HOLDFAST_URL", "HOLDFAST_TOKEN", "HOLDFAST_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOLDFAST_CONFIG", str(tmp_path / "none.toml"))
