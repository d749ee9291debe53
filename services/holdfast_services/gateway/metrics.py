"""What the gateway counts. Children are looked up once per endpoint: labels cost more than counting."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from holdfast_contract import metrics
from holdfast_services.gateway.held import Held, HeldRequests

__all__ = ["Metrics"]


class Metrics:
    """One registry of its own, so that several gateways can live in one test process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            metrics.REQUESTS, "Finished requests", ["endpoint", "code", "cause"], registry=self.registry
        )
        self._errors = Counter(
            metrics.ERRORS, "Requests that ended in a problem", ["endpoint", "cause"], registry=self.registry
        )
        self._waiting = Gauge(metrics.WAITING, "Callers waiting", ["endpoint"], registry=self.registry)
        self._running = Gauge(metrics.RUNNING, "Callers being served", ["endpoint"], registry=self.registry)
        self._queue = Histogram(
            metrics.QUEUE_SECONDS,
            "Seconds in the queue",
            ["endpoint"],
            buckets=metrics.QUEUE_BUCKETS_S,
            registry=self.registry,
        )
        self._model = Histogram(
            metrics.MODEL_SECONDS,
            "Seconds in the model until the first byte",
            ["endpoint"],
            buckets=metrics.QUEUE_BUCKETS_S,
            registry=self.registry,
        )
        self._cold = Histogram(
            metrics.COLD_START_SECONDS,
            "Seconds from acceptance at 0 replicas to a phase",
            ["endpoint", "phase"],
            buckets=metrics.QUEUE_BUCKETS_S,
            registry=self.registry,
        )
        self._gateways = Gauge(metrics.GATEWAYS, "Gateways known to be alive", registry=self.registry)
        self._counters: dict[tuple[str, int, str], Counter] = {}
        self._histograms: dict[str, tuple[Histogram, Histogram]] = {}

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
        """A request that was accepted at 0 replicas was answered."""
        for phase, seconds in phases.items():
            if seconds is not None:
                self._cold.labels(endpoint, phase).observe(seconds)

    def forget(self, endpoint: str) -> None:
        """The endpoint is gone: its gauges must not stay."""
        for gauge in (self._waiting, self._running):
            try:
                gauge.remove(endpoint)
            except KeyError:
                pass

    def text(self, held: HeldRequests, endpoints: list[str], gateways: int) -> bytes:
        """The exposition, with the gauges as of now."""
        self._gateways.set(gateways)
        for endpoint in endpoints:
            callers = held.of(endpoint)
            running = sum(1 for caller in callers if caller.running)
            self._waiting.labels(endpoint).set(len(callers) - running)
            self._running.labels(endpoint).set(running)
        return generate_latest(self.registry)
