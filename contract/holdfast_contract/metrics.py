"""The Prometheus metrics: one catalogue, so that dashboards, alerts, tests and the reference page speak of what the
services export.

Names end in their base unit; counters end in `_total`. `endpoint` is an endpoint's name, or empty where a caller
made one up; `code` an HTTP status; `cause` a slug of `problems`, `gone` where the caller left, or `none`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

REQUESTS: Final = "holdfast_requests_total"
ERRORS: Final = "holdfast_errors_total"
EXPIRED: Final = "holdfast_expired_total"
WAITING: Final = "holdfast_requests_waiting"
RUNNING: Final = "holdfast_requests_running"
QUEUE_SECONDS: Final = "holdfast_queue_seconds"
MODEL_SECONDS: Final = "holdfast_model_seconds"
COLD_START_SECONDS: Final = "holdfast_cold_start_seconds"
REPLICAS: Final = "holdfast_replicas"
ACTIVATION_FAILING: Final = "holdfast_activation_failing"
WEBHOOKS: Final = "holdfast_webhooks_total"
GATEWAYS: Final = "holdfast_gateways"
CONNECTIONS: Final = "holdfast_connections"
CONNECTIONS_MAX: Final = "holdfast_connections_max"
CERTIFICATE_EXPIRY: Final = "holdfast_certificate_expiry_timestamp_seconds"

EXECUTIONS: Final = "holdfast_executions_total"
REDELIVERIES: Final = "holdfast_redeliveries_total"
ATTEMPT_WAIT_SECONDS: Final = "holdfast_attempt_wait_seconds"
ATTEMPT_SECONDS: Final = "holdfast_attempt_seconds"
ATTEMPT_AGE: Final = "holdfast_attempt_age_seconds"
ATTEMPT_LIMIT: Final = "holdfast_attempt_limit_seconds"
SLOTS: Final = "holdfast_slots"
SLOTS_BUSY: Final = "holdfast_slots_busy"
MODEL_READY: Final = "holdfast_model_ready"

SCALER_ENDPOINTS: Final = "holdfast_scaler_endpoints"
SCALER_ACTIVE: Final = "holdfast_scaler_active_endpoints"
SCALER_STREAMS: Final = "holdfast_scaler_streams"
SCALER_DEMAND: Final = "holdfast_scaler_demand"
SCALER_DESIRED: Final = "holdfast_scaler_desired_replicas"
SCALER_WAKES: Final = "holdfast_scaler_wakes_total"
SCALER_PUSHES: Final = "holdfast_scaler_pushes_total"
SCALER_READINGS: Final = "holdfast_scaler_reading_seconds"
SCALER_SWEEPS: Final = "holdfast_scaler_sweep_seconds"
SCALER_CALLS: Final = "holdfast_scaler_calls_total"

BROKER_CONNECTED: Final = "holdfast_broker_connected"

QUEUE_BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900)
"""From an idle replica to a cold start with a large image."""
BROKER_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Questions to the broker: milliseconds, and the time after which they are given up."""


class Kind(StrEnum):
    """What a metric does."""

    COUNTER = "counter"
    """Only grows, until the process starts again."""
    GAUGE = "gauge"
    """As it is now."""
    HISTOGRAM = "histogram"
    """Exported as `_bucket`, `_sum` and `_count`."""


class Part(StrEnum):
    """Which process exports it."""

    GATEWAY = "gateway"
    WORKER = "worker"
    SCALER = "scaler"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric as it is exported."""

    name: str
    kind: Kind
    parts: tuple[Part, ...]
    labels: tuple[str, ...]
    meaning: str
    buckets_s: tuple[float, ...] = ()
    """Of a histogram: upper bounds, in seconds."""


_GATEWAY: Final = (Part.GATEWAY,)
_WORKER: Final = (Part.WORKER,)
_SCALER: Final = (Part.SCALER,)


def _counter(name: str, parts: tuple[Part, ...], labels: tuple[str, ...], meaning: str) -> Metric:
    return Metric(name, Kind.COUNTER, parts, labels, meaning)


def _gauge(name: str, parts: tuple[Part, ...], labels: tuple[str, ...], meaning: str) -> Metric:
    return Metric(name, Kind.GAUGE, parts, labels, meaning)


def _histogram(
    name: str,
    parts: tuple[Part, ...],
    labels: tuple[str, ...],
    meaning: str,
    buckets_s: tuple[float, ...] = QUEUE_BUCKETS_S,
) -> Metric:
    return Metric(name, Kind.HISTOGRAM, parts, labels, meaning, buckets_s)


CATALOGUE: Final = (
    # --- gateway ------------------------------------------------------------------------------------------
    _counter(REQUESTS, _GATEWAY, ("endpoint", "code", "cause"), "Finished requests."),
    _counter(ERRORS, _GATEWAY, ("endpoint", "cause"), "Those of them that ended in a problem."),
    _counter(
        EXPIRED,
        _GATEWAY,
        ("endpoint",),
        "Submitted requests whose deadline passed before a replica took them. "
        "Those of held callers are errors with the cause `deadline`.",
    ),
    _gauge(WAITING, _GATEWAY, ("endpoint",), "Callers held whose request no replica is known to work on."),
    _gauge(RUNNING, _GATEWAY, ("endpoint",), "Callers held whose request a replica works on."),
    _histogram(
        QUEUE_SECONDS,
        _GATEWAY,
        ("endpoint",),
        "From acceptance until a replica took the request; of held callers whose answer began.",
    ),
    _histogram(
        MODEL_SECONDS, _GATEWAY, ("endpoint",), "From then until the first byte of the answer; of the same."
    ),
    _histogram(
        COLD_START_SECONDS,
        _GATEWAY,
        ("endpoint", "phase"),
        "From acceptance at 0 replicas until each `phase`: scaled, scheduled, pulled, ready, answered.",
    ),
    _gauge(
        REPLICAS,
        _GATEWAY,
        ("endpoint", "state"),
        "Replicas by `state`: desired, pending, ready. Every gateway says the same: take the maximum.",
    ),
    _gauge(
        ACTIVATION_FAILING,
        _GATEWAY,
        ("endpoint",),
        "1 while no replica of the endpoint can start, else 0. Every gateway says the same.",
    ),
    _counter(
        WEBHOOKS,
        _GATEWAY,
        ("endpoint", "outcome"),
        "Attempts to deliver a webhook, by `outcome`: delivered, retried, dropped.",
    ),
    _gauge(GATEWAYS, _GATEWAY, (), "How many gateways this one knows to be alive, itself included."),
    _gauge(
        CONNECTIONS,
        _GATEWAY,
        ("state",),
        "Callers' open connections, by `state`: working (on a request, from its head's end to its answer's), idle.",
    ),
    _gauge(
        CONNECTIONS_MAX,
        _GATEWAY,
        (),
        "How many of them may be working: callers beyond get 503 (`gateway-full`). Idle ones give way to new ones.",
    ),
    _gauge(
        CERTIFICATE_EXPIRY,
        _GATEWAY,
        (),
        "When the certificate that the gateway ends TLS with expires, in Unix time; 0 where it ends no TLS.",
    ),
    # --- worker -------------------------------------------------------------------------------------------
    _counter(
        EXECUTIONS,
        _WORKER,
        ("endpoint", "state"),
        "Attempts that ended their request, by `state`: succeeded, failed, expired, canceled.",
    ),
    _counter(REDELIVERIES, _WORKER, ("endpoint",), "Attempts that gave their request back to the queue."),
    _histogram(
        ATTEMPT_WAIT_SECONDS,
        _WORKER,
        ("endpoint",),
        "From acceptance until this worker took the request, submitted ones included.",
    ),
    _histogram(
        ATTEMPT_SECONDS,
        _WORKER,
        ("endpoint",),
        "From then until the attempt was over: answer delivered, result kept, acknowledged.",
    ),
    _gauge(
        ATTEMPT_AGE, _WORKER, ("endpoint",), "Age of the oldest attempt under way, in seconds; 0 without one."
    ),
    _gauge(ATTEMPT_LIMIT, _WORKER, ("endpoint",), "After how many seconds the worker ends an attempt."),
    _gauge(SLOTS, _WORKER, ("endpoint",), "Requests that the replica serves at a time: its `concurrency`."),
    _gauge(
        SLOTS_BUSY,
        _WORKER,
        ("endpoint",),
        "Requests at hand. More than the slots while answers are still being handed on.",
    ),
    _gauge(MODEL_READY, _WORKER, ("endpoint",), "1 while the worker takes requests, else 0."),
    # --- scaler -------------------------------------------------------------------------------------------
    _gauge(SCALER_ENDPOINTS, _SCALER, (), "Declared endpoints that the scaler knows."),
    _gauge(SCALER_ACTIVE, _SCALER, (), "Endpoints that are to have at least one replica."),
    _gauge(
        SCALER_STREAMS,
        _SCALER,
        (),
        "Open streams over which KEDA waits for endpoints to wake; over all scalers, one per endpoint.",
    ),
    _gauge(SCALER_DEMAND, _SCALER, ("endpoint",), "Requests waiting and running, at the last reading."),
    _gauge(SCALER_DESIRED, _SCALER, ("endpoint",), "Replicas that this demand asks for; 0 without demand."),
    _counter(SCALER_WAKES, _SCALER, (), "Wakes received from gateways."),
    _counter(SCALER_PUSHES, _SCALER, (), "Times that KEDA was told that an endpoint became active."),
    _histogram(
        SCALER_READINGS,
        _SCALER,
        ("outcome",),
        "Asking the broker for one endpoint, by `outcome`: ok, error.",
        BROKER_BUCKETS_S,
    ),
    _histogram(
        SCALER_SWEEPS,
        _SCALER,
        ("outcome",),
        "Asking the broker for all queues, by `outcome`: ok, error.",
        BROKER_BUCKETS_S,
    ),
    _counter(
        SCALER_CALLS,
        _SCALER,
        ("method", "code"),
        "Questions that KEDA asked, by `method` and gRPC `code`. UNAVAILABLE: the scaler did not know, and "
        "replicas stayed as they were.",
    ),
    # --- all ----------------------------------------------------------------------------------------------
    _gauge(BROKER_CONNECTED, tuple(Part), (), "1 while the process is connected to the queue, else 0."),
)
"""Every metric that a service exports, and nothing else: a test compares it with running processes."""

BY_NAME: Final = {metric.name: metric for metric in CATALOGUE}


def of(part: Part) -> tuple[Metric, ...]:
    """What one process exports."""
    return tuple(metric for metric in CATALOGUE if part in metric.parts)


def series(metric: Metric) -> tuple[str, ...]:
    """The names under which Prometheus keeps it."""
    if metric.kind is not Kind.HISTOGRAM:
        return (metric.name,)
    return tuple(f"{metric.name}_{suffix}" for suffix in ("bucket", "sum", "count"))
