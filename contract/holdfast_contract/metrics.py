"""Names of the Prometheus metrics that dashboards, alerts and other parts rely on. Labels follow each name."""

from __future__ import annotations

from typing import Final

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
