"""What the gateway counts. Children are looked up once per endpoint: labels cost more than counting."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client import Counter, Histogram

from holdfast_contract import metrics as names
from holdfast_contract import problems
from holdfast_services.exposition import Registry
from holdfast_services.gateway.connections import Connections
from holdfast_services.gateway.held import Held, HeldRequests
from holdfast_services.gateway.replicas import ReplicaView

__all__ = ["Metrics"]

_WATCHED: Final = (problems.DEADLINE.slug, problems.QUEUE_FULL.slug)
"""Causes that alerts look at."""


class Metrics:
    """The gateway's metrics, with a registry of their own."""

    def __init__(self) -> None:
        registry = self._registry = Registry()
        self._requests = registry.counter(names.REQUESTS)
        self._errors = registry.counter(names.ERRORS)
        self._expired = registry.counter(names.EXPIRED)
        self._waiting = registry.gauge(names.WAITING)
        self._running = registry.gauge(names.RUNNING)
        self._queue = registry.histogram(names.QUEUE_SECONDS)
        self._model = registry.histogram(names.MODEL_SECONDS)
        self._cold = registry.histogram(names.COLD_START_SECONDS)
        self._replicas = registry.gauge(names.REPLICAS)
        self._failing = registry.gauge(names.ACTIVATION_FAILING)
        self._webhooks = registry.counter(names.WEBHOOKS)
        self._gateways = registry.gauge(names.GATEWAYS)
        self._certificate = registry.gauge(names.CERTIFICATE_EXPIRY)
        self._connections = registry.gauge(names.CONNECTIONS)
        self._most_connections = registry.gauge(names.CONNECTIONS_MAX)
        self._connected = registry.gauge(names.BROKER_CONNECTED)
        self._counters: dict[tuple[str, int, str], Counter] = {}
        self._histograms: dict[str, tuple[Histogram, Histogram]] = {}

    def follow(self, connected: Callable[[], bool]) -> None:
        """Ask this whenever the metrics are read."""
        self._connected.set_function(lambda: float(connected()))

    def follow_connections(self, connections: Connections) -> None:
        """Count these, callers', whenever the metrics are read."""
        self._connections.labels("working").set_function(lambda: connections.open - connections.idle)
        self._connections.labels("idle").set_function(lambda: connections.idle)
        self._most_connections.set(connections.most)

    def follow_certificate(self, expires_at: Callable[[], float]) -> None:
        """Ask this, in Unix seconds, whenever the metrics are read."""
        self._certificate.set_function(expires_at)

    def finished(self, endpoint: str, status: int, cause: str) -> None:
        """A request ended. `cause`: slug of a problem, or `none`."""
        key = (endpoint, status, cause)
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = self._requests.labels(endpoint, str(status), cause)
        counter.inc()
        if cause != "none":
            self._errors.labels(endpoint, cause).inc()

    def answered(self, held: Held) -> None:
        """An answer began."""
        pair = self._histograms.get(held.endpoint)
        if pair is None:
            pair = self._histograms[held.endpoint] = (
                self._queue.labels(held.endpoint),
                self._model.labels(held.endpoint),
            )
        pair[0].observe(held.queue_s)
        pair[1].observe(held.model_s)

    def cold_start(self, endpoint: str, phases: dict[str, float | None]) -> None:
        """A request that was accepted at 0 replicas was answered. Its acceptance is where the phases begin."""
        for phase, seconds in phases.items():
            if seconds is not None and phase != "accepted":
                self._cold.labels(endpoint, phase).observe(seconds)

    def expired(self, endpoint: str) -> None:
        """A submitted request's deadline passed in the queue."""
        self._expired.labels(endpoint).inc()

    def webhook(self, endpoint: str, outcome: str) -> None:
        """A delivery was tried: delivered, retried, dropped."""
        self._webhooks.labels(endpoint, outcome).inc()

    def forget(self, endpoint: str) -> None:
        """The endpoint is gone: its gauges must not stay."""
        for gauge in (self._waiting, self._running, self._failing):
            with contextlib.suppress(KeyError):
                gauge.remove(endpoint)
        for state in ("desired", "pending", "ready"):
            with contextlib.suppress(KeyError):
                self._replicas.remove(endpoint, state)

    def text(
        self, held: HeldRequests, endpoints: Iterable[str], gateways: int, replicas: ReplicaView
    ) -> bytes:
        """The exposition, with the gauges as of now."""
        self._gateways.set(gateways)
        for endpoint in endpoints:
            callers = held.of(endpoint)
            running = sum(1 for caller in callers if caller.running)
            self._waiting.labels(endpoint).set(len(callers) - running)
            self._running.labels(endpoint).set(running)
            self._expired.labels(endpoint)  # at 0 from the start, or its first one would be no increase
            for cause in _WATCHED:
                self._errors.labels(endpoint, cause)
            self._failing.labels(endpoint).set(replicas.failure(endpoint) is not None)
            counts = replicas.counts(endpoint)
            if counts is not None:
                self._replicas.labels(endpoint, "desired").set(counts.desired)
                self._replicas.labels(endpoint, "pending").set(counts.pending)
                self._replicas.labels(endpoint, "ready").set(counts.ready)
        return self._registry.text()
