"""What is known of a request beyond its message: three keys in the `requests` bucket.

`<endpoint>.<id>` is written once by the gateway that accepts it, `<endpoint>.<id>.run` by whoever works on it, and
`<endpoint>.<id>.end` create-only, so that the first to end a request decides how it ended. Nobody ever has to
read before writing.
"""

from __future__ import annotations

import base64
import json
from typing import Any, Final

from holdfast_contract import names
from holdfast_contract.messages import RequestRecord
from holdfast_services.broker import Ambiguous, Broker, BrokerDown

__all__ = ["MAX_INLINE_RESULT_BYTES", "Records", "merge"]

MAX_INLINE_RESULT_BYTES: Final = 64 * 1024
"""Results up to this size are kept in the record itself: one write instead of four."""

_TIMEOUT_S: Final = 5.0
_WRONG_LAST_SEQUENCE: Final = 10071
_STREAM: Final = f"KV_{names.BUCKET_REQUESTS}"
_PREFIX: Final = f"$KV.{names.BUCKET_REQUESTS}"


def merge(
    base: RequestRecord | None, run: RequestRecord | None, end: RequestRecord | None
) -> RequestRecord | None:
    """One view of the three keys: the latest state, with what only the earlier ones know. None: no record."""
    latest = end or run or base
    if latest is None or base is None or latest is base:
        return latest
    started = latest.started_at if latest.started_at is not None else (run.started_at if run else None)
    return latest.model_copy(
        update={
            "created_at": base.created_at,
            "started_at": started,
            "token_id": base.token_id,
            "webhook_url": base.webhook_url,
            "traceparent": base.traceparent,
            "body_sha256": base.body_sha256,
            "stream_seq": base.stream_seq,
        }
    )


class Records:
    """Requests' records. Every method raises BrokerDown or Ambiguous where the broker does not do its part."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def create(self, record: RequestRecord) -> bool:
        """Write the first record; False where there is one already."""
        return await self._create(f"{record.endpoint}.{record.id}", record)

    async def end(self, record: RequestRecord) -> bool:
        """Write how a request ended, and tell who waits for it; False where it had ended before."""
        if not record.state.terminal:
            raise ValueError(f"state is {record.state}, which is not terminal: use `running`")
        first = await self._create(f"{record.endpoint}.{record.id}.end", record)
        await self._broker.publish(names.done_subject(record.endpoint, record.id))
        await self.announce(record)
        return first

    async def announce(self, record: RequestRecord) -> None:
        """Have the webhook of an ended request delivered, where it has one. Saying it twice does no harm."""
        if record.webhook_url is not None:
            await self._broker.enqueue_webhook(record.endpoint, record.id, record.webhook_url)

    async def running(self, record: RequestRecord) -> None:
        """Write that somebody works on it."""
        await self._put(f"{record.endpoint}.{record.id}.run", record, None)

    async def forget(self, endpoint: str, request_id: str) -> None:
        """Remove the first record: the request was not accepted after all."""
        payload = json.dumps({"filter": f"{_PREFIX}.{endpoint}.{request_id}"}).encode()
        await self._broker.request(f"$JS.API.STREAM.PURGE.{_STREAM}", payload, None, _TIMEOUT_S)

    async def get(self, endpoint: str, request_id: str) -> RequestRecord | None:
        """The record of a request; None where there is none."""
        key = f"{_PREFIX}.{endpoint}.{request_id}"
        end = await self._last(f"{key}.end")
        run = None if end and end.started_at is not None else await self._last(f"{key}.run")
        return merge(await self._last(key), run, end)

    async def running_since(self, endpoint: str, request_id: str) -> float | None:
        """When a replica took the request last; None: none did."""
        run = await self._last(f"{_PREFIX}.{endpoint}.{request_id}.run")
        return run.started_at if run is not None else None

    async def ended(self, endpoint: str, request_id: str) -> RequestRecord | None:
        """How a request ended; None where it did not. For workers, whose rights end at their own endpoint's
        keys: asked by name, which any server answers, so that a very fresh end may be missed."""
        subject = f"{_PREFIX}.{endpoint}.{request_id}.end"
        answer = await self._broker.request(f"$JS.API.DIRECT.GET.{_STREAM}.{subject}", b"", None, _TIMEOUT_S)
        if "Status" in (answer.headers or {}):
            return None
        if not answer.data:
            raise BrokerDown("no bucket for records")
        return RequestRecord.model_validate_json(answer.data)

    async def find(self, request_id: str) -> RequestRecord | None:
        """The record of a request whose endpoint is not known."""
        base = await self._last(f"{_PREFIX}.*.{request_id}")
        return None if base is None else await self.get(base.endpoint, request_id)

    async def queued_sequence(self, endpoint: str, request_id: str) -> int | None:
        """The number of the request's message in its queue; None: it is not there."""
        payload = json.dumps({"last_by_subj": names.queue_subject(endpoint, request_id)}).encode()
        answer = await self._broker.request(
            f"$JS.API.STREAM.MSG.GET.{names.stream_name(endpoint)}", payload, None, _TIMEOUT_S
        )
        raw = json.loads(answer.data) if answer.data else {"error": {}}
        return None if "error" in raw else int(raw["message"]["seq"])

    async def _create(self, key: str, record: RequestRecord) -> bool:
        return await self._put(key, record, {"Nats-Expected-Last-Subject-Sequence": "0"})

    async def _put(self, key: str, record: RequestRecord, headers: dict[str, str] | None) -> bool:
        answer = await self._broker.request(
            f"{_PREFIX}.{key}", record.model_dump_json().encode(), headers, _TIMEOUT_S
        )
        raw: dict[str, Any] = (
            json.loads(answer.data) if answer.data else {"error": {"description": "no bucket"}}
        )
        error = raw.get("error")
        if error is None:
            return True
        if error.get("err_code") == _WRONG_LAST_SEQUENCE:
            return False
        raise BrokerDown(f"record {key}: {error.get('description')}")

    async def _last(self, subject: str) -> RequestRecord | None:
        payload = json.dumps({"last_by_subj": subject}).encode()
        answer = await self._broker.request(f"$JS.API.STREAM.MSG.GET.{_STREAM}", payload, None, _TIMEOUT_S)
        if not answer.data:
            raise BrokerDown("no bucket for records")
        raw = json.loads(answer.data)
        if "error" in raw:
            if raw["error"].get("code") == 404:
                return None
            raise Ambiguous(str(raw["error"].get("description")))
        data = base64.b64decode(raw["message"].get("data", ""))
        if not data:
            return None  # a delete marker
        return RequestRecord.model_validate_json(data)
