"""What stays of a request after an attempt: its result, and the record of how it ended."""

from __future__ import annotations

import asyncio
import base64
import time
from typing import Final

from holdfast_contract.messages import RequestMessage, RequestRecord, RequestState
from holdfast_services.answers import AnswerHead
from holdfast_services.bodies import BodyStore, BodyWriter
from holdfast_services.broker import BrokerError
from holdfast_services.logs import Log
from holdfast_services.records import MAX_INLINE_RESULT_BYTES, Records
from holdfast_services.worker.model import BadAnswer

__all__ = ["Book", "Sink"]

_log = Log("attempt")
_WRITES: Final = 40
_WRITE_PAUSE_S: Final = 0.5


class Sink:
    """Keeps a result: in the record where it is small, in the object store where it is not."""

    def __init__(self, bodies: BodyStore, name: str, limit_bytes: int) -> None:
        """`limit_bytes`: more is not kept: the store is shared by all endpoints."""
        self._bodies = bodies
        self._name = name
        self._limit_bytes = limit_bytes
        self._size_bytes = 0
        self._buffer = bytearray()
        self._writer: BodyWriter | None = None

    async def write(self, data: bytes) -> None:
        """Append. Raises BadAnswer above the limit."""
        self._size_bytes += len(data)
        if self._size_bytes > self._limit_bytes:
            raise BadAnswer(
                f"the answer is above {self._limit_bytes} bytes, the most that is kept: ask for it synchronously"
            )
        if self._writer is None:
            self._buffer += data
            if len(self._buffer) <= MAX_INLINE_RESULT_BYTES:
                return
            self._writer = self._bodies.writer(self._name)
            data = bytes(self._buffer)
            self._buffer.clear()
        await self._writer.write(data)

    async def finish(self) -> tuple[str | None, str | None]:
        """Name in the object store, or the body itself in base64; neither where it is empty."""
        if self._writer is not None:
            await self._writer.finish()
            writer, self._writer = self._writer, None
            return writer.name, None
        return None, base64.b64encode(self._buffer).decode() if self._buffer else None

    async def abandon(self) -> None:
        """Drop what was kept; nothing happens where it is finished."""
        if self._writer is not None:
            try:
                await self._writer.abandon()
            except BrokerError:
                pass  # the store drops it after its retention


class Book:
    """Writes what is known of one request beyond its message, as one attempt sees it."""

    def __init__(
        self,
        records: Records,
        bodies: BodyStore,
        message: RequestMessage,
        *,
        attempt: int,
        replica: str,
        started_at: float,
    ) -> None:
        """`attempt`: 1 for the first. `started_at`: Unix seconds of the claim."""
        self._records = records
        self._bodies = bodies
        self._message = message
        self._attempt = attempt
        self._replica = replica
        self._started_at = started_at

    def _record(self, state: RequestState, error: str | None = None) -> RequestRecord:
        return RequestRecord(
            id=self._message.id,
            endpoint=self._message.endpoint,
            state=state,
            created_at=self._message.accepted_at,
            started_at=self._started_at,
            completed_at=time.time() if state.terminal else None,
            attempt=self._attempt,
            replica=self._replica,
            error=error,
            webhook_url=self._message.webhook_url,
        )

    async def running(self) -> None:
        """A replica works on it. Without a broker it is not said."""
        try:
            await self._records.running(self._record(RequestState.RUNNING))
        except BrokerError as error:
            _log.debug("running not recorded", request_id=self._message.id, error=str(error))

    async def succeeded(self, head: AnswerHead, sink: Sink) -> None:
        """It was answered; `sink` has the body. As `ended`, but raises BrokerError where a large result cannot be
        stored."""
        stored_as, inline = await sink.finish()
        result = {
            "status": head.status,
            "headers": head.headers,
            "result_object": stored_as,
            "result_base64": inline,
        }
        await self._write_end(self._record(RequestState.SUCCEEDED).model_copy(update=result))

    async def ended(self, state: RequestState, why: str) -> None:
        """It is over without an answer.

        The end is written before the message leaves the queue: until then a lost worker costs a repetition,
        never the result. Raises nothing: without a broker the message stays, and comes back.
        """
        await self._write_end(self._record(state, why))

    async def ended_before(self) -> RequestRecord | None:
        """How an earlier attempt ended it, whose acknowledgement was lost; None: none did. Its webhook is
        announced again. Raises BrokerError."""
        ended = await self._records.ended(self._message.endpoint, self._message.id)
        if ended is not None:
            await self._records.announce(ended.model_copy(update={"webhook_url": self._message.webhook_url}))
        return ended

    async def drop_body(self) -> None:
        """The stored body of the request is not needed any more."""
        if self._message.body_object is not None:
            try:
                await self._bodies.delete(self._message.body_object)
            except BrokerError:
                pass  # the store drops it after its retention

    async def _write_end(self, record: RequestRecord) -> None:
        for attempt in range(_WRITES):
            try:
                if not self._message.recorded:
                    await self._records.create(record.model_copy(update={"state": RequestState.QUEUED}))
                await self._records.end(record)
                return
            except BrokerError as error:
                _log.warning("end not recorded yet", request_id=record.id, error=str(error), attempt=attempt)
                await asyncio.sleep(_WRITE_PAUSE_S)
