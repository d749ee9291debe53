"""Receiving request bodies: small ones stay inline, large ones go to the object store as they arrive."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from holdfast_contract import names, problems
from holdfast_services.bodies import BodyStore, BodyWriter
from holdfast_services.broker import BrokerError
from holdfast_services.gateway.core.refusal import Refusal

__all__ = ["Body", "CallerGone", "receive_body", "too_large"]

_IDLE_S: Final = 60.0
"""Longest pause between two pieces of a body: a caller must not hold memory for ever by sending slowly."""
_START_S: Final = 60.0
_MIN_BYTES_PER_S: Final = 1024
"""Slowest that a body may come after its first `_START_S` seconds, on average: a pause-free trickle holds as much."""


class CallerGone(Exception):
    """The caller went away before its request was accepted."""


@dataclass(frozen=True, slots=True)
class Body:
    """A request's body."""

    inline: bytes
    stored_as: str | None
    """Name in the object store; then `inline` is empty."""
    length: int
    sha256: str | None
    """Only where it was asked for."""


async def receive_body(
    receive: Callable[[], Awaitable[dict[str, Any]]],
    *,
    name: str,
    limit: int,
    bodies: BodyStore,
    digest: bool,
) -> Body:
    """`name`: what it is called in the object store if it goes there. `limit`: most bytes.

    Raises CallerGone; or Refusal: too large, too slow, or the store cannot be reached.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    event = await _next(receive)
    first: bytes = event.get("body", b"")
    if not event.get("more_body", False) and len(first) <= min(limit, names.INLINE_BODY_BYTES):
        return Body(first, None, len(first), hashlib.sha256(first).hexdigest() if digest else None)
    buffer, more, length = bytearray(first), event.get("more_body", False), len(first)
    hasher = hashlib.sha256(first)
    writer: BodyWriter | None = None
    try:
        while True:
            if length > limit:
                raise too_large(limit)
            if writer is None and len(buffer) > names.INLINE_BODY_BYTES:
                writer = bodies.writer(name)
            if writer is not None:
                await writer.write(bytes(buffer))
                buffer.clear()
            if not more:
                break
            if loop.time() - began > _START_S + length / _MIN_BYTES_PER_S:
                raise _too_slow(f"{length} bytes of the body came in {loop.time() - began:.0f} s")
            event = await _next(receive)
            piece: bytes = event.get("body", b"")
            more = event.get("more_body", False)
            length += len(piece)
            hasher.update(piece)
            buffer += piece
        if writer is not None:
            await writer.finish()
    except BaseException as error:
        if writer is not None:
            await _abandon(writer)
        if isinstance(error, BrokerError):
            raise Refusal(
                problems.QUEUE_DOWN, f"the body could not be stored: {error}", retry_after_s=2
            ) from error
        raise
    stored_as = writer.name if writer is not None else None
    return Body(bytes(buffer), stored_as, length, hasher.hexdigest() if digest else None)


def too_large(limit: int) -> Refusal:
    """The refusal of a body above `limit` bytes. The connection closes: the rest of the body may still come."""
    return Refusal(
        problems.TOO_LARGE, f"bodies may have {limit} bytes at most", headers={"connection": "close"}
    )


def _too_slow(detail: str) -> Refusal:
    return Refusal(problems.BAD_REQUEST, f"{detail}: send it faster", headers={"connection": "close"})


async def _next(receive: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    try:
        async with asyncio.timeout(_IDLE_S):
            event = await receive()
    except TimeoutError:
        raise _too_slow(f"no piece of the body came for {_IDLE_S:.0f} s") from None
    if event["type"] == "http.disconnect":
        raise CallerGone
    return event


async def _abandon(writer: BodyWriter) -> None:
    try:
        await writer.abandon()
    except BrokerError:
        pass  # the store drops it after its retention
