"""Takes the times of a start from 0 replicas: accepted, scaled, scheduled, pulled, ready, answered."""

from __future__ import annotations

import asyncio
from typing import Final

from holdfast_services.gateway.held import Held
from holdfast_services.gateway.metrics import Metrics
from holdfast_services.gateway.pages import Pages
from holdfast_services.gateway.replicas import StartPhases
from holdfast_services.gateway.serve import Parts

__all__ = ["ColdStarts"]

_SETTLED_S: Final = 10.0
"""A quick model answers before the kubelet has said that its container runs: only later are all phases known."""


class ColdStarts:
    """Remembers each endpoint's last cold start, by the first request that it answered."""

    def __init__(
        self, parts: Parts, pages: Pages, metrics: Metrics, *, settled_s: float = _SETTLED_S
    ) -> None:
        """`settled_s`: how long after the answer the phases are counted."""
        self._parts = parts
        self._pages = pages
        self._metrics = metrics
        self._settled_s = settled_s
        self._known: dict[str, float | None] = {}

    def answered(self, held: Held) -> None:
        """An answer began."""
        if not held.cold:
            return
        seen = self._parts.replicas.start_phases(held.endpoint)
        if held.endpoint in self._known and self._known[held.endpoint] == seen.scaled:
            return  # another request had woken it
        self._known[held.endpoint] = seen.scaled
        answered_s = round(self._parts.clock() - held.accepted_at, 3)
        self._pages.cold_starts[held.endpoint] = _phases(seen, held.accepted_at, answered_s)
        asyncio.get_running_loop().call_later(
            self._settled_s, self._settle, held.endpoint, held.accepted_at, answered_s, seen
        )

    def forget(self, endpoint: str) -> None:
        """The endpoint is no more."""
        self._known.pop(endpoint, None)
        self._pages.cold_starts.pop(endpoint, None)

    def _settle(self, endpoint: str, accepted_at: float, answered_s: float, seen: StartPhases) -> None:
        now = self._parts.replicas.start_phases(endpoint)
        # A newer replica, or none any more, says nothing of this start.
        phases = _phases(now if now.scaled == seen.scaled else seen, accepted_at, answered_s)
        self._metrics.cold_start(endpoint, phases)
        if endpoint in self._pages.cold_starts and self._known.get(endpoint) == seen.scaled:
            self._pages.cold_starts[endpoint] = phases


def _phases(seen: StartPhases, accepted_at: float, answered_s: float) -> dict[str, float | None]:
    phases: dict[str, float | None] = {"accepted": 0.0}
    for name in ("scaled", "scheduled", "pulled", "ready"):
        at: float | None = getattr(seen, name)
        phases[name] = None if at is None else round(max(0.0, at - accepted_at), 3)
    phases["answered"] = answered_s
    return phases
