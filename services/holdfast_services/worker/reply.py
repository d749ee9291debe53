"""Streaming an answer to the gateway that holds its caller."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from enum import Enum
from typing import Final

from holdfast_contract import names
from holdfast_services.answers import NOTHING_YET
from holdfast_services.logs import Log
from holdfast_services.worker.client import Client, split_url
from holdfast_services.worker.exchange import Broken

__all__ = ["Pace", "Receipt", "Reply", "ReplySession"]

_log = Log("reply")
_KEEP_ALIVE_S: Final = 30.0
"""Shorter than the gateway's, so that a connection is never closed just as it is used."""
_CONNECT_S: Final = 3.0

_QUICK_S: Final = 0.02
"""Above what an instant model seems to take beside a saturated worker (measured: 8 ms on average)."""
_QUICK_PATIENCE_S: Final = 0.05
_WEIGHT: Final = 0.1


class Pace:
    """When to open an answer's connection: while it is open, the gateway sees at once that the replica has died.

    A model that takes its time gets it at the claim. For one that answers within 20 ms a second message costs more
    than it brings (measured: 13 % of a busy worker's time); where it is slower than usual, it is opened after 50 ms.
    """

    def __init__(self) -> None:
        self._model_s: float | None = None

    @property
    def open_after_s(self) -> float:
        """0: at the claim, as for a model of which nothing is known."""
        return 0.0 if self._model_s is None or self._model_s >= _QUICK_S else _QUICK_PATIENCE_S

    def observe(self, model_s: float) -> None:
        """The model's answer began after this time. The usual time follows slowly."""
        known = self._model_s
        self._model_s = model_s if known is None else known + _WEIGHT * (model_s - known)


class Receipt(Enum):
    """What became of an answer."""

    DELIVERED = "delivered"
    UNWANTED = "unwanted"
    """The caller is gone: stop working."""
    DUPLICATE = "duplicate"
    """Another attempt is answering: stop working."""
    UNREACHABLE = "unreachable"
    """The gateway that held the caller is gone, or has restarted: keep the result."""
    SOURCE_BROKE = "source broke"
    """The answer itself broke off; the gateway has seen that."""


_RECEIPTS: Final = {200: Receipt.DELIVERED, 409: Receipt.DUPLICATE, 410: Receipt.UNWANTED}


class ReplySession:
    """Connections to gateways, kept open between answers."""

    def __init__(self) -> None:
        self._client = Client(keep_s=_KEEP_ALIVE_S, connect_s=_CONNECT_S)

    def close(self) -> None:
        """Close all connections that are idle."""
        self._client.close()

    async def send(self, url: str, ack_subject: str, frame: bytes) -> Receipt:
        """A whole answer at once. Tried twice: a kept connection may have been closed meanwhile, and a second
        delivery of the same answer is refused by the gateway as a duplicate."""
        receipt = await self.post(url, ack_subject, frame)
        if receipt is Receipt.UNREACHABLE:
            receipt = await self.post(url, ack_subject, frame)
        return receipt

    async def post(self, url: str, ack_subject: str, data: bytes | AsyncIterator[bytes]) -> Receipt:
        """Send `data`, as it comes where it comes in pieces; never raises but when cancelled."""
        try:
            address, target = split_url(url)
            answer = await self._client.request(
                "POST", address, target, ((names.HEADER_ACK, ack_subject),), data
            )
        except (OSError, ValueError) as error:
            _log.debug("gateway not reached", error=repr(error))
            return Receipt.UNREACHABLE
        answer.release()
        return _RECEIPTS.get(answer.status, Receipt.UNREACHABLE)


class Reply:
    """An answer whose connection is opened before there is anything to say.

    The gateway so learns at once that a replica works on the request, and at once when that replica dies.
    """

    def __init__(self, session: ReplySession, url: str, ack_subject: str) -> None:
        self._source: asyncio.Future[AsyncIterator[bytes]] = asyncio.get_running_loop().create_future()
        self._broke = False
        self._task = asyncio.create_task(session.post(url, ack_subject, self._pieces()))

    @property
    def task(self) -> asyncio.Task[Receipt]:
        """Done when the gateway has said what became of the answer, which may be before there is one."""
        return self._task

    async def send(self, source: AsyncIterator[bytes]) -> Receipt:
        """Stream `source`: the head's frame, then the body as it comes."""
        if not self._source.done():
            self._source.set_result(source)
        receipt = await asyncio.shield(self._task)
        return Receipt.SOURCE_BROKE if self._broke else receipt

    async def abandon(self) -> None:
        """Close the connection without an answer: the gateway gives the request back."""
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _pieces(self) -> AsyncIterator[bytes]:
        yield NOTHING_YET
        source = await self._source
        try:
            async for piece in source:
                yield piece
        except Exception as error:
            self._broke = True
            raise Broken("the answer broke off") from error
