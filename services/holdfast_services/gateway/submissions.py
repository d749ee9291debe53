"""Requests with a record: asynchronous ones, and those with an idempotency key."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace
from typing import Any, Final

from holdfast_contract import names, problems
from holdfast_contract.messages import Mode, RequestRecord, RequestState
from holdfast_services.broker import BrokerDown, BrokerError
from holdfast_services.gateway.core import admission, ids
from holdfast_services.gateway.core.refusal import Refusal
from holdfast_services.gateway.held import Held, Outcome, Send
from holdfast_services.gateway.intake import Body, receive_body
from holdfast_services.gateway.serve import Admitted, Parts, Receive, Server
from holdfast_services.gateway.waiters import Waiters
from holdfast_services.records import Records

__all__ = ["Submissions", "describe", "send_result"]

_SETTLING_S: Final = 1.0


class Submissions:
    """Accepts requests whose state and result are kept."""

    def __init__(
        self, parts: Parts, server: Server, records: Records, waiters: Waiters, base_url: str
    ) -> None:
        self._parts = parts
        self._server = server
        self._records = records
        self._waiters = waiters
        self._base_url = base_url

    async def serve(
        self,
        admitted: Admitted,
        preference: admission.Preference,
        key: str | None,
        receive: Receive,
        send: Send,
    ) -> tuple[int, str]:
        """Answer the caller; returns status and request id. Raises Refusal or CallerGone."""
        if key is not None:
            admitted = replace(admitted, id=ids.idempotent_id(admitted.document.name, admitted.caller, key))
        webhook_url = _webhook_url(admitted)
        asynchronous = preference.respond_async or preference.wait_s is not None or webhook_url is not None
        body = await receive_body(
            receive,
            name=names.body_name(admitted.document.name, admitted.id, ids.new_id(admitted.accepted_at)),
            limit=self._parts.max_body_bytes,
            bodies=self._parts.bodies,
            digest=key is not None,
        )
        try:
            first = await self._first(admitted, body, webhook_url)
        except BrokerError as error:
            raise Refusal(problems.QUEUE_DOWN, str(error), retry_after_s=2) from error
        try:
            if not first:
                return await self._again(admitted, body, preference, asynchronous, receive, send)
            return await self._start(admitted, body, preference, asynchronous, webhook_url, receive, send)
        except BrokerError as error:
            raise Refusal(problems.QUEUE_DOWN, str(error), retry_after_s=2, retry=not first) from error

    async def _first(self, admitted: Admitted, body: Body, webhook_url: str | None) -> bool:
        trace = admitted.trace if webhook_url is not None else None
        return await self._records.create(
            RequestRecord(
                id=admitted.id,
                endpoint=admitted.document.name,
                state=RequestState.QUEUED,
                created_at=admitted.accepted_at,
                token_id=admitted.token_id,
                body_sha256=_fingerprint(admitted, body) if body.sha256 is not None else None,
                webhook_url=webhook_url,
                traceparent=trace.traceparent if trace is not None else None,
            )
        )

    async def _start(
        self,
        admitted: Admitted,
        body: Body,
        preference: admission.Preference,
        asynchronous: bool,
        webhook_url: str | None,
        receive: Receive,
        send: Send,
    ) -> tuple[int, str]:
        mode = Mode.ASYNC if asynchronous else Mode.SYNC
        message = self._server.message(
            admitted, admitted.id, body, mode=mode, reply=not asynchronous, recorded=True
        ).model_copy(update={"webhook_url": webhook_url})
        if not asynchronous:
            held = await self._hold(admitted, message, body, receive, send)
            if held.result.result() is Outcome.STORED:
                return await self._result(admitted, send)
            return (499 if held.result.result() is Outcome.GONE else held.status), held.id
        try:
            await self._server.enqueue(admitted, message, body)
        except Refusal:
            await self._forget(admitted)
            if body.stored_as is not None:
                await self._parts.bodies.delete(body.stored_as)
            raise
        return await self._accepted(admitted, preference, send)

    async def _hold(self, admitted: Admitted, message: Any, body: Body, receive: Receive, send: Send) -> Held:
        try:
            return await self._server.hold(admitted, message, body, receive, send)
        except Refusal as refusal:
            if refusal.problem in (problems.QUEUE_FULL, problems.QUEUE_DOWN):
                await self._forget(admitted)
            else:
                await self._end(admitted, refusal)
            raise

    async def _end(self, admitted: Admitted, refusal: Refusal) -> None:
        """The caller was told that it failed: the record must say so too. A no-op where the worker has said it."""
        state = RequestState.EXPIRED if refusal.problem is problems.DEADLINE else RequestState.FAILED
        now = self._parts.clock()
        try:
            await self._records.end(
                RequestRecord(
                    id=admitted.id,
                    endpoint=admitted.document.name,
                    state=state,
                    created_at=admitted.accepted_at,
                    completed_at=now,
                    error=refusal.detail or refusal.problem.title,
                )
            )
        except BrokerError:
            pass  # the sweep finds it

    async def _forget(self, admitted: Admitted) -> None:
        try:
            await self._records.forget(admitted.document.name, admitted.id)
        except BrokerError:
            pass  # found later as a record without a message

    async def _again(
        self,
        admitted: Admitted,
        body: Body,
        preference: admission.Preference,
        asynchronous: bool,
        receive: Receive,
        send: Send,
    ) -> tuple[int, str]:
        """The same key once more."""
        record = await self._records.get(admitted.document.name, admitted.id)
        same = record is not None and record.body_sha256 == _fingerprint(admitted, body)
        if record is not None and same and await self._orphaned(record):
            # Nothing of it is in the queue: this very request takes its place.
            return await self._start(
                admitted, body, preference, asynchronous, record.webhook_url, receive, send
            )
        if body.stored_as is not None:
            await self._parts.bodies.delete(body.stored_as)
        if record is None:
            raise BrokerDown("the record vanished while it was read")
        if not same:
            raise Refusal(
                problems.IDEMPOTENCY_MISMATCH, f"request {record.id} had another body, path or method"
            )
        if asynchronous:
            return await self._accepted(admitted, preference, send)
        if record.state is RequestState.RUNNING:
            # Its answer may be out already and its record just being written.
            record = await self._waiters.ended(record.endpoint, record.id, _SETTLING_S) or record
        if not record.state.terminal:
            raise Refusal(
                problems.IDEMPOTENCY_RUNNING,
                f"request {record.id} is {record.state.value}: GET {self.poll_url(record.id)}?wait=20",
                retry_after_s=2,
            )
        return await self._result(admitted, send)

    async def _orphaned(self, record: RequestRecord) -> bool:
        """Whether a record says QUEUED and nothing is in the queue: whoever made it failed, or died, before the
        message was there. Where it is just on its way, queueing it again does no harm: the broker takes the same
        id once."""
        if record.state is not RequestState.QUEUED:
            return False
        if await self._records.queued_sequence(record.endpoint, record.id) is not None:
            return False
        # A message leaves the queue only after its end was written: look again, it may have ended meanwhile.
        now = await self._records.get(record.endpoint, record.id)
        return now is not None and now.state is RequestState.QUEUED

    async def stored(self, admitted: Admitted, send: Send) -> int:
        """Answer a caller whose answer could not be streamed here, and was kept. Raises Refusal."""
        try:
            return (await self._result(admitted, send))[0]
        except BrokerError as error:
            raise Refusal(problems.QUEUE_DOWN, str(error), retry=False) from error

    # --- answers ------------------------------------------------------------------------------------------
    def poll_url(self, request_id: str) -> str:
        """Where the request's state is."""
        return f"{self._base_url}{names.PATH_REQUESTS}/{request_id}"

    async def _accepted(
        self, admitted: Admitted, preference: admission.Preference, send: Send
    ) -> tuple[int, str]:
        if preference.wait_s:
            record = await self._waiters.ended(admitted.document.name, admitted.id, preference.wait_s)
            if record is not None and record.state.terminal:
                return await self._result(admitted, send)
        url = self.poll_url(admitted.id)
        body = json.dumps({"id": admitted.id, "status": "QUEUED", "poll_url": url}).encode()
        applied = b"respond-async" if preference.respond_async else b"wait"
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"location", f"{names.PATH_REQUESTS}/{admitted.id}".encode()),
            (b"preference-applied", applied),
            (b"x-request-id", admitted.id.encode()),
            *admitted.limit_headers,
        ]
        await send({"type": "http.response.start", "status": 202, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})
        return 202, admitted.id

    async def _result(self, admitted: Admitted, send: Send) -> tuple[int, str]:
        record = await self._waiters.ended(admitted.document.name, admitted.id, 0)
        if record is None or not record.state.terminal:
            raise Refusal(problems.NOT_FINISHED, f"request {admitted.id}")
        return await send_result(self._parts, record, send, extra=admitted.limit_headers), admitted.id


async def send_result(
    parts: Parts, record: RequestRecord, send: Send, *, extra: tuple[tuple[bytes, bytes], ...] = ()
) -> int:
    """The stored answer of the model, as it was. Raises Refusal where the request ended without one."""
    if record.state is not RequestState.SUCCEEDED or record.status is None:
        if record.state is RequestState.EXPIRED:
            raise Refusal(problems.DEADLINE, record.error or "")
        raise Refusal(problems.GONE, f"request {record.id} is {record.state.value}: {record.error or ''}")
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in record.headers]
    headers += (
        (b"x-request-id", record.id.encode()),
        (b"x-replica", (record.replica or "").encode("latin-1", "replace")),
        (b"x-attempt", b"%d" % record.attempt),
        *extra,
    )
    if record.started_at is not None:
        headers.append((b"x-queue-s", b"%.4f" % max(0.0, record.started_at - record.created_at)))
    if record.status >= 400:
        headers.append((b"x-should-retry", b"false"))
    start = {"type": "http.response.start", "status": record.status, "headers": headers}
    if record.result_object is None:
        body = base64.b64decode(record.result_base64 or "")
        if record.status not in (204, 304):
            headers.append((b"content-length", b"%d" % len(body)))
        await send(start)
        await send({"type": "http.response.body", "body": body, "more_body": False})
        return record.status
    try:
        size = await parts.bodies.size(record.result_object)
    except BrokerError as error:
        raise Refusal(problems.QUEUE_DOWN, f"the stored result: {error}", retry_after_s=2) from error
    headers.append((b"content-length", b"%d" % size))
    await send(start)
    try:
        async for piece in parts.bodies.read(record.result_object):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    except BrokerError:
        return record.status  # without the last piece: the connection breaks, as it must
    await send({"type": "http.response.body", "body": b"", "more_body": False})
    return record.status


def describe(record: RequestRecord, poll_url: str, position: int | None) -> dict[str, Any]:
    """A request's state as callers read it."""
    done = record.state is RequestState.SUCCEEDED
    return {
        "id": record.id,
        "endpoint": record.endpoint,
        "status": record.state.value,
        "queue_position": position,
        "created_at": record.created_at,
        "started_at": record.started_at,
        "completed_at": record.completed_at,
        "attempt": record.attempt,
        "replica": record.replica,
        "http_status": record.status,
        "error": record.error,
        "poll_url": poll_url,
        "result_url": f"{poll_url}/result" if done else None,
    }


def _fingerprint(admitted: Admitted, body: Body) -> str:
    """What must be the same for two requests to be one."""
    text = f"{admitted.method} {admitted.path} {body.sha256}"
    return hashlib.sha256(text.encode("latin-1")).hexdigest()


def _webhook_url(admitted: Admitted) -> str | None:
    header = admitted.headers.get(names.HEADER_WEBHOOK_URL.encode())
    if header is None:
        return None
    url = admission.webhook_url(header)
    if admitted.token_id is None:
        raise Refusal(
            problems.BAD_REQUEST,
            "webhook-url needs a token, which its signature is derived from: send one of the endpoint's tokens",
        )
    return url
