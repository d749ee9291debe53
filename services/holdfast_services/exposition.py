"""Prometheus metrics made as the contract's catalogue describes them."""

from __future__ import annotations

from typing import Final

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from holdfast_contract import metrics
from holdfast_contract.metrics import Kind

__all__ = ["CONTENT_TYPE", "Registry"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Registry:
    """One process's metrics. Several may live in one test process."""

    def __init__(self) -> None:
        # When a counter began is of no use here, and would add a third series to every counter and histogram.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()

    def counter(self, name: str) -> Counter:
        """The counter of the catalogue with this name."""
        found = _found(name, Kind.COUNTER)
        return Counter(name, found.meaning, found.labels, registry=self._registry)

    def gauge(self, name: str) -> Gauge:
        """The gauge of the catalogue with this name."""
        found = _found(name, Kind.GAUGE)
        return Gauge(name, found.meaning, found.labels, registry=self._registry)

    def histogram(self, name: str) -> Histogram:
        """The histogram of the catalogue with this name."""
        found = _found(name, Kind.HISTOGRAM)
        return Histogram(name, found.meaning, found.labels, buckets=found.buckets_s, registry=self._registry)

    def text(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return prometheus_client.generate_latest(self._registry)


def _found(name: str, kind: Kind) -> metrics.Metric:
    """A name that the contract does not have, or as something else, is a mistake of ours."""
    found = metrics.BY_NAME.get(name)
    if found is None or found.kind is not kind:
        raise ValueError(f"{name} is no {kind} of the catalogue: add it to holdfast_contract.metrics")
    return found
