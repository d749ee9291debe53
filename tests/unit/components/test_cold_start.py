"""The size of image and weights: declared, inherited, measured; what an endpoint's document says of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pulumi_holdfast as holdfast
from holdfast_contract.document import PhaseEstimate
from pulumi_holdfast import testing
from pulumi_holdfast.foresight import Looker
from pulumi_holdfast.plan.coldstart import beyond_budget, estimate, size_differs
from pulumi_holdfast.plan.document import document_of
from pulumi_holdfast.plan.feasibility import Answers, ImageAnswer
from pulumi_holdfast.spec.endpoint import EndpointSpec, SizesSpec
from pulumi_holdfast.spec.parse import parse_endpoint
from pulumi_holdfast.spec.template import catalogue

IMAGE = "ghcr.io/acme/chat:1"
SIZES = {"image_gb": 10, "weights_gb": 16}


def _spec(**args: Any) -> EndpointSpec:
    given = args if "template" in args else {"image": IMAGE, **args}
    return parse_endpoint("chat", given, catalogue())


def _estimate(spec: EndpointSpec) -> tuple[PhaseEstimate, ...]:
    return document_of(spec, namespace="n", image="i").cold_start_estimate


# --- what the figures are ---------------------------------------------------------------------------------------
def test_what_the_registry_tells_counts_and_not_what_is_declared() -> None:
    start = estimate(_spec(hardware="a10g", sizes=SIZES), image_bytes=5_000_000_000)
    assert (start.phases[1].low_s, start.phases[1].why) == (24.0, "5 GB compressed")


def test_a_cache_of_weights_is_empty_on_a_new_machine_and_the_estimate_says_that_it_does_not_count_that() -> (
    None
):
    spec = _spec(hardware="a10g", sizes=SIZES, cache={"path": "/cache"})
    assert estimate(spec).phases[2].why == "16 GB of weights, fetching them into the cache not counted"


def test_declared_sizes_count_against_the_startup_budget() -> None:
    spec = _spec(hardware="a10g", sizes={"image_gb": 50}, scaling={"startup_budget_s": 300})
    assert beyond_budget(spec, estimate(spec)) == (
        "scaling.startup_budget_s is 300, not above the 320 s that a cold start takes at least (node 80 s, pull "
        "240 s): raise it, or keep a replica with min_replicas=1"
    )


@given(st.floats(0.1, 20), st.floats(1, 50))
def test_more_to_move_never_starts_faster(size_gb: float, factor: float) -> None:
    small = estimate(_spec(sizes={"image_gb": size_gb, "weights_gb": size_gb}))
    large = estimate(_spec(sizes={"image_gb": size_gb * factor, "weights_gb": size_gb * factor}))
    assert small.low_s <= large.low_s
    assert small.high_s <= large.high_s


# --- templates ----------------------------------------------------------------------------------------------------
def test_a_clone_inherits_the_sizes_of_its_template_and_may_declare_others() -> None:
    assert _spec(template="chat").sizes == SizesSpec(weights_gb=19)
    assert _spec(template="chat", sizes={"image_gb": 9}).sizes == SizesSpec(image_gb=9, weights_gb=19)
    assert _spec(template="chat", sizes={"weights_gb": 5}).sizes == SizesSpec(weights_gb=5)
    assert _spec(template="chat", sizes={"weights_gb": None}).sizes == SizesSpec()


# --- the document -----------------------------------------------------------------------------------------------
def test_the_document_has_the_estimate_of_every_phase() -> None:
    found = _estimate(_spec(hardware="a10g", sizes=SIZES))
    assert [(one.phase, one.low_s, one.high_s) for one in found] == [
        ("node", 80, 120),
        ("pull", 48, 240),
        ("load", 2.4, 48),
        ("ready", None, None),
    ]


def test_a_document_has_no_estimate_where_nothing_is_known() -> None:
    assert _estimate(_spec()) == ()
    assert len(_estimate(_spec(sizes={"image_gb": 1}))) == 4


# --- previews -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("declared_gb", [6.31, 8.4, 10.49])
def test_a_declared_size_near_the_real_one_is_right(declared_gb: float) -> None:
    assert size_differs(_spec(sizes={"image_gb": declared_gb}), 8_400_000_000) is None


def test_a_size_that_is_not_declared_cannot_be_wrong() -> None:
    assert size_differs(_spec(), 8_400_000_000) is None


@pytest.mark.parametrize("declared_gb", [6.29, 10.51])
def test_a_declared_size_far_from_the_real_one_is_told_with_the_real_one(declared_gb: float) -> None:
    assert size_differs(_spec(sizes={"image_gb": declared_gb}), 8_400_000_000) == (
        f"sizes.image_gb is {declared_gb:g}, more than 25% off the 8.4 GB that the registry tells: declare 8.4"
    )


def _previewed(caplog: pytest.LogCaptureFixture, bytes_: int, **args: Any) -> list[Any]:
    """What a preview registers where the registry tells `bytes_`; what it says is in `caplog`."""

    def ask(region: str, asked: Any) -> Answers:
        return Answers(
            recorded="", region=region, images={IMAGE: ImageAnswer(digest="sha256:" + "1" * 64, bytes=bytes_)}
        )

    def program() -> None:
        platform = testing.platform()
        platform.looker = Looker(holdfast.Foresight(feasibility=holdfast.Feasibility.WARN), ask)
        holdfast.Endpoint("chat", {"platform": platform, "image": IMAGE, "hardware": "a10g", **args})

    caplog.clear()
    caplog.set_level("DEBUG")
    return testing.record(program, preview=True)


def test_a_preview_uses_the_measured_size_and_warns_of_a_declared_one_that_is_far_off(
    caplog: pytest.LogCaptureFixture,
) -> None:
    _previewed(caplog, 5_000_000_000, sizes={"image_gb": 10})
    assert (
        'endpoint "chat": warning: sizes.image_gb is 10, more than 25% off the 5 GB that the registry tells: declare 5'
    ) in caplog.text
    assert "pull 24–120 s" in caplog.text
    _previewed(caplog, 5_000_000_000, sizes={"image_gb": 4.5})
    assert "warning: sizes" not in caplog.text


def test_a_wrong_size_is_told_also_of_an_endpoint_that_never_starts_from_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    _previewed(caplog, 5_000_000_000, sizes={"image_gb": 10}, scaling={"min_replicas": 1})
    assert "warning: sizes.image_gb is 10" in caplog.text
    assert "a cold start takes" not in caplog.text


def test_what_a_registry_answers_changes_nothing_that_is_deployed(caplog: pytest.LogCaptureFixture) -> None:
    """An update would otherwise show a change that nobody made."""
    planned = [
        {resource.name: resource.inputs for resource in _previewed(caplog, bytes_)}
        for bytes_ in (1_000_000_000, 20_000_000_000)
    ]
    assert planned[0] == planned[1]
