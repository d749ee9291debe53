"""What streams and consumers the data plane keeps in JetStream, as plain data. Pure."""

from __future__ import annotations

from typing import Final

from nats.js import api

from holdfast_contract import messages, names
from holdfast_contract.document import EndpointDocument, Scaling

__all__ = [
    "bucket_streams",
    "consumer_config",
    "queue_limit",
    "stream_config",
    "webhook_consumer",
    "webhook_stream",
]

_DUPLICATE_WINDOW_S: Final = 120.0
_WEBHOOK_ACK_WAIT_S: Final = 60.0
_MAX_WEBHOOKS: Final = 100_000


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


def webhook_stream(replicas: int) -> api.StreamConfig:
    """The queue of webhooks, one for all endpoints. `replicas`: how many servers keep it."""
    return api.StreamConfig(
        name=names.STREAM_WEBHOOKS,
        subjects=[names.webhook_subject("*", "*")],
        retention=api.RetentionPolicy.WORK_QUEUE,
        storage=api.StorageType.FILE,
        max_age=names.RETENTION_S,
        num_replicas=replicas,
        duplicate_window=_DUPLICATE_WINDOW_S,
    )


def webhook_consumer() -> api.ConsumerConfig:
    """The one consumer of the queue of webhooks."""
    return api.ConsumerConfig(
        durable_name=names.CONSUMER,
        ack_policy=api.AckPolicy.EXPLICIT,
        ack_wait=_WEBHOOK_ACK_WAIT_S,
        max_deliver=-1,
        max_ack_pending=_MAX_WEBHOOKS,  # those that wait for their next try count as well
    )


def bucket_streams(replicas: int) -> tuple[api.StreamConfig, ...]:
    """The streams under the buckets for records, activity, usage and bodies. `replicas`: how many servers keep each."""
    return (
        _bucket(
            f"KV_{names.BUCKET_REQUESTS}", [f"$KV.{names.BUCKET_REQUESTS}.>"], names.RETENTION_S, replicas
        ),
        _bucket(f"KV_{names.BUCKET_ACTIVITY}", [f"$KV.{names.BUCKET_ACTIVITY}.>"], 0, replicas),
        _bucket(f"KV_{names.BUCKET_USAGE}", [f"$KV.{names.BUCKET_USAGE}.>"], 400 * 24 * 3600, replicas),
        _bucket(
            f"OBJ_{names.BUCKET_BODIES}",
            [f"$O.{names.BUCKET_BODIES}.C.>", f"$O.{names.BUCKET_BODIES}.M.>"],
            names.RETENTION_S,
            replicas,
        ),
    )


def _bucket(name: str, subjects: list[str], max_age_s: float, replicas: int) -> api.StreamConfig:
    """The stream under a bucket, as NATS clients of any language expect it (ADR-8, ADR-20)."""
    return api.StreamConfig(
        name=name,
        subjects=subjects,
        storage=api.StorageType.FILE,
        discard=api.DiscardPolicy.NEW,
        max_age=max_age_s,
        num_replicas=replicas,
        max_msgs_per_subject=1 if name.startswith("KV_") else -1,
        allow_rollup_hdrs=True,
        deny_delete=name.startswith("KV_"),
        allow_direct=True,
        duplicate_window=_DUPLICATE_WINDOW_S,
    )
