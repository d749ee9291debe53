"""The queue, as gateway, worker and scaler need it: NATS JetStream behind a few plain words.

One stream and one consumer per endpoint (names in the contract). What can go wrong is told in four errors:
`BrokerDown`, `QueueFull`, `QueueMissing` and `Ambiguous`; nats-py's own never leave this module.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

import nats
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import JetStreamContext, api
from nats.js.kv import KeyValue
from pydantic import ValidationError

from holdfast_contract import messages, names
from holdfast_contract.document import EndpointDocument, Scaling
from holdfast_services.logs import Log

__all__ = [
    "Ambiguous",
    "Broker",
    "BrokerDown",
    "BrokerError",
    "Depth",
    "QueueFull",
    "QueueMissing",
    "WebhookJob",
    "consumer_config",
    "queue_limit",
    "stream_config",
]

_log = Log("broker")

_ERR_FULL: Final = 10077  # JSStreamStoreFailedF: "maximum messages exceeded"
_ERR_NAME_IN_USE: Final = 10058
_ACK_TIMEOUT_S: Final = 5.0
_API_TIMEOUT_S: Final = 10.0
_MAX_API_IN_FLIGHT: Final = 16
"""At 10,000 queued API requests the server drops all of them; creation is throttled far below."""
_DUPLICATE_WINDOW_S: Final = 120.0
_RECONNECT_S: Final = 0.25
_WEBHOOK_ACK_WAIT_S: Final = 60.0
_WEBHOOK_PULL_S: Final = 20.0
_MAX_WEBHOOKS: Final = 100_000

Handler = Callable[[Msg], Awaitable[None]]


class BrokerError(Exception):
    """The queue did not do what was asked."""


class BrokerDown(BrokerError):
    """The broker cannot be reached, or refuses all work. Nothing was accepted."""


class Ambiguous(BrokerError):
    """The broker did not say whether it accepted the message."""


class QueueFull(BrokerError):
    """The endpoint's queue holds as many requests as it may."""


class QueueMissing(BrokerError):
    """The endpoint has no queue (yet, or any more)."""


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


def queue_limit(scaling: Scaling) -> int:
    """Most messages an endpoint's stream holds: what may run at the same time, and what may wait beyond."""
    return scaling.max_queue + scaling.max_replicas * scaling.concurrency


def stream_config(document: EndpointDocument, replicas: int) -> api.StreamConfig:
    """The stream of an endpoint. `discard=new` with `max_msgs` makes the cap atomic over all gateways."""
    return api.StreamConfig(
        name=names.stream_name(document.name),
        subjects=[names.queue_subject(document.name, "*")],
        retention=api.RetentionPolicy.WORK_QUEUE,
        storage=api.StorageType.FILE,
        discard=api.DiscardPolicy.NEW,
        max_msgs=queue_limit(document.scaling),
        max_age=names.RETENTION_S,
        num_replicas=replicas,
        duplicate_window=_DUPLICATE_WINDOW_S,
    )


def consumer_config(document: EndpointDocument) -> api.ConsumerConfig:
    """The one consumer of an endpoint's stream.

    `max_deliver` is unlimited on purpose: JetStream leaves a message whose deliveries are used up in the
    stream (nats-server#5564), where it would eat the cap; the worker ends it instead, on the last allowed
    delivery or on the first one after that.
    """
    slots = document.scaling.max_replicas * document.scaling.concurrency
    return api.ConsumerConfig(
        durable_name=names.CONSUMER,
        ack_policy=api.AckPolicy.EXPLICIT,
        ack_wait=messages.ACK_WAIT_S,
        max_deliver=-1,
        # The slots are guarded by the pulls. A replica that has freed its slot pulls again while the answers of
        # up to three requests before are still on their way and not acknowledged: a cap at the slots would let
        # it wait for them (measured: 15 ms above the ideal queue at 80 %, against 11 ms).
        max_ack_pending=4 * slots,
        # Twice the slots (pulls of workers that just died linger until they expire), never below the default.
        max_waiting=max(512, 2 * slots),
    )


@dataclass(frozen=True, slots=True)
class WebhookJob:
    """One webhook to be delivered."""

    endpoint: str
    request_id: str
    url: str
    attempt: int
    """1 for the first."""
    _broker: Broker
    _ack_subject: str

    async def done(self) -> None:
        """Delivered or given up."""
        await self._broker.request(self._ack_subject, b"+ACK", None, _ACK_TIMEOUT_S)

    async def later(self, delay_s: float) -> None:
        """Deliver it again after `delay_s`; that survives any restart."""
        payload = b"-NAK " + json.dumps({"delay": int(delay_s * 1e9)}).encode()
        await self._broker.request(self._ack_subject, payload, None, _ACK_TIMEOUT_S)


class Broker:
    """A connection to the broker that comes back by itself. Make one with `Broker.connect`."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._js: JetStreamContext = client.jetstream(timeout=_API_TIMEOUT_S)
        self._buckets: dict[str, KeyValue] = {}
        self._webhooks: JetStreamContext.PullSubscription | None = None
        self._api = asyncio.Semaphore(_MAX_API_IN_FLIGHT)
        self._acks: dict[str, asyncio.Future[Msg]] = {}
        self._ack_numbers = count()
        self._ack_prefix = client.new_inbox()
        self._on_reconnect: list[Callable[[], None]] = []

    @classmethod
    async def connect(
        cls, url: str, name: str, *, user: str | None = None, password: str | None = None
    ) -> Broker:
        """Connect, trying until it works. `url`: one or several, separated by commas. `user` and `password`:
        None for a broker without authentication."""
        client = Client()
        holder: list[Broker] = []
        told: set[str] = set()

        async def reconnected() -> None:
            told.clear()
            _log.info("broker connected again")
            for broker in holder:
                for callback in broker._on_reconnect:
                    callback()

        async def disconnected() -> None:
            _log.warning("broker connection lost")

        async def failed(error: Exception) -> None:
            # The client tries again four times a second: the same error is told once until it works again.
            text = repr(error)
            (_log.debug if text in told else _log.warning)("broker error", error=text)
            told.add(text)

        while True:
            try:
                await client.connect(
                    url.split(","),
                    name=name,
                    user=user,
                    password=password,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=_RECONNECT_S,  # type: ignore[arg-type]  # seconds, a float works
                    connect_timeout=3,
                    ping_interval=10,
                    max_outstanding_pings=2,
                    reconnected_cb=reconnected,
                    disconnected_cb=disconnected,
                    error_cb=failed,
                    pending_size=64 * 1024 * 1024,
                )
                break
            except (OSError, nats.errors.Error, TimeoutError) as error:
                _log.warning("broker not reachable yet", error=repr(error))
                await client.close()
                client = Client()
                await asyncio.sleep(0.5)
        broker = cls(client)
        holder.append(broker)
        await client.subscribe(f"{broker._ack_prefix}.*", cb=broker._acknowledged)
        return broker

    @property
    def connected(self) -> bool:
        """Whether the broker can be talked to now."""
        return self._client.is_connected

    @property
    def jetstream(self) -> JetStreamContext:
        """For adapters beside this one (records, bodies)."""
        return self._js

    @property
    def client(self) -> Client:
        """For adapters beside this one."""
        return self._client

    def on_reconnect(self, callback: Callable[[], None]) -> None:
        """Call `callback` whenever a lost connection is back."""
        self._on_reconnect.append(callback)

    async def close(self) -> None:
        """Send what is buffered and disconnect."""
        try:
            await asyncio.wait_for(self._client.flush(), 2)
        except (nats.errors.Error, TimeoutError, OSError):
            pass
        # In a task of its own: nats-py lets a cancellation of its reader escape where the connection is lost.
        await asyncio.wait({asyncio.create_task(self._client.close())}, timeout=2)

    # --- messages -----------------------------------------------------------------------------------------
    async def request(
        self, subject: str, payload: bytes, headers: Mapping[str, str] | None, timeout_s: float
    ) -> Msg:
        """Publish and wait for the one answer. Raises BrokerDown (not sent) or Ambiguous (no answer)."""
        if not self._client.is_connected:
            raise BrokerDown("not connected to the broker")
        token = str(next(self._ack_numbers))
        future: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
        self._acks[token] = future
        try:
            async with asyncio.timeout(timeout_s):
                await self._client.publish(
                    subject, payload, f"{self._ack_prefix}.{token}", dict(headers) if headers else None
                )
                return await future
        except nats.errors.MaxPayloadError as error:
            raise BrokerError(f"message of {len(payload)} bytes is above the broker's limit") from error
        except TimeoutError as error:
            raise Ambiguous(f"no answer of the broker within {timeout_s} s") from error
        except (nats.errors.Error, OSError) as error:
            raise BrokerDown(repr(error)) from error
        finally:
            del self._acks[token]

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

    async def publish(self, subject: str, payload: bytes = b"") -> bool:
        """Publish without storing; False where the connection is down (nothing is buffered then)."""
        if not self._client.is_connected:
            return False
        try:
            await self._client.publish(subject, payload)
        except (nats.errors.Error, OSError):
            return False
        return True

    async def subscribe(self, subject: str, handler: Handler) -> Subscription:
        """Call `handler` with every message; survives reconnection."""
        return await self._client.subscribe(subject, cb=handler)

    async def _acknowledged(self, message: Msg) -> None:
        future = self._acks.get(message.subject.rsplit(".", 1)[1])
        if future is not None and not future.done():
            future.set_result(message)

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
        """Remove an endpoint's stream with all that waits in it. Nothing happens where there is none."""
        async with self._api:
            try:
                await self._js.delete_stream(names.stream_name(endpoint))
            except nats.js.errors.NotFoundError:
                return
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
        config = api.StreamConfig(
            name=names.STREAM_WEBHOOKS,
            subjects=[names.webhook_subject("*", "*")],
            retention=api.RetentionPolicy.WORK_QUEUE,
            storage=api.StorageType.FILE,
            max_age=names.RETENTION_S,
            num_replicas=replicas,
            duplicate_window=_DUPLICATE_WINDOW_S,
        )
        consumer = api.ConsumerConfig(
            durable_name=names.CONSUMER,
            ack_policy=api.AckPolicy.EXPLICIT,
            ack_wait=_WEBHOOK_ACK_WAIT_S,
            max_deliver=-1,
            max_ack_pending=_MAX_WEBHOOKS,  # those that wait for their next try count as well
        )
        async with self._api:
            try:
                await self._js.add_stream(config)
                await self._js.add_consumer(names.STREAM_WEBHOOKS, consumer)
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
            _broker=self,
            _ack_subject=answer.reply,
        )

    # --- buckets ------------------------------------------------------------------------------------------
    async def ensure_buckets(self, replicas: int) -> None:
        """Make the buckets for records, activity and bodies exist. Safe to repeat. Raises BrokerDown."""
        streams = (
            _bucket(f"KV_{names.BUCKET_REQUESTS}", [f"$KV.{names.BUCKET_REQUESTS}.>"], names.RETENTION_S),
            _bucket(f"KV_{names.BUCKET_ACTIVITY}", [f"$KV.{names.BUCKET_ACTIVITY}.>"], 0),
            _bucket(
                f"OBJ_{names.BUCKET_BODIES}",
                [f"$O.{names.BUCKET_BODIES}.C.>", f"$O.{names.BUCKET_BODIES}.M.>"],
                names.RETENTION_S,
            ),
        )
        for config in streams:
            config.num_replicas = replicas
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


def _bucket(name: str, subjects: list[str], max_age_s: float) -> api.StreamConfig:
    """The stream under a bucket, as NATS clients of any language expect it (ADR-8, ADR-20)."""
    return api.StreamConfig(
        name=name,
        subjects=subjects,
        storage=api.StorageType.FILE,
        discard=api.DiscardPolicy.NEW,
        max_age=max_age_s,
        max_msgs_per_subject=1 if name.startswith("KV_") else -1,
        allow_rollup_hdrs=True,
        deny_delete=name.startswith("KV_"),
        allow_direct=True,
        duplicate_window=120.0,
    )
