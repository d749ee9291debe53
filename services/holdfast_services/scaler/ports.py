"""What the scaler's core needs from outside: the queues, the time, somebody who counts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from holdfast_contract.autoscaling import Decision
from holdfast_services.scaler.knowledge import Backlog, Reading

__all__ = ["Clock", "Observer", "Queues", "QueuesUnavailable"]


class QueuesUnavailable(Exception):
    """The queues cannot be read now."""


class Queues(Protocol):
    """What the scaler asks the broker."""

    async def read(self, endpoint: str, *, recent_since: float) -> Reading:
        """The exact state of one endpoint. The caller only wants to know whether there was activity after
        `recent_since` (Unix seconds), so the search may end at the first. Raises QueuesUnavailable."""
        ...

    async def sweep(self) -> Mapping[str, Backlog]:
        """All queues at once, by endpoint. Raises QueuesUnavailable."""
        ...


@dataclass(frozen=True, slots=True)
class Clock:
    """Where the time comes from; tests give their own."""

    unix: Callable[[], float] = time.time
    """Seconds since 1970: when requests came."""
    monotonic: Callable[[], float] = time.monotonic
    """Seconds that are never set back: how old a reading is."""


class Observer(Protocol):
    """Counts what happens."""

    def decided(self, endpoint: str, demand: int, decision: Decision) -> None:
        """A reading was made, and this follows from it."""
        ...

    def forgotten(self, endpoint: str) -> None:
        """An endpoint is no longer declared."""
        ...

    def woken(self) -> None:
        """A wake arrived."""
        ...

    def pushed(self) -> None:
        """Streams were told that an endpoint became active."""
        ...

    def read(self, *, ok: bool, seconds: float) -> None:
        """The broker was asked for one endpoint."""
        ...

    def swept(self, *, ok: bool, seconds: float) -> None:
        """The broker was asked for all queues."""
        ...
