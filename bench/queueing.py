"""The ideal that routers are measured against: one queue, first come first served, no time lost. Pure."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Sequence

__all__ = ["central_queue_waits", "erlang_c_mean_wait", "exponential_times", "poisson_arrivals"]


def poisson_arrivals(rate_per_s: float, duration_s: float, rng: random.Random) -> list[float]:
    """Moments within `duration_s` seconds from 0, at `rate_per_s` on average, independent of each other."""
    moments: list[float] = []
    now = rng.expovariate(rate_per_s)
    while now < duration_s:
        moments.append(now)
        now += rng.expovariate(rate_per_s)
    return moments


def exponential_times(mean_s: float, count: int, rng: random.Random) -> list[float]:
    """`count` service times in seconds, exponentially distributed, capped at ten times the mean (one of 22,000 is
    above it, and would decide the tail of a short run alone)."""
    return [min(rng.expovariate(1 / mean_s), 10 * mean_s) for _ in range(count)]


def central_queue_waits(
    arrivals_s: Sequence[float], services_s: Sequence[float], servers: int
) -> list[float]:
    """Seconds that each request waits before a server takes it, in the order given.

    Requests are taken in order of arrival by whichever server is free first. Raises ValueError where the
    sequences differ in length, or `servers` is below 1.
    """
    if len(arrivals_s) != len(services_s):
        raise ValueError(f"{len(arrivals_s)} arrivals but {len(services_s)} service times: give one for each")
    if servers < 1:
        raise ValueError(f"servers is {servers}, below 1")
    free_at = [-math.inf] * servers
    waits = [0.0] * len(arrivals_s)
    for index in sorted(range(len(arrivals_s)), key=arrivals_s.__getitem__):
        begins = max(arrivals_s[index], free_at[0])
        waits[index] = begins - arrivals_s[index]
        heapq.heapreplace(free_at, begins + services_s[index])
    return waits


def erlang_c_mean_wait(servers: int, utilisation: float, mean_service_s: float) -> float:
    """Mean seconds of waiting in the long run (M/M/c, Erlang's C formula). `utilisation` is below 1."""
    offered = servers * utilisation
    # Erlang B by recursion: no factorials, so no overflow.
    blocked = 1.0
    for number in range(1, servers + 1):
        blocked = offered * blocked / (number + offered * blocked)
    waits = blocked / (1 - utilisation * (1 - blocked))
    return waits * mean_service_s / (servers * (1 - utilisation))
