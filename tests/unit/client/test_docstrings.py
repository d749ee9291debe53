"""Every example in the client's docstrings runs, against the stand-in."""

from __future__ import annotations

import asyncio
import doctest
import importlib
import pkgutil
from typing import Any

import httpx2
import pytest

import holdfast_client

MODULES = [
    "holdfast_client",
    *(f"holdfast_client.{m.name}" for m in pkgutil.iter_modules(holdfast_client.__path__)),
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_run(name: str, gateway: Any, standin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    threads, tasks = httpx2.Client, httpx2.AsyncClient
    monkeypatch.setattr(httpx2, "Client", lambda **_: threads(transport=gateway.transport()))
    monkeypatch.setattr(httpx2, "AsyncClient", lambda **_: tasks(transport=gateway.transport()))
    monkeypatch.setenv("HOLDFAST_URL", standin.URL)
    found = doctest.testmod(
        importlib.import_module(name), extraglobs={"asyncio": asyncio}, optionflags=doctest.ELLIPSIS
    )
    assert found.failed == 0


def test_the_examples_are_found() -> None:
    """A test of examples that finds none would pass for ever."""
    finder = doctest.DocTestFinder()
    counted = sum(len(one.examples) for name in MODULES for one in finder.find(importlib.import_module(name)))
    assert counted >= 20
