"""Percentiles and ratios. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Summary", "percentile", "ratio", "summarise"]


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` (0 to 1) of the values lie, interpolated between neighbours.

    Raises ValueError without values, or for a share outside 0 to 1.
    """
    if not values:
        raise ValueError("no values: a percentile needs at least one")
    if not 0 <= share <= 1:
        raise ValueError(f"share is {share}, not within 0 and 1")
    ordered = sorted(values)
    position = share * (len(ordered) - 1)
    below = math.floor(position)
    above = math.ceil(position)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def ratio(measured: float, baseline: float) -> float:
    """`measured / baseline`; infinite for a baseline of 0, and 1 where both are 0."""
    if baseline == 0:
        return 1.0 if measured == 0 else math.inf
    return measured / baseline


@dataclass(frozen=True, slots=True)
class Summary:
    """What a sample says."""

    count: int
    mean: float
    p50: float
    p99: float
    worst: float


def summarise(values: Sequence[float]) -> Summary:
    """Raises ValueError without values."""
    return Summary(
        count=len(values),
        mean=math.fsum(values) / len(values) if values else 0.0,
        p50=percentile(values, 0.5),
        p99=percentile(values, 0.99),
        worst=max(values),
    )
