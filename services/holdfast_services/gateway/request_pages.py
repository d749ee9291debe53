"""`/requests/<id>`: state (with a long poll), result, cancellation."""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final

from holdfast_contract import names, problems
from holdfast_contract.document import Visibility
from holdfast_contract.messages import RequestRecord, RequestState
from holdfast_services.broker import BrokerError
from holdfast_services.gateway.core import admission
from holdfast_services.gateway.core.ids import ID_PATTERN
from holdfast_services.gateway.core.refusal import Answer, Refusal
from holdfast_services.gateway.held import Send
from holdfast_services.gateway.pages import header, json_answer
from holdfast_services.gateway.serve import Parts
from holdfast_services.gateway.submissions import Submissions, describe, send_result
from holdfast_services.gateway.waiters import Waiters
from holdfast_services.records import Records

__all__ = ["RequestPages"]

_PATH: Final = re.compile(rf"{names.PATH_REQUESTS}/({ID_PATTERN.pattern})(/result)?")
_LOOK_AGAIN_S: Final = 0.25


class RequestPages:
    """Pages about requests that have a record."""

    def __init__(self, parts: Parts, records: Records, waiters: Waiters, submissions: Submissions) -> None:
        self._parts = parts
        self._records = records
        self._waiters = waiters
        self._submissions = submissions

    async def answer(self, path: str, scope: dict[str, Any], send: Send) -> Answer | None:
        """The answer; None where it was sent already (a result). Raises Refusal."""
        match = _PATH.fullmatch(path)
        if match is None:
            raise Refusal(problems.UNKNOWN_REQUEST, "that is not a request's id")
        request_id, wants_result = match[1], match[2] is not None
        method = scope["method"]
        allowed = ("GET", "HEAD") if wants_result else ("GET", "HEAD", "DELETE")
        if method not in allowed:
            raise Refusal(problems.METHOD_NOT_ALLOWED, method, headers={"allow": ", ".join(allowed)})
        seconds = 0.0 if method == "DELETE" else admission.wait_s(scope["query_string"])
        until = asyncio.get_running_loop().time() + seconds
        try:
            record = await self._authorized(request_id, scope, until)
            if method == "DELETE":
                record = await self._cancel(record)
            elif seconds and not record.state.terminal:
                left = max(0.0, until - asyncio.get_running_loop().time())
                record = await self._waiters.ended(record.endpoint, request_id, left) or record
            if wants_result:
                if not record.state.terminal:
                    raise Refusal(
                        problems.NOT_FINISHED,
                        f"request {request_id} is {record.state.value}",
                        retry_after_s=2,
                    )
                await send_result(self._parts, record, send)
                return None
            position = await self._position(record) if record.state is RequestState.QUEUED else None
        except BrokerError as error:
            raise Refusal(problems.QUEUE_DOWN, str(error), retry_after_s=2, retry=True) from error
        described = describe(record, self._submissions.poll_url(request_id), position)
        return json_answer(200, described, ((b"x-request-id", request_id.encode()),))

    async def _find(self, request_id: str, until: float) -> RequestRecord | None:
        """The record. A caller who waits anyway does not hear of a broker that is back before `until`, a time of
        the loop's clock."""
        while True:
            try:
                return await self._records.find(request_id)
            except BrokerError:
                if asyncio.get_running_loop().time() + _LOOK_AGAIN_S > until:
                    raise
            await asyncio.sleep(_LOOK_AGAIN_S)

    async def _authorized(self, request_id: str, scope: dict[str, Any], until: float) -> RequestRecord:
        """A request is shown to whoever may call its endpoint, and does not exist for anybody else."""
        token = admission.bearer(header(scope, b"authorization"))
        record = await self._find(request_id, until)
        unknown = Refusal(problems.UNKNOWN_REQUEST, f"there is no request {request_id}")
        document = self._parts.catalog.find(record.endpoint) if record is not None else None
        if record is None or document is None:
            raise unknown
        try:
            admission.authenticate(document, token, self._parts.catalog.token_hashes)
        except Refusal as refusal:
            if refusal.problem is problems.UNAUTHENTICATED and token is None:
                raise
            raise unknown from refusal
        if record.token_id is not None and document.visibility is Visibility.PUBLIC and token is None:
            raise unknown  # made with a token at a public endpoint: not everybody's
        return record

    async def _cancel(self, record: RequestRecord) -> RequestRecord:
        if record.state.terminal:
            return record
        ended = record.model_copy(
            update={
                "state": RequestState.CANCELED,
                "completed_at": self._parts.clock(),
                "error": "it was canceled by its caller",
            }
        )
        first = await self._records.end(ended)
        await self._parts.broker.publish(names.cancel_subject(record.endpoint, record.id))
        await self._parts.broker.remove_by_id(record.endpoint, record.id)
        return ended if first else (await self._records.get(record.endpoint, record.id) or ended)

    async def _position(self, record: RequestRecord) -> int | None:
        """How many are before it, counted by their numbers; withdrawn ones may still count. None: not known."""
        try:
            sequence = await self._records.queued_sequence(record.endpoint, record.id)
            delivered = await self._parts.broker.delivered(record.endpoint)
        except BrokerError:
            return None  # the state itself is known, and worth telling
        if sequence is None or delivered is None:
            return None
        return max(0, sequence - delivered - 1)
