"""The decision, proven against the autoscaler's own formula."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast_contract.autoscaling import (
    HPA_TOLERANCE,
    NEVER,
    decide,
    desired_replicas,
    hpa_replicas,
    metric_milli,
)
from holdfast_contract.document import Scaling as DocumentScaling


@dataclass(frozen=True)
class Scaling:
    min_replicas: int = 0
    max_replicas: int = 1000
    timeout_s: int = 300
    concurrency: int = 1


ANY = Scaling()
NOW = 1_800_000_000.0

settings = st.builds(
    Scaling,
    min_replicas=st.integers(0, 3),
    max_replicas=st.integers(3, 400),
    timeout_s=st.integers(1, 7200),
    concurrency=st.integers(1, 64),
)


def test_no_value_whatever_makes_the_autoscaler_go_from_10_to_11() -> None:
    """Why the value overshoots above 10 replicas: this is the least that the autoscaler can be led to."""
    reachable = {hpa_replicas(10, value, ANY) for value in range(0, 30_000)}
    assert 11 not in reachable
    assert 12 in reachable


def test_the_eleventh_request_at_10_replicas_gets_a_replica_at_once() -> None:
    assert hpa_replicas(10, 11_000, ANY) == 10, "plain demand is ignored"
    value = decide(demand=11, last_activity_at=NOW, now=NOW, scaling=ANY).metric_milli
    assert hpa_replicas(10, value, ANY) == 12
    assert hpa_replicas(10, value, Scaling(max_replicas=11)) == 11


def test_the_eleventh_request_gives_exactly_11_where_the_tolerance_is_0() -> None:
    value = decide(demand=11, last_activity_at=NOW, now=NOW, scaling=ANY, tolerance=0.0).metric_milli
    assert hpa_replicas(10, value, ANY, tolerance=0.0) == 11


@given(desired=st.integers(1, 9), current=st.integers(1, 500))
def test_up_to_9_replicas_the_autoscaler_lands_exactly_from_everywhere(desired: int, current: int) -> None:
    assert hpa_replicas(current, metric_milli(desired), ANY) == desired


@given(desired=st.integers(1, 400), current=st.integers(1, 500))
def test_with_tolerance_0_the_autoscaler_lands_exactly_from_everywhere(desired: int, current: int) -> None:
    assert hpa_replicas(current, metric_milli(desired, tolerance=0.0), ANY, tolerance=0.0) == desired


@given(
    desired=st.integers(1, 400),
    current=st.integers(1, 500),
    tolerance=st.sampled_from([0.0, 0.01, 0.05, 0.1, 0.15, 0.2, 1 / 3, 0.5]),
)
def test_one_step_never_ends_below_demand_and_hardly_above(
    desired: int, current: int, tolerance: float
) -> None:
    value = metric_milli(desired, tolerance=tolerance)
    after = hpa_replicas(current, value, ANY, tolerance=tolerance)
    assert after >= desired
    if current <= desired:
        assert after <= desired + math.floor(tolerance * (desired - 1) + 1e-6)
    else:
        assert after <= current
        assert after <= (1 + tolerance) / (1 - tolerance) * desired + 1


@given(desired=st.integers(1, 400), current=st.integers(1, 500))
def test_the_second_step_changes_nothing(desired: int, current: int) -> None:
    """No flapping: whatever the autoscaler reached, the same demand keeps it there."""
    value = metric_milli(desired)
    reached = hpa_replicas(current, value, ANY)
    assert hpa_replicas(reached, value, ANY) == reached


@given(scaling=settings, demand=st.integers(0, 30_000), current=st.integers(1, 400))
def test_the_replicas_hold_the_demand_and_keep_the_bounds(
    scaling: Scaling, demand: int, current: int
) -> None:
    decision = decide(demand=demand, last_activity_at=NOW, now=NOW, scaling=scaling)
    after = hpa_replicas(min(current, scaling.max_replicas), decision.metric_milli, scaling)
    assert max(1, scaling.min_replicas) <= after <= scaling.max_replicas
    assert after * scaling.concurrency >= min(demand, scaling.max_replicas * scaling.concurrency)


@given(scaling=settings, demand=st.integers(0, 30_000))
def test_desired_is_the_least_number_that_holds_the_demand(scaling: Scaling, demand: int) -> None:
    desired = desired_replicas(demand, scaling)
    if desired < scaling.max_replicas:
        assert desired * scaling.concurrency >= demand
    assert desired == 0 or (desired - 1) * scaling.concurrency < demand


@given(first=st.integers(0, 5000), second=st.integers(0, 5000))
def test_more_demand_never_gives_a_smaller_value(first: int, second: int) -> None:
    low, high = sorted((first, second))
    assert metric_milli(low) <= metric_milli(high)


@given(scaling=settings, idle_s=st.floats(0, 10_000))
def test_idle_begins_exactly_at_the_timeout(scaling: Scaling, idle_s: float) -> None:
    decision = decide(demand=0, last_activity_at=0.0, now=idle_s, scaling=scaling)
    assert decision.active == (idle_s < scaling.timeout_s or scaling.min_replicas > 0)
    assert decision.desired == decision.metric_milli == 0


@given(scaling=settings, demand=st.integers(1, 1000), now=st.floats(0, 1e10))
def test_an_endpoint_with_demand_is_active_however_old_its_activity(
    scaling: Scaling, demand: int, now: float
) -> None:
    decision = decide(demand=demand, last_activity_at=NEVER, now=now, scaling=scaling)
    assert decision.active
    assert decision.desired >= 1


def test_unknown_activity_counts_as_now() -> None:
    assert decide(demand=0, last_activity_at=None, now=NOW, scaling=ANY).active


def test_an_endpoint_that_never_had_a_request_is_inactive() -> None:
    assert not decide(demand=0, last_activity_at=NEVER, now=NOW, scaling=ANY).active


def test_activity_in_the_future_is_activity() -> None:
    """Clocks of brokers and gateways differ by a little."""
    assert decide(demand=0, last_activity_at=NOW + 2, now=NOW, scaling=ANY).active


@given(scaling=settings, demand=st.integers(0, 1000))
def test_a_paused_endpoint_is_inactive_whatever_its_demand(scaling: Scaling, demand: int) -> None:
    decision = decide(demand=demand, last_activity_at=NOW, now=NOW, scaling=scaling, paused=True)
    assert (decision.active, decision.desired, decision.metric) == (False, 0, 0.0)


def test_the_document_s_scaling_fits() -> None:
    scaling = DocumentScaling(
        min_replicas=0,
        max_replicas=4,
        timeout_s=60,
        concurrency=2,
        max_queue=10,
        startup_budget_s=60,
        max_request_s=60,
    )
    assert decide(demand=5, last_activity_at=None, now=NOW, scaling=scaling).desired == 3


def test_impossible_arguments_are_refused_with_the_rule() -> None:
    with pytest.raises(ValueError, match=r"demand is -1, below 0: count waiting and running requests"):
        decide(demand=-1, last_activity_at=None, now=NOW, scaling=ANY)
    with pytest.raises(ValueError, match=r"desired is -1, below 0"):
        metric_milli(-1)
    with pytest.raises(
        ValueError, match=r"tolerance is 0.6, outside 0 to 0.5: 0.1 is the autoscaler's default"
    ):
        metric_milli(1, tolerance=0.6)


def test_at_0_replicas_the_autoscaler_does_nothing() -> None:
    assert hpa_replicas(0, 5000, ANY) == 0


def test_the_default_tolerance_is_the_autoscaler_s() -> None:
    assert HPA_TOLERANCE == 0.1
