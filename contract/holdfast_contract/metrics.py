"""Names of the Prometheus metrics, so that dashboards, alerts and tests speak of what the services export.

Labels: `endpoint` everywhere; `code` is an HTTP status; `cause` a slug of `problems`, or `none`.
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

QUEUE_BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900)
"""From an idle replica to a cold start with a large image."""
