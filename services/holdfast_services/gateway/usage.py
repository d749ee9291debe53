"""What an endpoint has cost since the month began: machine time at the declared price, kept in the broker.

Every gateway looks at the replicas every half a minute, and when there are more or fewer machines; whoever writes first
has counted that time, for the write is refused to all who read before it. Time in which no gateway runs is counted for
at most two minutes.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import nats.errors
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError

from holdfast_contract import names
from holdfast_contract.document import Price
from holdfast_services.broker import Broker, BrokerDown, BrokerError
from holdfast_services.documents import Snapshot
from holdfast_services.gateway.replicas import ReplicaCounts
from holdfast_services.logs import Log

__all__ = ["Tally", "Usage", "UsageBucket", "UsageStore", "machines"]

_log = Log("usage")
_LOOK_S: Final = 30.0
_TICK_S: Final = 2.0
"""How soon is noticed that machines came or went; costs no more than a glance at what is in memory."""
_MAX_GAP_S: Final = 120.0


def machines(price: Price, replicas: int) -> int:
    """Machines that so many replicas take: a machine is paid for whole."""
    return -(-replicas // price.replicas_per_instance)


@dataclass(frozen=True, slots=True)
class Tally:
    """What was counted so far in a month."""

    usd: float
    at: float
    """Unix seconds of the last look."""
    machines: int
    """Machines at that look: they are paid for until the next one."""

    def counted(self, now: float, count: int, price: Price) -> Tally:
        """With the time until `now`, and `count` machines from then on."""
        gap_s = min(max(0.0, now - self.at), _MAX_GAP_S)
        return Tally(self.usd + self.machines * price.usd_per_hour * gap_s / 3600, now, count)

    def to_bytes(self) -> bytes:
        """As it is stored."""
        return json.dumps(
            {"usd": round(self.usd, 6), "at": round(self.at, 3), "machines": self.machines}
        ).encode()

    @classmethod
    def from_bytes(cls, stored: bytes) -> Tally:
        """Raises ValueError for what is not a tally."""
        try:
            found = json.loads(stored)
            tally = cls(float(found["usd"]), float(found["at"]), int(found["machines"]))
        except (KeyError, TypeError, OverflowError, ValueError, RecursionError) as error:
            raise ValueError(f"not a tally: {error!r}") from error
        if not (0 <= tally.usd < math.inf and 0 <= tally.at < math.inf and tally.machines >= 0):
            raise ValueError(f"not a tally: {tally}")
        return tally


class UsageStore(Protocol):
    """Where tallies are kept."""

    async def read(self, key: str) -> tuple[bytes, int] | None:
        """A value and its revision; None: there is none. Raises BrokerError."""

    async def write(self, key: str, value: bytes, revision: int | None) -> bool:
        """False where it is not at `revision` any more (None: it must be new). Raises BrokerError."""


class UsageBucket:
    """The store in the broker."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def read(self, key: str) -> tuple[bytes, int] | None:
        """See UsageStore."""
        bucket = await self._broker.bucket(names.BUCKET_USAGE)
        try:
            entry = await bucket.get(key)
        except KeyNotFoundError:
            return None
        except (nats.errors.Error, OSError, TimeoutError) as error:
            raise BrokerDown(repr(error)) from error
        return entry.value or b"", entry.revision or 0

    async def write(self, key: str, value: bytes, revision: int | None) -> bool:
        """See UsageStore."""
        bucket = await self._broker.bucket(names.BUCKET_USAGE)
        try:
            if revision is None:
                await bucket.create(key, value)
            else:
                await bucket.update(key, value, last=revision)
        except KeyWrongLastSequenceError:
            return False
        except (nats.errors.Error, OSError, TimeoutError) as error:
            raise BrokerDown(repr(error)) from error
        return True


class Usage:
    """Counts, and tells what was counted."""

    def __init__(
        self,
        store: UsageStore,
        documents: Callable[[], Snapshot],
        counts: Callable[[str], ReplicaCounts | None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`clock`: Unix seconds."""
        self._store = store
        self._documents = documents
        self._counts = counts
        self._clock = clock
        self._known: dict[str, tuple[str, Tally]] = {}
        self._looked: dict[str, float] = {}
        """When each endpoint was looked at last."""
        self._unreadable: dict[str, str] = {}
        """The month whose tally could not be read, by endpoint: told once, not every half a minute."""

    def this_month(self, endpoint: str) -> float | None:
        """US dollars since the month began (UTC), as far as seen; None: not known, or what is stored is no tally."""
        month, tally = self._known.get(endpoint, (None, None))
        document = self._documents().get(endpoint)
        now = self._clock()
        if tally is None or month != _month(now) or document is None or document.price is None:
            return None
        return tally.counted(now, 0, document.price).usd

    async def run(self) -> None:
        """Count for ever."""
        while True:
            for name in [name for name in self._documents() if self.due(name)]:
                try:
                    await self.look(name)
                except BrokerError as error:
                    _log.debug("usage not counted", endpoint=name, error=str(error))
            await asyncio.sleep(_TICK_S)

    def due(self, name: str) -> bool:
        """Whether an endpoint is to be looked at: never done, not for half a minute, or its machines are others now."""
        looked, known, count = self._looked.get(name), self._known.get(name), self._machines(name)
        if count is None:
            return False
        changed = known is not None and known[1].machines != count
        return looked is None or changed or self._clock() - looked >= _LOOK_S

    def _machines(self, name: str) -> int | None:
        """Machines that an endpoint takes now; None: not known, or it has no price."""
        document, counts = self._documents().get(name), self._counts(name)
        if document is None or document.price is None or counts is None:
            return None
        return machines(document.price, counts.ready + counts.pending)

    async def look(self, name: str) -> None:
        """Count one endpoint's time until now, unless another gateway just did. Raises BrokerError.

        What is stored and is no tally stays as it is: a month begun anew would look like a small one.
        """
        document, count = self._documents().get(name), self._machines(name)
        if document is None or document.price is None or count is None:
            return
        now = self._clock()
        month = _month(now)
        self._looked[name] = now
        known = self._known.get(name)
        if known is not None and known[0] == month and not count and not known[1].machines:
            return  # nothing runs, nothing ran: nothing to write
        key = f"{name}.{month}"
        found = await self._store.read(key)
        if found is None:
            tally = Tally(0.0, now, count)
            if await self._store.write(key, tally.to_bytes(), None):
                self._known[name] = month, tally
            return
        try:
            before = Tally.from_bytes(found[0])
        except ValueError as error:
            self._known.pop(name, None)
            if self._unreadable.get(name) != month:
                self._unreadable[name] = month
                _log.warning(
                    "usage not counted: what is stored is no tally; delete it to count from nothing",
                    endpoint=name,
                    key=key,
                    bucket=names.BUCKET_USAGE,
                    error=str(error),
                )
            return
        self._known[name] = month, before
        if now - before.at < _LOOK_S / 2 and before.machines == count:
            return
        tally = before.counted(now, count, document.price)
        if await self._store.write(key, tally.to_bytes(), found[1]):
            self._known[name] = month, tally

    def forget(self, endpoint: str) -> None:
        """An endpoint ceased to exist; what it cost stays stored until the month's entry expires."""
        self._known.pop(endpoint, None)
        self._looked.pop(endpoint, None)
        self._unreadable.pop(endpoint, None)


def _month(now: float) -> str:
    return time.strftime("%Y-%m", time.gmtime(now))
