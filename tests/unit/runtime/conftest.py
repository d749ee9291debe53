"""A service started for one test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from served import Served

from holdfast_runtime import Service
from holdfast_runtime.app import Runtime

Serve = Callable[..., Awaitable[Served]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start a service class; `ready=False`: do not wait for its setup."""
    open_ones = []

    async def start(kind: type[Service], *, ready: bool = True, runtime: Runtime | None = None) -> Served:
        served = Served(runtime or Runtime(kind))
        context = served.running()
        await context.__aenter__()
        open_ones.append(context)
        if ready:
            await served.until_ready()
        return served

    yield start
    for context in open_ones:
        await context.__aexit__(None, None, None)
