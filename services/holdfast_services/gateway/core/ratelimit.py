"""Rate limits by GCRA (the generic cell rate algorithm): one number per caller, no window to reset."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from holdfast_contract.document import RateLimit

__all__ = ["Decision", "RateLimiter"]

_MAX_CALLERS: Final = 100_000
"""Callers remembered; the one seen longest ago is forgotten first, and may then start afresh."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a request passes, and what to tell the caller."""

    allowed: bool
    limit: int
    """Requests per window that this gateway grants."""
    remaining: int
    reset_s: float
    """Seconds until the full limit is there again."""
    retry_after_s: float
    """Seconds until the next request passes; 0 where it passed."""


class RateLimiter:
    """Counts every (endpoint, caller) by itself. A caller who was away may send the whole limit at once, and
    after that one request each `window_s / requests` seconds."""

    def __init__(self) -> None:
        self._arrivals: OrderedDict[tuple[str, str], float] = OrderedDict()

    def decide(self, endpoint: str, caller: str, limit: RateLimit, gateways: int, now: float) -> Decision:
        """Count one request. `gateways`: how many share the limit; each takes its part. `now`: any clock that
        does not go back, in seconds."""
        share = max(1.0, limit.requests / max(1, gateways))
        interval_s = limit.window_s / share
        burst_s = limit.window_s - interval_s
        key = (endpoint, caller)
        earliest = max(self._arrivals.get(key, now), now)
        over_s = earliest - now - burst_s
        if over_s > 1e-9:
            return Decision(False, int(share), 0, earliest - now, over_s)
        self._arrivals[key] = earliest + interval_s
        self._arrivals.move_to_end(key)
        if len(self._arrivals) > _MAX_CALLERS:
            self._arrivals.popitem(last=False)
        ahead_s = earliest + interval_s - now
        remaining = int((limit.window_s - ahead_s) / interval_s + 1e-9)
        return Decision(True, int(share), max(0, remaining), ahead_s, 0.0)
