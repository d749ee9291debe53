"""The scaler's Prometheus metrics."""

from __future__ import annotations

import contextlib
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from holdfast_contract import metrics as names
from holdfast_contract.autoscaling import Decision
from holdfast_services.scaler.tracker import Tracker

__all__ = ["Metrics"]

_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """Counts what happens; implements the tracker's `Observer`."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        registry = self._registry
        self._endpoints = Gauge(names.SCALER_ENDPOINTS, "Declared endpoints.", registry=registry)
        self._active = Gauge(names.SCALER_ACTIVE, "Endpoints to have a replica.", registry=registry)
        self._streams = Gauge(names.SCALER_STREAMS, "Open streams to KEDA.", registry=registry)
        self._demand = Gauge(
            names.SCALER_DEMAND, "Requests waiting and running.", ["endpoint"], registry=registry
        )
        self._desired = Gauge(
            names.SCALER_DESIRED, "Replicas that the demand asks for.", ["endpoint"], registry=registry
        )
        self._wakes = Counter(names.SCALER_WAKES, "Wakes received.", registry=registry)
        self._pushes = Counter(names.SCALER_PUSHES, "Endpoints that became active.", registry=registry)
        self._readings = Histogram(
            names.SCALER_READINGS,
            "Asking for one endpoint.",
            ["outcome"],
            registry=registry,
            buckets=_BUCKETS,
        )
        self._sweeps = Histogram(
            names.SCALER_SWEEPS, "Asking for all queues.", ["outcome"], registry=registry, buckets=_BUCKETS
        )
        self._calls = Counter(names.SCALER_CALLS, "Questions of KEDA.", ["method", "code"], registry=registry)

    def follow(self, tracker: Tracker) -> None:
        """Take the gauges from this tracker whenever they are asked for."""
        self._endpoints.set_function(lambda: tracker.endpoints)
        self._active.set_function(lambda: tracker.active)
        self._streams.set_function(lambda: tracker.streams)

    def text(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return generate_latest(self._registry)

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
