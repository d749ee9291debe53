"""How the last requests of each endpoint went, as this gateway saw them: for people who look, not for alarms.

The metrics have the whole story, over all gateways and for as long as they are scraped. This is a small memory.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from math import ceil
from typing import Any, Final

from holdfast_contract import problems

__all__ = ["KEPT", "WINDOW_S", "Recent"]

WINDOW_S: Final = 900.0
"""Older requests are not told of."""
KEPT: Final = 512
"""Requests remembered of each endpoint."""
_NOT_THE_ENDPOINTS: Final = frozenset({problems.UNAUTHENTICATED.slug, problems.FORBIDDEN.slug})
"""Strangers' errors: nobody may fill an endpoint's memory without a token for it."""
_GONE: Final = 499
_ACCEPTED: Final = 202


@dataclass(frozen=True, slots=True)
class _Ended:
    at: float
    seconds: float
    error: str | None


class Recent:
    """The memory; one for each gateway."""

    def __init__(self) -> None:
        self._ended: dict[str, deque[_Ended]] = {}

    def ended(self, endpoint: str, now: float, seconds: float, status: int, cause: str) -> None:
        """A request ended. `cause`: slug of a problem, or `none`; a model's own 5xx is an error by its status.

        Callers who left, submissions (their answer comes later) and refused strangers are left out.
        """
        if cause in _NOT_THE_ENDPOINTS or status in (_GONE, _ACCEPTED):
            return
        error = cause if cause != "none" else f"model-{status}" if status >= 500 else None
        kept = self._ended.get(endpoint)
        if kept is None:
            kept = self._ended[endpoint] = deque(maxlen=KEPT)
        kept.append(_Ended(now, seconds, error))

    def forget(self, endpoint: str) -> None:
        """The endpoint is gone."""
        self._ended.pop(endpoint, None)

    def summary(self, endpoint: str, now: float) -> dict[str, Any]:
        """`latency`: percentiles of seconds from arrival to the answer's end, None without answers; `errors`: how
        many by cause; both of the last `window_s` seconds."""
        seen = [one for one in self._ended.get(endpoint, ()) if now - one.at <= WINDOW_S]
        times = sorted(one.seconds for one in seen if one.error is None)
        return {
            "window_s": WINDOW_S,
            "latency": {
                "count": len(times),
                "p50_s": _percentile(times, 0.5),
                "p90_s": _percentile(times, 0.9),
                "p99_s": _percentile(times, 0.99),
            }
            if times
            else None,
            "errors": dict(Counter(one.error for one in seen if one.error is not None)),
        }


def _percentile(ordered: list[float], part: float) -> float:
    """Nearest rank: a value that really occurred."""
    return round(ordered[max(0, ceil(part * len(ordered)) - 1)], 4)
