"""Takes the times of a start from 0 replicas: accepted, scaled, scheduled, pulled, ready, answered."""

from __future__ import annotations

from holdfast_services.gateway.held import Held
from holdfast_services.gateway.metrics import Metrics
from holdfast_services.gateway.pages import Pages
from holdfast_services.gateway.serve import Parts

__all__ = ["ColdStarts"]


class ColdStarts:
    """Remembers each endpoint's last cold start, by the first request that it answered."""

    def __init__(self, parts: Parts, pages: Pages, metrics: Metrics) -> None:
        self._parts = parts
        self._pages = pages
        self._metrics = metrics
        self._known: dict[str, float | None] = {}

    def answered(self, held: Held) -> None:
        """An answer began."""
        if not held.cold:
            return
        seen = self._parts.replicas.start_phases(held.endpoint)
        if held.endpoint in self._known and self._known[held.endpoint] == seen.scaled:
            return  # another request had woken it
        self._known[held.endpoint] = seen.scaled
        phases: dict[str, float | None] = {"accepted": 0.0}
        for name in ("scaled", "scheduled", "pulled", "ready"):
            at: float | None = getattr(seen, name)
            phases[name] = None if at is None else round(max(0.0, at - held.accepted_at), 3)
        phases["answered"] = round(self._parts.clock() - held.accepted_at, 3)
        self._pages.cold_starts[held.endpoint] = phases
        self._metrics.cold_start(held.endpoint, phases)
