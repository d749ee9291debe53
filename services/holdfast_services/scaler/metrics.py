"""The scaler's Prometheus metrics."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from holdfast_contract import metrics as names
from holdfast_contract.autoscaling import Decision
from holdfast_services.exposition import Registry
from holdfast_services.scaler.tracker import Tracker

__all__ = ["Metrics"]


class Metrics:
    """Counts what happens; implements the tracker's `Observer`."""

    def __init__(self) -> None:
        registry = self._registry = Registry()
        self._endpoints = registry.gauge(names.SCALER_ENDPOINTS)
        self._active = registry.gauge(names.SCALER_ACTIVE)
        self._streams = registry.gauge(names.SCALER_STREAMS)
        self._demand = registry.gauge(names.SCALER_DEMAND)
        self._desired = registry.gauge(names.SCALER_DESIRED)
        self._wakes = registry.counter(names.SCALER_WAKES)
        self._pushes = registry.counter(names.SCALER_PUSHES)
        self._readings = registry.histogram(names.SCALER_READINGS)
        self._sweeps = registry.histogram(names.SCALER_SWEEPS)
        self._calls = registry.counter(names.SCALER_CALLS)
        self._connected = registry.gauge(names.BROKER_CONNECTED)
        # At 0 from the start: an alert on silence must see a scaler that was never asked.
        for method in ("IsActive", "GetMetrics"):
            self._calls.labels(method, "OK")

    def follow(self, tracker: Tracker) -> None:
        """Take the gauges from this tracker whenever they are asked for."""
        self._endpoints.set_function(lambda: tracker.endpoints)
        self._active.set_function(lambda: tracker.active)
        self._streams.set_function(lambda: tracker.streams)

    def follow_broker(self, connected: Callable[[], bool]) -> None:
        """Ask this whenever the metrics are read. Until then the queue counts as not connected."""
        self._connected.set_function(lambda: float(connected()))

    def text(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return self._registry.text()

    def called(self, method: str, code: str) -> None:
        """KEDA asked, and this was the answer's gRPC code."""
        self._calls.labels(method, code).inc()

    def decided(self, endpoint: str, demand: int, decision: Decision) -> None:
        """See `Observer`."""
        self._demand.labels(endpoint).set(demand)
        self._desired.labels(endpoint).set(decision.desired)

    def forgotten(self, endpoint: str) -> None:
        """See `Observer`."""
        for gauge in (self._demand, self._desired):
            with contextlib.suppress(KeyError):  # declared, and removed before the first reading
                gauge.remove(endpoint)

    def woken(self) -> None:
        """See `Observer`."""
        self._wakes.inc()

    def pushed(self) -> None:
        """See `Observer`."""
        self._pushes.inc()

    def read(self, *, ok: bool, seconds: float) -> None:
        """See `Observer`."""
        self._readings.labels("ok" if ok else "error").observe(seconds)

    def swept(self, *, ok: bool, seconds: float) -> None:
        """See `Observer`."""
        self._sweeps.labels("ok" if ok else "error").observe(seconds)
