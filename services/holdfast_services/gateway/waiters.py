"""Who waits for the end of a recorded request, wherever it ends."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from holdfast_contract.messages import RequestRecord
from holdfast_services.broker import BrokerError
from holdfast_services.gateway.held import HeldRequests, Outcome
from holdfast_services.records import Records

__all__ = ["Waiters"]

_POLL_S: Final = 2.0
"""An end is announced without a guarantee: it is looked for this often as well."""


class Waiters:
    """Wakes long polls and held callers when an end is announced."""

    def __init__(self, records: Records, held: HeldRequests) -> None:
        self._records = records
        self._held = held
        self._events: dict[str, tuple[asyncio.Event, int]] = {}

    async def announced(self, message: Any) -> None:
        """Handler of `done.*.*`."""
        request_id = message.subject.rsplit(".", 1)[1]
        entry = self._events.get(request_id)
        if entry is not None:
            entry[0].set()
        held = self._held.get(request_id)
        if held is not None and not held.committed and not held.running:
            # Its answer could not be streamed here, and was kept instead.
            held.finish(Outcome.STORED)

    async def ended(self, endpoint: str, request_id: str, seconds: float) -> RequestRecord | None:
        """The request's record once it has ended, or as it is after `seconds`. None: no such request.

        Raises BrokerError where the broker cannot be asked even at the end.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        event, users = self._events.get(request_id, (asyncio.Event(), 0))
        self._events[request_id] = (event, users + 1)
        try:
            while True:
                event.clear()
                left = until - loop.time()
                try:
                    record = await self._records.get(endpoint, request_id)
                except BrokerError:
                    if left <= 0:
                        raise
                else:
                    if record is None or record.state.terminal or left <= 0:
                        return record
                try:
                    await asyncio.wait_for(event.wait(), min(left, _POLL_S))
                except TimeoutError:
                    pass
        finally:
            event, users = self._events[request_id]
            if users <= 1:
                del self._events[request_id]
            else:
                self._events[request_id] = (event, users - 1)
