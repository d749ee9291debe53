"""Tells the autoscaler that an endpoint is wanted: a wake at once, the time of the last request soon after."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from holdfast_contract import names
from holdfast_services.broker import BrokerError
from holdfast_services.logs import Log

__all__ = ["Activity", "ActivityStore"]

_log = Log("activity")
_WAKE_INTERVAL_S: Final = 0.05
"""A wake says "demand is above 0 now"; saying it again within this time tells nobody anything new."""
_WRITE_INTERVAL_S: Final = 1.0
"""At most one write a second for each endpoint and gateway."""


class ActivityStore(Protocol):
    """What is needed of the broker."""

    async def publish(self, subject: str, payload: bytes = b"") -> bool:
        """See Broker."""

    async def touch_activity(self, endpoint: str, at: float) -> None:
        """See Broker."""


class Activity:
    """Every endpoint's last request, as this gateway saw it."""

    def __init__(self, store: ActivityStore) -> None:
        self._store = store
        self._woken: dict[str, float] = {}
        self._changed: dict[str, float] = {}
        self._last: dict[str, float] = {}
        self._wanted = asyncio.Event()

    def last(self, endpoint: str) -> float | None:
        """Unix seconds of the last request through this gateway; None: none yet."""
        return self._last.get(endpoint)

    async def accepted(self, endpoint: str, now: float) -> None:
        """A request was put into the queue."""
        if now - self._woken.get(endpoint, 0.0) >= _WAKE_INTERVAL_S:
            self._woken[endpoint] = now
            await self._store.publish(names.wake_subject(endpoint))
        self.seen(endpoint, now)

    def seen(self, endpoint: str, now: float) -> None:
        """A request arrived or ended: the endpoint is not idle."""
        self._last[endpoint] = self._changed[endpoint] = now
        if not self._wanted.is_set():
            self._wanted.set()

    def forget(self, endpoint: str) -> None:
        """The endpoint is no more."""
        for times in (self._woken, self._changed, self._last):
            times.pop(endpoint, None)

    async def run(self) -> None:
        """Write what changed, for ever."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            changed, self._changed = self._changed, {}
            for endpoint, at in changed.items():
                try:
                    await self._store.touch_activity(endpoint, at)
                except BrokerError as error:
                    _log.debug("activity not written", endpoint=endpoint, error=str(error))
                    self._changed.setdefault(endpoint, at)
            await asyncio.sleep(_WRITE_INTERVAL_S)

    async def flush(self) -> None:
        """Write what is not written yet: before this gateway stops."""
        for endpoint, at in self._changed.items():
            try:
                await self._store.touch_activity(endpoint, at)
            except BrokerError:
                return
        self._changed.clear()
