"""The chain of timeouts holds for whatever is accepted, and costs follow from the table."""

from __future__ import annotations

from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from pulumi_holdfast.plan.cost import HOURS_PER_MONTH, cost_of
from pulumi_holdfast.plan.timeouts import broken_links, chain, grace_s, notes, scale_down_window_s
from pulumi_holdfast.spec.endpoint import EndpointSpec
from pulumi_holdfast.spec.hardware import hardware_table
from pulumi_holdfast.spec.parse import parse_endpoint
from pulumi_holdfast.spec.problems import SpecError
from pulumi_holdfast.spec.template import catalogue


def _spec(**args: Any) -> EndpointSpec:
    return parse_endpoint("chat", {"image": "ghcr.io/acme/chat:1", **args}, catalogue())


scalings = st.fixed_dictionaries(
    {
        "min_replicas": st.integers(0, 3),
        "max_replicas": st.integers(1, 20),
        "timeout_s": st.integers(1, 604_800),
        "startup_budget_s": st.integers(1, 21_600),
        "max_request_s": st.integers(1, 43_200),
    }
)


@given(scalings)
def test_every_accepted_declaration_has_a_chain_that_holds(scaling: dict[str, int]) -> None:
    try:
        spec = _spec(scaling=scaling)
    except SpecError:
        assume(False)
        return
    assert broken_links(spec) == []
    assert grace_s(spec.scaling) > spec.scaling.max_request_s
    assert scale_down_window_s(spec.scaling) <= 3600


@given(st.integers(1, 43_200), st.integers(1, 6000))
def test_a_load_balancer_that_gives_up_first_is_found_whatever_the_numbers(
    request_s: int, idle_s: int
) -> None:
    spec = _spec(scaling={"min_replicas": 1, "max_request_s": request_s})
    assert bool(broken_links(spec, idle_s)) == (request_s >= idle_s)


def test_a_broken_link_names_both_ends_and_the_remedy() -> None:
    (problem,) = broken_links(_spec(scaling={"max_request_s": 900}), load_balancer_idle_s=350)
    assert str(problem) == (
        "scaling.max_request_s is 900 s, not below the load balancer's idle timeout of 350 s, so a silent synchronous "
        "request would be cut off while it works: raise the idle timeout, lower max_request_s, or call with "
        "`Prefer: respond-async`"
    )


def test_an_endpoint_that_is_always_on_may_take_longer_to_start_than_a_request_may_last() -> None:
    spec = _spec(scaling={"min_replicas": 1, "startup_budget_s": 1200, "max_request_s": 60})
    assert all(link.holds for link in chain(spec))


def test_requests_longer_than_clients_wait_are_noted() -> None:
    assert notes(_spec(scaling={"max_request_s": 601}))
    assert notes(_spec(scaling={"max_request_s": 600, "startup_budget_s": 300})) == []


def test_an_idle_endpoint_costs_nothing_and_a_busy_one_its_machines() -> None:
    cost = cost_of(_spec(hardware="a10g", scaling={"max_replicas": 3}), hardware_table())
    assert cost is not None
    assert cost.floor_usd_month == 0
    assert cost.ceiling_usd_month == round(3 * 1.006 * HOURS_PER_MONTH, 2)
    assert (cost.instance_type, cost.region, cost.prices_from) == ("g5.xlarge", "us-east-1", "2026-07-20")


def test_one_gpu_on_a_machine_of_eight_costs_the_whole_machine_and_says_so() -> None:
    cost = cost_of(_spec(hardware="h200", scaling={"max_replicas": 2}), hardware_table())
    assert cost is not None
    assert cost.ceiling_usd_month == round(63.296 * HOURS_PER_MONTH, 2)
    assert cost.note == "one replica alone costs the whole p5en.48xlarge until 8 share it"


def test_a_paused_endpoint_costs_nothing() -> None:
    paused = _spec(hardware="a10g", state="paused", scaling={"min_replicas": 1})
    cost = cost_of(paused, hardware_table())
    assert cost is not None
    assert (cost.floor_usd_month, cost.ceiling_usd_month) == (0, 0)


def test_without_a_price_there_is_no_cost_rather_than_a_wrong_one() -> None:
    assert cost_of(_spec(hardware={"instance_types": ["x9.huge"]}), hardware_table()) is None


@given(st.sampled_from(sorted(hardware_table().presets)), st.integers(0, 30), st.integers(0, 30))
def test_more_replicas_never_cost_less(preset: str, some: int, more: int) -> None:
    low, high = sorted((some, some + more))
    spec = _spec(hardware=preset, scaling={"min_replicas": low, "max_replicas": max(high, 1)})
    cost = cost_of(spec, hardware_table())
    assert cost is not None
    assert 0 <= cost.floor_usd_month <= cost.ceiling_usd_month


def test_every_preset_fits_each_of_its_machines() -> None:
    for preset in hardware_table().presets:
        assert _spec(hardware=preset).hardware.instance_types
