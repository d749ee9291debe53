"""A trace from what workers counted: as many requests as the counters grew by, whatever begins, restarts and ends."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulumi_holdfast.plan.replay import Request, parse_trace
from pulumi_holdfast.plan.traffic import MAX_HOURS, Answer, TrafficError, Window, requests_of, trace_text

STEP_S = 15
WINDOW = Window(1_000_000.0, 1_003_600.0, STEP_S)
NAMES = (
    "holdfast_attempt_seconds_count",
    "holdfast_attempt_seconds_sum",
    "holdfast_attempt_wait_seconds_count",
    "holdfast_attempt_wait_seconds_sum",
)
Counters = tuple[float, float, float, float]


def matrix(workers: Mapping[str, Sequence[tuple[float, Counters]]], leave_out: str = "") -> Answer:
    """Prometheus's answer. Of each worker: (Unix seconds, its counters in the order of NAMES)."""
    result = [
        {
            "metric": {"__name__": name, "endpoint": "chat", "pod": pod},
            "values": [[at, repr(counters[place])] for at, counters in samples],
        }
        for pod, samples in workers.items()
        for place, name in enumerate(NAMES)
        if name != leave_out
    ]
    return Answer(200, json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}}))


def trace_of(
    workers: Mapping[str, Sequence[tuple[float, Counters]]], window: Window = WINDOW
) -> tuple[Request, ...]:
    return requests_of("chat", window, lambda _: matrix(workers))


def at(step: int) -> float:
    return WINDOW.start_s + step * STEP_S


# --- laws ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Worker:
    """One worker's life: what it counted before the window, then at each step, and where it restarted."""

    before: int
    """Requests counted at the window's first step; -1: it began within."""
    begins: int
    grown: tuple[int, ...]
    restarts: frozenset[int]
    service_s: float
    wait_s: float

    def samples(self) -> tuple[list[tuple[float, Counters]], int]:
        """Its samples, and how many requests it finished within the window."""
        there = self.before >= 0
        count, step = max(self.before, 0), 0 if there else self.begins
        samples = [(at(step), self._counters(count))] if there else []
        finished = 0
        for place, more in enumerate(self.grown):
            step += 1
            # A restart that counted as many again within one step cannot be told from none.
            count = more if place in self.restarts and more < count else count + more
            finished += more
            samples.append((at(step), self._counters(count)))
        return samples, finished

    def _counters(self, count: int) -> Counters:
        return count, count * self.service_s, count, count * self.wait_s


workers_lives = st.builds(
    Worker,
    before=st.integers(-1, 30),
    begins=st.integers(0, 20),
    grown=st.lists(st.integers(0, 12), min_size=1, max_size=30).map(tuple),
    restarts=st.frozensets(st.integers(0, 29)),
    service_s=st.floats(0.001, 500),
    wait_s=st.floats(0, 500),
)


@given(st.lists(workers_lives, min_size=1, max_size=5))
def test_as_many_requests_as_the_counters_grew_by_with_as_much_work_whatever_restarts(
    lives: list[Worker],
) -> None:
    told = {f"chat-{number}": life.samples() for number, life in enumerate(lives)}
    finished = {pod: count for pod, (_, count) in told.items()}
    answer = matrix({pod: samples for pod, (samples, _) in told.items()})
    if not sum(finished.values()):
        with pytest.raises(TrafficError, match="finished no request"):
            requests_of("chat", WINDOW, lambda _: answer)
        return
    trace = requests_of("chat", WINDOW, lambda _: answer)
    assert len(trace) == sum(finished.values())
    worked_s = sum(count * life.service_s for count, life in zip(finished.values(), lives, strict=True))
    assert math.fsum(one.service_s for one in trace) == pytest.approx(worked_s, abs=1e-6 * len(trace))
    assert trace[0].at_s >= 0
    assert list(trace) == sorted(trace, key=lambda one: one.at_s)


@given(
    st.lists(workers_lives, min_size=1, max_size=3).filter(lambda lives: any(sum(one.grown) for one in lives))
)
def test_a_saved_trace_is_read_as_it_was(lives: list[Worker]) -> None:
    trace = trace_of({f"chat-{number}": life.samples()[0] for number, life in enumerate(lives)})
    assert parse_trace(trace_text(trace)) == trace


# --- by hand ------------------------------------------------------------------------------------------------
def test_what_was_counted_before_the_window_is_no_request_of_it() -> None:
    trace = trace_of({"a": [(at(0), (50, 100.0, 50, 0.0)), (at(4), (51, 103.0, 51, 10.0))]})
    # It ended in the middle of a minute, after 10 s of waiting and 3 s of work.
    assert trace == (Request(30 - 10 - 3, 3.0),)


def test_a_replica_that_woke_up_within_the_window_counted_from_zero() -> None:
    trace = trace_of({"a": [(at(10), (2, 6.0, 2, 180.0))]})
    # Two that ended within the step up to 150 s, each waited 90 s for the cold start and took 3 s.
    assert trace == (Request(138.75 - 93, 3.0), Request(146.25 - 93, 3.0))


def test_a_restart_is_seen_in_any_counter_that_fell() -> None:
    """The new process may have finished more requests than the old one, but shorter ones."""
    trace = trace_of({"a": [(at(0), (2, 600.0, 2, 0.0)), (at(1), (3, 6.0, 3, 0.0))]})
    assert [one.service_s for one in trace] == [2.0, 2.0, 2.0]


def test_workers_that_are_different_pods_are_differenced_each_by_itself() -> None:
    trace = trace_of(
        {
            "a": [(at(0), (9, 9.0, 9, 0.0)), (at(1), (10, 10.0, 10, 0.0))],
            "b": [(at(1), (1, 5.0, 1, 0.0))],
        }
    )
    assert sorted(one.service_s for one in trace) == [1.0, 5.0]


def test_a_request_that_arrived_before_the_window_begins_the_trace() -> None:
    trace = trace_of(
        {"a": [(at(0), (0, 0.0, 0, 0.0)), (at(1), (1, 100.0, 1, 0.0)), (at(40), (2, 101.0, 2, 0.0))]}
    )
    assert trace[0] == Request(0.0, 100.0)
    # 92.5 s lie between that arrival and the window's start.
    assert trace[1].at_s == pytest.approx((at(1) + at(40)) / 2 - 1 - WINDOW.start_s + 92.5)


def test_the_question_names_the_counters_the_endpoint_and_the_window() -> None:
    asked: list[Mapping[str, str]] = []

    def ask(parameters: Mapping[str, str]) -> Answer:
        asked.append(parameters)
        return matrix({"a": [(at(1), (1, 1.0, 1, 0.0))]})

    requests_of("chat", WINDOW, ask)
    assert asked == [
        {
            "query": f'{{__name__=~"{"|".join(NAMES)}",endpoint="chat"}}',
            "start": "1000000.000",
            "end": "1003600.000",
            "step": "15",
        }
    ]


@pytest.mark.parametrize(("hours", "step_s"), [(1, 15), (24, 15), (48, 18), (MAX_HOURS, 61)])
def test_a_window_has_fewer_steps_than_prometheus_refuses(hours: float, step_s: int) -> None:
    window = Window.last(hours, 2_000_000.0)
    assert (window.end_s, window.end_s - window.start_s, window.step_s) == (2_000_000, hours * 3600, step_s)
    assert hours * 3600 / window.step_s < 11_000


@pytest.mark.parametrize("hours", [0, -1, 169, math.nan])
def test_a_window_that_cannot_be_asked_for_is_refused(hours: float) -> None:
    with pytest.raises(ValueError, match=rf"hours is {hours}, not above 0 and at most 168: choose"):
        Window.last(hours, 2_000_000.0)


# --- errors -------------------------------------------------------------------------------------------------
def success(**data: Any) -> str:
    return json.dumps({"status": "success", "data": data})


UNCOUNTED = {"metric": {"__name__": NAMES[0]}, "values": [[1, "NaN"]]}
REFUSED = json.dumps({"status": "error", "errorType": "bad_data", "error": "exceeded maximum resolution"})


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (
            Answer(200, "<html>\n <title>Grafana</title>"),
            "the server answered 200 with '<html> <title>Grafana</title>', not as Prometheus's "
            "/api/v1/query_range: give Prometheus's own address, reached without a login",
        ),
        (Answer(302, ""), "the server answered 302 with '', not as Prometheus's"),
        (Answer(200, "[]"), "the server answered 200 with '[]', not as Prometheus's"),
        (Answer(200, success(resultType="vector", result=[])), "not as Prometheus's /api/v1/query_range"),
        (
            Answer(400, REFUSED),
            "Prometheus refused the question with 400 (bad_data: exceeded maximum resolution): choose a shorter "
            "window",
        ),
        (
            Answer(200, success(resultType="matrix", result=[])),
            'Prometheus has no holdfast_attempt_seconds_count of endpoint "chat" in this window: look whether its '
            "name is right, its workers are scraped (docs/guides/observability.md), and the window reaches back to "
            "its last request",
        ),
        (
            matrix({"a": [(at(0), (5, 5.0, 5, 0.0)), (at(9), (5, 5.0, 5, 0.0))]}),
            'workers of endpoint "chat" finished no request in this window: choose a longer one',
        ),
        (
            matrix({"a": [(at(1), (5, 5.0, 5, 0.0))]}, leave_out=NAMES[3]),
            "holdfast_attempt_wait_seconds_sum of a worker is missing beside its other counters: let Prometheus "
            "keep both histograms whole, without dropping or renaming any of their series",
        ),
        (
            Answer(200, success(resultType="matrix", result=[UNCOUNTED])),
            "the server's answer has a series that is none (ValueError: 'NaN' is no counter's value): give "
            "Prometheus's own address",
        ),
        (
            Answer(200, success(resultType="matrix", result=[{"metric": {}}])),
            "the server's answer has a series that is none (KeyError: '__name__'): give Prometheus's own address",
        ),
    ],
)  # fmt: skip
def test_what_is_no_answer_says_what_it_is_and_what_to_do(answer: Answer, text: str) -> None:
    with pytest.raises(TrafficError) as caught:
        requests_of("chat", WINDOW, lambda _: answer)
    assert text in str(caught.value)
