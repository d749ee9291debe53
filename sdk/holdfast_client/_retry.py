"""Whether to send a request again, and when. Pure: time and chance are given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final

from holdfast_client import _protocol as protocol

RETRIED_STATUSES: Final = frozenset({429, 502, 503, 504})
FIRST_DELAY_S: Final = 0.5
MAX_DELAY_S: Final = 8.0
"""Delays double from the first to this one, as OpenAI's client does."""
MAX_RETRY_AFTER_S: Final = 120.0
"""A server that asks for more time than this gets no retry: the caller should know, and decide."""


@dataclass(frozen=True, slots=True)
class Again:
    """Send it again."""

    delay_s: float
    counted: bool = True
    """Whether it uses up one of `max_retries`. Waiting for an earlier attempt of one's own does not."""


def after_answer(
    status: int, headers: Mapping[str, str], slug: str, retries: int, chance: float, now: float
) -> Again | None:
    """What to do with an error answer; None: give it to the caller.

    `slug`: kind of the problem. `retries`: how many there were already. `chance`: 0 to 1, random.
    `now`: Unix seconds, for a Retry-After that is a date. An `x-should-retry` of the server wins over the status.
    """
    advice = headers.get(protocol.HEADER_SHOULD_RETRY, "").lower()
    if advice == "false" or (advice != "true" and status not in RETRIED_STATUSES):
        return None
    asked = retry_after_s(headers, now)
    if asked is not None and asked > MAX_RETRY_AFTER_S:
        return None
    counted = not (status == 409 and slug == protocol.IDEMPOTENCY_RUNNING)
    # Never sooner than asked; a tenth later at most, so that many clients do not come back at the same moment.
    delay_s = backoff_s(retries, chance) if asked is None else asked * (1 + 0.1 * chance)
    return Again(delay_s, counted)


def after_loss(retries: int, chance: float) -> Again:
    """What to do when the connection broke or could not be made: every request here is safe to repeat."""
    return Again(backoff_s(retries, chance))


def backoff_s(retries: int, chance: float) -> float:
    """0.5 s, doubled by every retry up to 8 s, less up to a quarter by chance.

    >>> [backoff_s(n, 0) for n in range(6)]
    [0.5, 1.0, 2.0, 4.0, 8.0, 8.0]
    """
    return min(FIRST_DELAY_S * 2.0 ** min(retries, 10), MAX_DELAY_S) * (1 - 0.25 * chance)


def retry_after_s(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that the server asks to wait (`retry-after-ms`, or `Retry-After` as seconds or date); None: unsaid."""
    try:
        return max(0.0, float(headers["retry-after-ms"]) / 1000)
    except (KeyError, ValueError):
        pass
    text = headers.get("retry-after", "")
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, OverflowError):
        return None
