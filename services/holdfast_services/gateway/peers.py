"""How many gateways are alive: each takes its part of every rate limit."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Any, Final, Protocol

from holdfast_contract import names

__all__ = ["Peers", "Publisher"]

_BEAT_S: Final = 2.0
_GONE_S: Final = 7.0
"""Three beats missed."""


class Publisher(Protocol):
    """What is needed of the broker."""

    async def publish(self, subject: str, payload: bytes = b"") -> bool:
        """See Broker."""


class Peers:
    """Hears the other gateways, and itself."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._me = secrets.token_hex(8).encode()
        self._seen: dict[bytes, float] = {}

    def alive(self) -> int:
        """At least 1: this one."""
        now = time.monotonic()
        for name in [name for name, at in self._seen.items() if now - at > _GONE_S]:
            del self._seen[name]
        return max(1, len(self._seen))

    async def heard(self, message: Any) -> None:
        """Handler of the gateways' subject."""
        self._seen[bytes(message.data)] = time.monotonic()

    async def run(self) -> None:
        """Say that this one lives, for ever."""
        while True:
            await self._publisher.publish(names.SUBJECT_GATEWAYS, self._me)
            await asyncio.sleep(_BEAT_S)
