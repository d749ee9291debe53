"""The queue, as gateway, worker and scaler need it: NATS JetStream behind a few plain words.

One stream and one consumer per endpoint (names in the contract, their settings in `streams`). What can go wrong is
told in the four errors of `connection`.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from dataclasses import dataclass
from typing import Any, Final

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.kv import KeyValue
from pydantic import ValidationError

from holdfast_contract import messages, names
from holdfast_contract.document import EndpointDocument
from holdfast_services.connection import (
    Ambiguous,
    BrokerDown,
    BrokerError,
    Connection,
    QueueFull,
    QueueMissing,
)
from holdfast_services.streams import (
    bucket_streams,
    consumer_config,
    stream_config,
    webhook_consumer,
    webhook_stream,
)

__all__ = [
    "Ambiguous",
    "Broker",
    "BrokerDown",
    "BrokerError",
    "Depth",
    "QueueFull",
    "QueueMissing",
    "WebhookJob",
]

_ERR_FULL: Final = 10077  # JSStreamStoreFailedF: "maximum messages exceeded"
_ERR_NAME_IN_USE: Final = 10058
_ACK_TIMEOUT_S: Final = 5.0
_MAX_API_IN_FLIGHT: Final = 16
"""At 10,000 queued API requests the server drops all of them; creation is throttled far below."""
_WEBHOOK_PULL_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Depth:
    """How many requests an endpoint has."""

    waiting: int
    """Accepted, and handed to no replica."""
    running: int
    """Handed to a replica and not finished; also those that wait for a redelivery."""
    pulls: int = 0
    """Free slots that ask for work just now."""

    @property
    def demand(self) -> int:
        """What the autoscaler counts."""
        return self.waiting + self.running


@dataclass(frozen=True, slots=True)
class WebhookJob:
    """One webhook to be delivered."""

    endpoint: str
    request_id: str
    url: str
    attempt: int
    """1 for the first."""
    _connection: Connection
    _ack_subject: str

    async def done(self) -> None:
        """Delivered or given up."""
        await self._connection.request(self._ack_subject, b"+ACK", None, _ACK_TIMEOUT_S)

    async def later(self, delay_s: float) -> None:
        """Deliver it again after `delay_s`; that survives any restart."""
        payload = b"-NAK " + json.dumps({"delay": int(delay_s * 1e9)}).encode()
        await self._connection.request(self._ack_subject, payload, None, _ACK_TIMEOUT_S)


class Broker(Connection):
    """The data plane's queues and buckets. Make one with `Broker.connect`."""

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        self._buckets: dict[str, KeyValue] = {}
        self._webhooks: JetStreamContext.PullSubscription | None = None
        self._api = asyncio.Semaphore(_MAX_API_IN_FLIGHT)

    async def enqueue(self, endpoint: str, request_id: str, payload: bytes, head: str) -> int:
        """Put a request into its endpoint's queue; returns its sequence number in the stream.

        Raises QueueFull, QueueMissing, BrokerDown (surely not accepted) or Ambiguous (perhaps accepted).
        """
        answer = await self.request(
            names.queue_subject(endpoint, request_id),
            payload,
            {"Nats-Msg-Id": request_id, messages.REQUEST_HEADER: head},
            _ACK_TIMEOUT_S,
        )
        if not answer.data:
            raise QueueMissing(f"endpoint {endpoint} has no queue")
        ack: dict[str, Any] = json.loads(answer.data)
        error = ack.get("error")
        if error is None:
            return int(ack["seq"])
        if error.get("err_code") == _ERR_FULL:
            raise QueueFull(f"endpoint {endpoint} has as many requests as it may")
        raise BrokerDown(f"{error.get('err_code')}: {error.get('description')}")

    # --- queues -------------------------------------------------------------------------------------------
    async def ensure_queue(self, document: EndpointDocument, replicas: int) -> None:
        """Make the endpoint's stream and consumer exist and match its document. Safe to repeat, and to run in
        several gateways at once. Raises BrokerDown."""
        config = stream_config(document, replicas)
        async with self._api:
            try:
                try:
                    await self._js.add_stream(config)
                except nats.js.errors.BadRequestError as error:
                    if error.err_code != _ERR_NAME_IN_USE:
                        raise
                    await self._js.update_stream(config)
                await self._js.add_consumer(config.name or "", consumer_config(document))
            except (nats.errors.Error, OSError, TimeoutError) as error:
                raise BrokerDown(f"queue of {document.name}: {error!r}") from error

    async def delete_queue(self, endpoint: str) -> None:
        """Remove an endpoint's stream with all that waits in it, and the time of its last request: one that is made
        anew under its name begins at rest. Nothing happens where there is none. Raises BrokerDown."""
        activity = await self.bucket(names.BUCKET_ACTIVITY)
        async with self._api:
            try:
                with contextlib.suppress(nats.js.errors.NotFoundError):
                    await self._js.delete_stream(names.stream_name(endpoint))
                await activity.delete(endpoint)
            except (nats.errors.Error, OSError, TimeoutError) as error:
                raise BrokerDown(repr(error)) from error

    async def depth(self, endpoint: str) -> Depth | None:
        """What waits and runs; None where the endpoint has no queue. Raises BrokerDown."""
        if not self._client.is_connected:
            raise BrokerDown("not connected to the broker")
        async with self._api:
            try:
                info = await self._js.consumer_info(names.stream_name(endpoint), names.CONSUMER, timeout=3.0)
            except nats.js.errors.NotFoundError:
                return None
            except (nats.errors.Error, OSError, TimeoutError) as error:
                raise BrokerDown(repr(error)) from error
        return Depth(
            waiting=info.num_pending or 0, running=info.num_ack_pending or 0, pulls=info.num_waiting or 0
        )

    async def delivered(self, endpoint: str) -> int | None:
        """The highest message number that was handed to a replica; None: no queue. Raises BrokerDown."""
        async with self._api:
            try:
                info = await self._js.consumer_info(names.stream_name(endpoint), names.CONSUMER, timeout=3.0)
            except nats.js.errors.NotFoundError:
                return None
            except (nats.errors.Error, OSError, TimeoutError) as error:
                raise BrokerDown(repr(error)) from error
        return info.delivered.stream_seq if info.delivered is not None else 0

    async def peek(self, endpoint: str, sequence: int) -> tuple[int, messages.RequestMessage | None] | None:
        """The first message from number `sequence` on, and its number; the message is None where it cannot be
        read. None: there is none. Raises BrokerDown or Ambiguous."""
        ask = {"seq": max(1, sequence), "next_by_subj": names.queue_subject(endpoint, "*")}
        answer = await self.request(
            f"$JS.API.STREAM.MSG.GET.{names.stream_name(endpoint)}",
            json.dumps(ask).encode(),
            None,
            _ACK_TIMEOUT_S,
        )
        raw = json.loads(answer.data) if answer.data else {"error": {}}
        if "error" in raw:
            return None
        head = base64.b64decode(raw["message"].get("hdrs", "")).decode("utf-8", "replace")
        prefix = f"{messages.REQUEST_HEADER}: "
        text = next((line for line in head.split("\r\n") if line.startswith(prefix)), "")
        try:
            message = messages.RequestMessage.model_validate_json(text.removeprefix(prefix))
        except ValidationError:
            message = None
        return int(raw["message"]["seq"]), message

    async def remove(self, endpoint: str, sequence: int) -> None:
        """Take a message out of the queue, whether or not somebody works on it. Nothing where it is gone."""
        payload = json.dumps({"seq": sequence, "no_erase": True}).encode()
        await self.request(
            f"$JS.API.STREAM.MSG.DELETE.{names.stream_name(endpoint)}", payload, None, _ACK_TIMEOUT_S
        )

    async def remove_by_id(self, endpoint: str, request_id: str) -> None:
        """The same where the sequence number is not known."""
        payload = json.dumps({"filter": names.queue_subject(endpoint, request_id)}).encode()
        await self.request(
            f"$JS.API.STREAM.PURGE.{names.stream_name(endpoint)}", payload, None, _ACK_TIMEOUT_S
        )

    # --- webhooks -----------------------------------------------------------------------------------------
    async def ensure_webhooks(self, replicas: int) -> None:
        """Make the queue of webhooks exist. Safe to repeat. Raises BrokerDown."""
        async with self._api:
            try:
                await self._js.add_stream(webhook_stream(replicas))
                await self._js.add_consumer(names.STREAM_WEBHOOKS, webhook_consumer())
            except (nats.errors.Error, OSError, TimeoutError) as error:
                raise BrokerDown(repr(error)) from error

    async def enqueue_webhook(self, endpoint: str, request_id: str, url: str) -> None:
        """Have a webhook delivered. Raises BrokerDown or Ambiguous."""
        answer = await self.request(
            names.webhook_subject(endpoint, request_id),
            url.encode(),
            {"Nats-Msg-Id": f"webhook-{request_id}"},
            _ACK_TIMEOUT_S,
        )
        if not answer.data or "error" in json.loads(answer.data):
            raise BrokerDown("no queue of webhooks")

    async def next_webhook(self) -> WebhookJob | None:
        """The next webhook to deliver; None after a while without one. Raises BrokerDown."""
        try:
            if self._webhooks is None:
                self._webhooks = await self._js.pull_subscribe_bind(names.CONSUMER, names.STREAM_WEBHOOKS)
            (answer,) = await self._webhooks.fetch(1, timeout=_WEBHOOK_PULL_S)
        except (nats.errors.TimeoutError, TimeoutError):
            return None
        except (nats.errors.Error, OSError) as error:
            raise BrokerDown(repr(error)) from error
        _, endpoint, request_id = answer.subject.split(".")
        return WebhookJob(
            endpoint=endpoint,
            request_id=request_id,
            url=answer.data.decode(),
            attempt=answer.metadata.num_delivered or 1,
            _connection=self,
            _ack_subject=answer.reply,
        )

    # --- buckets ------------------------------------------------------------------------------------------
    async def ensure_buckets(self, replicas: int) -> None:
        """Make the buckets for records, activity and bodies exist. Safe to repeat. Raises BrokerDown."""
        for config in bucket_streams(replicas):
            async with self._api:
                try:
                    await self._js.add_stream(config)
                except nats.js.errors.BadRequestError as error:
                    if error.err_code != _ERR_NAME_IN_USE:
                        raise BrokerDown(repr(error)) from error
                except (nats.errors.Error, OSError, TimeoutError) as error:
                    raise BrokerDown(repr(error)) from error

    async def bucket(self, name: str) -> KeyValue:
        """A key-value bucket. Raises BrokerDown where it cannot be reached or does not exist yet."""
        known = self._buckets.get(name)
        if known is None:
            try:
                known = self._buckets[name] = await self._js.key_value(name)
            except (nats.errors.Error, OSError, TimeoutError) as error:
                raise BrokerDown(f"bucket {name}: {error!r}") from error
        return known

    async def last_activity(self, endpoint: str) -> float | None:
        """Unix seconds of the endpoint's last request; None where none is known. Raises BrokerDown."""
        bucket = await self.bucket(names.BUCKET_ACTIVITY)
        try:
            entry = await bucket.get(endpoint)
        except nats.js.errors.KeyNotFoundError:
            return None
        except (nats.errors.Error, OSError, TimeoutError) as error:
            raise BrokerDown(repr(error)) from error
        try:
            return float(entry.value or b"")
        except ValueError:
            return None

    async def touch_activity(self, endpoint: str, at: float) -> None:
        """Record a request at `at`. Raises BrokerDown."""
        bucket = await self.bucket(names.BUCKET_ACTIVITY)
        try:
            await bucket.put(endpoint, f"{at:.3f}".encode())
        except (nats.errors.Error, OSError, TimeoutError) as error:
            raise BrokerDown(repr(error)) from error
