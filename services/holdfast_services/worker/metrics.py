"""What a worker counts. It serves one endpoint, so every label is looked up once."""

from __future__ import annotations

from collections.abc import Callable

from holdfast_contract import metrics as names
from holdfast_contract.messages import RequestState
from holdfast_services.exposition import Registry

__all__ = ["Metrics"]


class Metrics:
    """The worker's metrics, with a registry of their own."""

    def __init__(self, endpoint: str, slots: int, limit_s: float) -> None:
        """`slots`: requests that the replica serves at a time. `limit_s`: the longest that one may take."""
        registry = self._registry = Registry()
        self._endpoint = endpoint
        self._executions = registry.counter(names.EXECUTIONS)
        self._redeliveries = registry.counter(names.REDELIVERIES).labels(endpoint)
        self._wait = registry.histogram(names.ATTEMPT_WAIT_SECONDS).labels(endpoint)
        self._seconds = registry.histogram(names.ATTEMPT_SECONDS).labels(endpoint)
        self._age = registry.gauge(names.ATTEMPT_AGE).labels(endpoint)
        self._busy = registry.gauge(names.SLOTS_BUSY).labels(endpoint)
        self._ready = registry.gauge(names.MODEL_READY).labels(endpoint)
        self._connected = registry.gauge(names.BROKER_CONNECTED)
        registry.gauge(names.ATTEMPT_LIMIT).labels(endpoint).set(limit_s)
        registry.gauge(names.SLOTS).labels(endpoint).set(slots)
        self._states = {
            state: self._executions.labels(endpoint, state.value.lower())
            for state in RequestState
            if state.terminal
        }

    def follow(
        self, *, ready: Callable[[], bool], oldest_s: Callable[[], float], connected: Callable[[], bool]
    ) -> None:
        """Ask these whenever the metrics are read. `oldest_s`: age of the oldest attempt; 0: none."""
        self._ready.set_function(lambda: float(ready()))
        self._age.set_function(oldest_s)
        self._connected.set_function(lambda: float(connected()))

    def busy(self, requests: int) -> None:
        """So many are at hand."""
        self._busy.set(requests)

    def ended(self, state: RequestState | None, *, wait_s: float, seconds: float) -> None:
        """An attempt is over. `state`: how its request ended; None: it was given back."""
        self._wait.observe(wait_s)
        self._seconds.observe(seconds)
        if state is None:
            self._redeliveries.inc()
        else:
            self._states[state].inc()

    def text(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return self._registry.text()
