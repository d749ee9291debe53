"""The replay against laws that hold for every trace, and against sums done by hand."""

from __future__ import annotations

import heapq
import math
import time
from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pulumi_holdfast.plan.replay import Request, Startup, TraceError, parse_trace, replay


@dataclass(frozen=True)
class Scaling:
    min_replicas: int = 0
    max_replicas: int = 1
    timeout_s: int = 300
    concurrency: int = 1


INSTANT = Startup(scale_s=0, ready_s=0)

traces = st.lists(
    st.tuples(st.floats(0, 400), st.floats(0.01, 60)).map(lambda pair: Request(*pair)), max_size=60
).map(lambda requests: tuple(sorted(requests, key=lambda request: request.at_s)))
scalings = st.builds(
    lambda low, more, timeout_s, concurrency: Scaling(low, max(low + more, 1), timeout_s, concurrency),
    st.integers(0, 4),
    st.integers(0, 20),
    st.integers(1, 600),
    st.integers(1, 4),
)
startups = st.builds(Startup, ready_s=st.floats(0, 120), pull_s=st.floats(0, 300))


def central_queue(trace: tuple[Request, ...], slots: int) -> list[float]:
    """Waiting with a fixed number of slots: each request takes the one that is free first."""
    free_at = [0.0] * slots
    waits = []
    for request in trace:
        begins = max(request.at_s, heapq.heappop(free_at))
        waits.append(begins - request.at_s)
        heapq.heappush(free_at, begins + request.service_s)
    return waits


@given(trace=traces, scaling=scalings, startup=startups)
def test_every_request_is_served_in_order_and_within_the_bounds(
    trace: tuple[Request, ...], scaling: Scaling, startup: Startup
) -> None:
    result = replay(trace, scaling, startup=startup)
    begins = [round(request.at_s + wait, 6) for request, wait in zip(trace, result.waits_s, strict=True)]
    assert result.requests == len(trace) == len(result.waits_s)
    assert all(wait >= 0 for wait in result.waits_s)
    assert begins == sorted(begins)
    assert scaling.min_replicas <= result.peak_replicas <= scaling.max_replicas
    assert result.waiting_p50_s <= result.waiting_p99_s <= result.waiting_max_s


@given(trace=traces, low=st.integers(0, 3), high=st.integers(3, 20), concurrency=st.integers(1, 4))
def test_never_more_requests_at_a_time_than_the_replicas_hold(
    trace: tuple[Request, ...], low: int, high: int, concurrency: int
) -> None:
    """While none leaves, that is: one that does finishes its work beside those that stay."""
    assume(sum(request.service_s for request in trace) < 3000)
    result = replay(trace, Scaling(low, high, 3600, concurrency))
    edges = []
    for request, wait in zip(trace, result.waits_s, strict=True):
        begins = request.at_s + wait
        edges += [(round(begins, 6), 1), (round(begins + request.service_s, 6), -1)]
    running = peak = 0
    for _, change in sorted(edges):
        running += change
        peak = max(peak, running)
    assert peak <= result.peak_replicas * concurrency


@given(trace=traces, scaling=scalings, startup=startups)
def test_gpu_hours_cover_the_busy_hours_and_those_the_work(
    trace: tuple[Request, ...], scaling: Scaling, startup: Startup
) -> None:
    result = replay(trace, scaling, startup=startup)
    work_h = sum(request.service_s for request in trace) / 3600
    assert result.gpu_hours >= result.busy_gpu_hours - 1e-9
    assert result.busy_gpu_hours * scaling.concurrency >= work_h - 1e-9
    assert result.busy_gpu_hours <= work_h + 1e-9


@given(trace=traces, scaling=scalings, startup=startups)
def test_a_minimum_of_one_has_no_cold_start(
    trace: tuple[Request, ...], scaling: Scaling, startup: Startup
) -> None:
    result = replay(trace, scaling, startup=startup)
    if scaling.min_replicas >= 1:
        assert (result.cold_starts, result.cold_requests) == (0, 0)
    else:
        assert (result.cold_starts > 0) == bool(trace)
        assert result.cold_requests >= result.cold_starts


@given(trace=traces, slots=st.integers(1, 6), concurrency=st.integers(1, 3))
def test_a_fixed_fleet_is_the_central_queue(trace: tuple[Request, ...], slots: int, concurrency: int) -> None:
    result = replay(trace, Scaling(slots, slots, 60, concurrency))
    assert result.waits_s == pytest.approx(central_queue(trace, slots * concurrency), abs=1e-6)
    assert result.peak_replicas == slots


@given(trace=traces, slots=st.integers(1, 6), more=st.integers(0, 6))
def test_more_replicas_never_let_any_request_wait_longer(
    trace: tuple[Request, ...], slots: int, more: int
) -> None:
    """For fleets that stay. With scaling it is no law: what is done sooner is also idle sooner, and then cold."""
    few, many = (replay(trace, Scaling(n, n, 60)) for n in (slots, slots + more))
    assert all(b <= a + 1e-6 for a, b in zip(few.waits_s, many.waits_s, strict=True))


@given(trace=traces, scaling=scalings, startup=startups)
def test_the_minimum_is_paid_for_all_the_time(
    trace: tuple[Request, ...], scaling: Scaling, startup: Startup
) -> None:
    result = replay(trace, scaling, startup=startup, horizon_s=20_000)
    served = max((r.at_s + w + r.service_s for r, w in zip(trace, result.waits_s, strict=True)), default=0.0)
    assert result.gpu_hours >= scaling.min_replicas * max(served, 20_000) / 3600 - 1e-9


@given(trace=traces, timeout_s=st.integers(1, 300), longer_s=st.integers(0, 300))
def test_a_longer_timeout_never_means_more_cold_starts_where_starts_take_no_time(
    trace: tuple[Request, ...], timeout_s: int, longer_s: int
) -> None:
    short, long = (
        replay(trace, Scaling(timeout_s=seconds), startup=INSTANT)
        for seconds in (timeout_s, timeout_s + longer_s)
    )
    assert long.cold_starts <= short.cold_starts


@given(trace=traces, scaling=scalings)
def test_gpus_only_multiply(trace: tuple[Request, ...], scaling: Scaling) -> None:
    one, eight = (replay(trace, scaling, gpus=gpus) for gpus in (1, 8))
    assert eight.gpu_hours == pytest.approx(8 * one.gpu_hours)
    assert eight.waits_s == one.waits_s


@given(trace=traces, scaling=scalings, startup=startups)
def test_the_same_trace_gives_the_same_result(
    trace: tuple[Request, ...], scaling: Scaling, startup: Startup
) -> None:
    assert replay(trace, scaling, startup=startup) == replay(trace, scaling, startup=startup)


@given(trace=traces, scaling=scalings, startup=startups, max_queue=st.integers(0, 5))
def test_a_bounded_queue_refuses_what_exceeds_it_and_nothing_else(
    trace: tuple[Request, ...], scaling: Scaling, startup: Startup, max_queue: int
) -> None:
    result = replay(trace, scaling, startup=startup, max_queue=max_queue)
    bound = max_queue + scaling.max_replicas * scaling.concurrency
    assert result.refused == sum(math.isnan(wait) for wait in result.waits_s)
    assert result.refused <= max(len(trace) - bound, 0)
    enough = replay(trace, scaling, startup=startup, max_queue=len(trace))
    assert enough == replay(trace, scaling, startup=startup)
    assert enough.refused == 0


def test_a_refused_request_counts_in_no_waiting() -> None:
    result = replay([Request(0, 10)] * 4, Scaling(1, 1), max_queue=1)
    assert result.refused == 2
    assert (result.waits_s[:2], result.waiting_max_s, result.requests) == ((0.0, 10.0), 10.0, 4)


def test_one_request_at_zero_by_hand() -> None:
    startup = Startup(scale_s=1, machine_s=100, pull_s=20, ready_s=9)
    result = replay([Request(2, 10)], Scaling(timeout_s=60), startup=startup)
    assert result.waits_s == (130.0,)
    assert (result.cold_starts, result.cold_requests, result.peak_replicas) == (1, 1, 1)
    # Ends at 142, idle at 202, seen at the next poll, 205: from 2 s on.
    assert result.gpu_hours == pytest.approx((205 - 2) / 3600)
    assert result.busy_gpu_hours == pytest.approx(10 / 3600)


def test_requests_further_apart_than_the_timeout_are_each_cold() -> None:
    trace = [Request(at, 1.0) for at in (0.0, 100.0, 200.0)]
    assert replay(trace, Scaling(timeout_s=60)).cold_starts == 3
    assert replay(trace, Scaling(timeout_s=120)).cold_starts == 1


def test_the_second_replica_comes_with_the_autoscaler_s_next_look() -> None:
    """Two requests at 1 s: one takes the first replica, the other the one asked for at 15 s."""
    result = replay([Request(1, 100), Request(1, 100)], Scaling(max_replicas=2), startup=Startup(0, 0, 0, 5))
    assert result.waits_s == (5.0, 19.0)
    assert result.peak_replicas == 2


def test_replicas_above_the_floor_stay_for_the_timeout() -> None:
    burst = [Request(1, 20) for _ in range(5)]
    steady = [Request(20 + 10 * number, 1) for number in range(60)]
    result = replay(burst + steady, Scaling(max_replicas=5, timeout_s=60), startup=INSTANT)
    short = replay(burst + steady, Scaling(max_replicas=5, timeout_s=15), startup=INSTANT)
    assert result.peak_replicas == 5
    assert short.gpu_hours < result.gpu_hours


def test_an_empty_trace_costs_the_minimum_only() -> None:
    assert replay([], Scaling()).gpu_hours == 0
    assert replay([], Scaling(2, 3), horizon_s=3600).gpu_hours == pytest.approx(2)
    assert replay([], Scaling()).waiting_p99_s == 0


def test_the_summary_leaves_out_the_single_waits() -> None:
    summary = replay([Request(0, 1)], Scaling()).as_output()
    assert "waits_s" not in summary
    assert summary["requests"] == 1


def test_a_trace_is_read_in_any_order_and_with_other_columns() -> None:
    text = "id,at_s,service_s\nb,5,1.5\na,0,2\n"
    assert parse_trace(text) == (Request(0, 2), Request(5, 1.5))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "at,service_s\n1,2\n",
            "trace has no column at_s: name the columns at_s and service_s in its first line",
        ),
        ("", "trace has no column at_s, service_s: name the columns at_s and service_s in its first line"),
        (
            "at_s,service_s\n1,2\nsoon,3\n",
            "trace line 3: at_s is 'soon', not a number of seconds of at least 0: correct it",
        ),
        (
            "at_s,service_s\n1,-2\n",
            "trace line 2: service_s is '-2', not a number of seconds of at least 0: correct it",
        ),
        (
            "at_s,service_s\n1,inf\n",
            "trace line 2: service_s is 'inf', not a number of seconds of at least 0: correct it",
        ),
        (
            "at_s,service_s\n1\n",
            "trace line 2: service_s is None, not a number of seconds of at least 0: correct it",
        ),
    ],
)
def test_a_wrong_trace_is_refused_with_line_value_rule_and_remedy(text: str, problem: str) -> None:
    with pytest.raises(TraceError) as raised:
        parse_trace(text)
    assert str(raised.value) == problem


def test_a_trace_out_of_order_is_refused() -> None:
    with pytest.raises(ValueError, match="trace is not in order of arrival: sort it by at_s"):
        replay([Request(2, 1), Request(1, 1)], Scaling())


@given(seed=st.integers(0, 3))
def test_a_day_with_many_requests_is_replayed_in_seconds(seed: int) -> None:
    random = Random(seed)
    trace = sorted(
        (Request(random.uniform(0, 86_400), random.expovariate(1 / 2)) for _ in range(20_000)),
        key=lambda request: request.at_s,
    )
    began = time.process_time()
    result = replay(trace, Scaling(max_replicas=20, timeout_s=120))
    assert result.requests == 20_000
    assert time.process_time() - began < 5
