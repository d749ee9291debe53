"""Requests that an endpoint had, from what its workers counted in Prometheus: a trace for the replay.

Counters are read as they are and differenced here, series by series. PromQL's `increase()` extrapolates to the edges of
its window and misses what a series counted before its first sample: a replica that woke up for one request would have
had none.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from holdfast_contract.metrics import ATTEMPT_SECONDS, ATTEMPT_WAIT_SECONDS
from pulumi_holdfast.plan.replay import Request

__all__ = ["MAX_HOURS", "Answer", "Ask", "TrafficError", "Window", "requests_of", "trace_text"]

MAX_HOURS: Final = 168.0
"""The longest window. Beyond a week its steps would be longer than the lives of short-lived replicas."""
_SCRAPE_S: Final = 15
"""How often our monitors read workers; steps below it say nothing new."""
_MAX_STEPS: Final = 10_000
"""Prometheus refuses ranges of more than 11,000 points a series."""
_ATTEMPTS: Final = f"{ATTEMPT_SECONDS}_count"
_SERVICE: Final = f"{ATTEMPT_SECONDS}_sum"
_WAITS: Final = f"{ATTEMPT_WAIT_SECONDS}_count"
_WAITED: Final = f"{ATTEMPT_WAIT_SECONDS}_sum"
_COUNTERS: Final = (_ATTEMPTS, _SERVICE, _WAITS, _WAITED)
_SHOWN_CHARS: Final = 120


class TrafficError(ValueError):
    """No trace can be had. The text names where it was looked for, what was found, and the remedy, after a colon."""


@dataclass(frozen=True, slots=True)
class Window:
    """What to look at, in Unix seconds."""

    start_s: float
    end_s: float
    step_s: int
    """Between two looks at the counters: how exactly arrivals are known."""

    @classmethod
    def last(cls, hours: float, now_s: float) -> Window:
        """The hours before a moment. Raises ValueError unless `hours` are above 0 and at most MAX_HOURS."""
        if not 0 < hours <= MAX_HOURS:
            raise ValueError(
                f"hours is {hours}, not above 0 and at most {MAX_HOURS:g}: choose a window within"
            )
        span_s = hours * 3600
        return cls(now_s - span_s, now_s, max(_SCRAPE_S, math.ceil(span_s / _MAX_STEPS)))


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said."""

    status: int
    text: str


Ask = Callable[[Mapping[str, str]], Answer]
"""Sends these parameters to `/api/v1/query_range`; raises TrafficError where no server answers."""


def requests_of(endpoint: str, window: Window, ask: Ask) -> tuple[Request, ...]:
    """The requests that an endpoint's workers finished within a window, in order of arrival.

    What a series counted between two steps ended evenly spread over the time between them; each such request came its
    step's mean wait and mean service before its end, and is served for that mean. A series that begins within the
    window counted from 0; after a restart it did so again. There are as many requests as the counters grew by; an
    attempt that was given back to the queue counts like any other. `at_s` counts from the window's start, or from the
    first arrival where that was before it.

    Raises TrafficError where the server is no Prometheus, knows nothing of the endpoint, or counted no request.
    """
    answer = ask(
        {
            "query": f'{{__name__=~"{"|".join(_COUNTERS)}",endpoint="{endpoint}"}}',
            "start": f"{window.start_s:.3f}",
            "end": f"{window.end_s:.3f}",
            "step": str(window.step_s),
        }
    )
    workers = _by_worker(_matrix(answer))
    if not workers:
        raise TrafficError(
            f'Prometheus has no {_ATTEMPTS} of endpoint "{endpoint}" in this window: look whether its name is right, '
            "its workers are scraped (docs/guides/observability.md), and the window reaches back to its last request"
        )
    found = [request for samples in workers for request in _finished(samples, window)]
    if not found:
        raise TrafficError(
            f'workers of endpoint "{endpoint}" finished no request in this window: choose a longer one'
        )
    origin_s = min(window.start_s, min(arrival_s for arrival_s, _ in found))
    return tuple(Request(round(at - origin_s, 6), round(service, 6)) for at, service in sorted(found))


def trace_text(requests: Sequence[Request]) -> str:
    """A trace as `parse_trace` reads it."""
    lines = (f"{request.at_s!r},{request.service_s!r}\n" for request in requests)
    return "at_s,service_s\n" + "".join(lines)


@dataclass(frozen=True, slots=True)
class _Sample:
    """All counters of one worker at one step."""

    at_s: float
    attempts: float
    service_s: float
    waits: float
    waited_s: float

    def since(self, before: _Sample) -> _Sample:
        """What was counted since; the counters themselves after a restart, which any that fell betrays."""
        pairs = tuple(zip(self._counters, before._counters, strict=True))
        restarted = any(now < then for now, then in pairs)
        return self if restarted else _Sample(self.at_s, *(now - then for now, then in pairs))

    @property
    def _counters(self) -> tuple[float, float, float, float]:
        return self.attempts, self.service_s, self.waits, self.waited_s


def _finished(samples: Sequence[_Sample], window: Window) -> Iterator[tuple[float, float]]:
    """Arrival (Unix seconds) and service of every request that one worker finished."""
    first = samples[0]
    # There at the window's first step: it counted before. Else it began within the window, at 0.
    before = first if first.at_s <= window.start_s else _Sample(first.at_s - window.step_s, 0, 0, 0, 0)
    for earlier, later in pairwise((before, *samples)):
        grown = later.since(earlier)
        count = round(grown.attempts)
        if count == 0:
            continue
        service_s, wait_s = grown.service_s / count, grown.waited_s / max(grown.waits, 1)
        width_s = later.at_s - earlier.at_s
        for number in range(count):
            ended_s = earlier.at_s + width_s * (number + 0.5) / count
            yield ended_s - service_s - wait_s, service_s


def _by_worker(series: Sequence[Mapping[str, Any]]) -> list[list[_Sample]]:
    """Samples of each worker in order of time. A worker: what has all labels but the name in common."""
    workers: dict[frozenset[tuple[str, str]], dict[str, dict[float, float]]] = defaultdict(dict)
    try:
        for one in series:
            labels = dict(one["metric"])
            name = labels.pop("__name__")
            workers[frozenset(labels.items())][name] = {
                float(at): _counted(value) for at, value in one["values"]
            }
    except (KeyError, TypeError, ValueError) as error:
        raise TrafficError(
            f"the server's answer has a series that is none ({type(error).__name__}: {error}): "
            "give Prometheus's own address"
        ) from None
    found = []
    for counters in workers.values():
        times = sorted({at for values in counters.values() for at in values})
        lacking = [name for name in _COUNTERS if len(counters.get(name, {})) < len(times)]
        if lacking:
            raise TrafficError(
                f"{', '.join(lacking)} of a worker is missing beside its other counters: "
                "let Prometheus keep both histograms whole, without dropping or renaming any of their series"
            )
        found.append([_Sample(at, *(counters[name][at] for name in _COUNTERS)) for at in times])
    return found


def _counted(value: str) -> float:
    number = float(value)
    if not 0 <= number < math.inf:
        raise ValueError(f"{value!r} is no counter's value")
    return number


def _matrix(answer: Answer) -> Sequence[Mapping[str, Any]]:
    """The series of a range query's answer."""
    try:
        told = json.loads(answer.text)
        if told["status"] == "success" and told["data"]["resultType"] == "matrix":
            series: Sequence[Mapping[str, Any]] = list(told["data"]["result"])
            return series
        why = f"{told['errorType']}: {told['error']}"
    except (KeyError, TypeError, ValueError):
        start = " ".join(answer.text.split())[:_SHOWN_CHARS]
        raise TrafficError(
            f"the server answered {answer.status} with {start!r}, not as Prometheus's /api/v1/query_range: "
            "give Prometheus's own address, reached without a login"
        ) from None
    raise TrafficError(
        f"Prometheus refused the question with {answer.status} ({why}): choose a shorter window"
    )
