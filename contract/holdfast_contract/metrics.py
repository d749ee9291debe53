"""Names of the Prometheus metrics, so that dashboards, alerts and tests speak of what the services export.

Labels: `endpoint` wherever one is meant; `code` is an HTTP status; `cause` a slug of `problems`, or `none`.
"""

from __future__ import annotations

from typing import Final

REQUESTS: Final = "holdfast_requests_total"
"""Counter, gateway: finished requests by endpoint, code and cause."""
WAITING: Final = "holdfast_requests_waiting"
"""Gauge, gateway: callers held whose request no replica is known to work on, by endpoint."""
RUNNING: Final = "holdfast_requests_running"
"""Gauge, gateway: callers held whose request a replica works on, by endpoint."""
QUEUE_SECONDS: Final = "holdfast_queue_seconds"
"""Histogram, gateway: from acceptance until a replica took the request, by endpoint."""
MODEL_SECONDS: Final = "holdfast_model_seconds"
"""Histogram, gateway: from then until the first byte of the answer, by endpoint."""
COLD_START_SECONDS: Final = "holdfast_cold_start_seconds"
"""Histogram, gateway: from acceptance at 0 replicas until each `phase`, by endpoint."""
ERRORS: Final = "holdfast_errors_total"
"""Counter, gateway: requests that ended in a problem, by endpoint and cause."""
REDELIVERIES: Final = "holdfast_redeliveries_total"
"""Counter, worker: requests given back to the queue, by cause."""
EXECUTIONS: Final = "holdfast_executions_total"
"""Counter, worker: attempts by how they ended (`state`)."""
SLOTS_BUSY: Final = "holdfast_slots_busy"
"""Gauge, worker: requests being worked on."""

GATEWAYS: Final = "holdfast_gateways"
"""Gauge, gateway: how many gateways this one knows to be alive, itself included."""

QUEUE_BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900)
"""From an idle replica to a cold start with a large image."""

# --- Scaler -----------------------------------------------------------------------------------------------
SCALER_ENDPOINTS: Final = "holdfast_scaler_endpoints"
"""Gauge. Declared endpoints that the scaler knows."""
SCALER_ACTIVE: Final = "holdfast_scaler_active_endpoints"
"""Gauge. Endpoints that are to have at least one replica."""
SCALER_STREAMS: Final = "holdfast_scaler_streams"
"""Gauge. Open streams over which KEDA waits for endpoints to wake; over all scalers, one per endpoint."""
SCALER_DEMAND: Final = "holdfast_scaler_demand"
"""Gauge, `endpoint`. Requests waiting and running, at the last reading."""
SCALER_DESIRED: Final = "holdfast_scaler_desired_replicas"
"""Gauge, `endpoint`. Replicas that this demand asks for; 0 without demand."""
SCALER_WAKES: Final = "holdfast_scaler_wakes_total"
"""Counter. Wakes received from gateways."""
SCALER_PUSHES: Final = "holdfast_scaler_pushes_total"
"""Counter. Times that KEDA was told that an endpoint became active."""
SCALER_READINGS: Final = "holdfast_scaler_reading_seconds"
"""Histogram, `outcome` (ok, error). Asking the broker for one endpoint."""
SCALER_SWEEPS: Final = "holdfast_scaler_sweep_seconds"
"""Histogram, `outcome` (ok, error). Asking the broker for all queues."""
SCALER_CALLS: Final = "holdfast_scaler_calls_total"
"""Counter, `method`, `code` (gRPC's name of it). Questions that KEDA asked; UNAVAILABLE means that the scaler did not
know, and that replicas stayed as they were."""
