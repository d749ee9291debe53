"""Ends asynchronous requests whose deadline passed while no replica was there to notice.

A held caller's gateway keeps the time itself; for others nobody does, and a queue whose endpoint cannot start would
ask for replicas for as long as the messages stay.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from holdfast_contract.messages import RequestMessage, RequestRecord, RequestState
from holdfast_services.broker import BrokerError
from holdfast_services.gateway.serve import Parts
from holdfast_services.logs import Log
from holdfast_services.records import Records

__all__ = ["Sweeper"]

_log = Log("sweeper")
_INTERVAL_S: Final = 5.0
_AT_ONCE: Final = 200
"""Messages looked at per endpoint and round: the oldest, which are those whose deadlines have passed if any have."""
_LATE_S: Final = 2.0
"""Workers end what they take; only what is overdue is ended here."""


class Sweeper:
    """Looks at the oldest messages of endpoints that have waiting requests."""

    def __init__(
        self, parts: Parts, records: Records, expired: Callable[[str], None] = lambda endpoint: None
    ) -> None:
        """`expired`: called with the endpoint of every request that was ended."""
        self._parts = parts
        self._expired = expired
        self._records = records

    async def run(self) -> None:
        """For ever, one endpoint after the other."""
        while True:
            await asyncio.sleep(_INTERVAL_S)
            for name in list(self._parts.catalog.documents):
                try:
                    await self._sweep(name)
                except BrokerError as error:
                    _log.debug("not swept", endpoint=name, error=str(error))

    async def _sweep(self, endpoint: str) -> None:
        sequence = 0
        for _ in range(_AT_ONCE):
            found = await self._parts.broker.peek(endpoint, sequence)
            if found is None:
                return
            sequence, message = found[0] + 1, found[1]
            if message is not None and message.recorded and self._overdue(message):
                await self._expire(message, found[0])

    def _overdue(self, message: RequestMessage) -> bool:
        return self._parts.clock() > message.deadline_at + _LATE_S

    async def _expire(self, message: RequestMessage, sequence: int) -> None:
        if await self._records.running_since(message.endpoint, message.id) is not None:
            return  # a worker has it, and ends it
        await self._records.end(
            RequestRecord(
                id=message.id,
                endpoint=message.endpoint,
                state=RequestState.EXPIRED,
                created_at=message.accepted_at,
                completed_at=self._parts.clock(),
                error="its deadline passed and no replica took it",
                webhook_url=message.webhook_url,
            )
        )
        await self._parts.broker.remove(message.endpoint, sequence)
        self._expired(message.endpoint)
        _log.info("expired", request_id=message.id, endpoint=message.endpoint)
