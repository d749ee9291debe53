"""Waiting for what other processes do."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any

import pytest

DEADLINE_S = 20.0


async def until(
    condition: Callable[[], Any], what: str, *, deadline_s: float = DEADLINE_S, every_s: float = 0.02
) -> Any:
    """Wait until the condition (a function or a coroutine function) is true and return its value; fails the test at
    the deadline."""
    ends = time.monotonic() + deadline_s
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        if time.monotonic() > ends:
            pytest.fail(f"not within {deadline_s} s: {what}")
        await asyncio.sleep(every_s)
