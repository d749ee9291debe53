"""When a full queue will have room again: waiting × mean service time / capacity."""

from __future__ import annotations

from typing import Final

__all__ = ["MAX_RETRY_AFTER_S", "ServiceTimes"]

MAX_RETRY_AFTER_S: Final = 120
"""OpenAI-style clients give up at once on more (openai-python, `_base_client.py`)."""
_WEIGHT: Final = 0.1
"""Of the newest observation; about the last twenty count."""
_UNKNOWN_S: Final = 1.0


class ServiceTimes:
    """Mean seconds that an endpoint's requests take in the model, exponentially weighted."""

    def __init__(self) -> None:
        self._mean_s: dict[str, float] = {}

    def observe(self, endpoint: str, seconds: float) -> None:
        """A request took `seconds` from claim to answer."""
        before = self._mean_s.get(endpoint, seconds)
        self._mean_s[endpoint] = before + _WEIGHT * (seconds - before)

    def forget(self, endpoint: str) -> None:
        """The endpoint is gone."""
        self._mean_s.pop(endpoint, None)

    def retry_after_s(self, endpoint: str, waiting: int, slots: int) -> float:
        """Seconds until what waits now is done by `slots` slots; from 1 to MAX_RETRY_AFTER_S."""
        mean_s = self._mean_s.get(endpoint, _UNKNOWN_S)
        return min(MAX_RETRY_AFTER_S, max(1.0, waiting * mean_s / max(1, slots)))
