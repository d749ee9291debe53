"""The estimate of a cold start beside the last real one; the document that carries the estimate."""

from __future__ import annotations

import json
from typing import Any

import pytest
from documents import endpoint_document
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError, create_model

from holdfast_contract.coldstart import PHASES, ComparedPhase, Verdict, compared, durations
from holdfast_contract.document import EndpointDocument, Frozen, PhaseEstimate

NODE = PhaseEstimate(phase="node", low_s=80, high_s=120, why="a new GPU machine")
PULL = PhaseEstimate(phase="pull", why="the size is not known")
LOAD = PhaseEstimate(phase="load", low_s=2.9, high_s=57, why="19 GB")
READY = PhaseEstimate(phase="ready", why="measured")
ENDS_S = {
    "accepted": 0.0,
    "scaled": 0.5,
    "scheduled": 96.0,
    "pulled": 157.25,
    "ready": 188.25,
    "answered": 190.0,
}
DOCUMENT = endpoint_document()


def test_a_phase_lasts_from_the_end_of_the_one_before_it() -> None:
    assert durations(ENDS_S) == {"node": 95.5, "pull": 61.25, "load and ready": 31.0}


@pytest.mark.parametrize(
    ("missing", "unknown"),
    [
        ("scaled", {"node"}),
        ("scheduled", {"node", "pull"}),
        ("pulled", {"pull", "load and ready"}),
        ("ready", {"load and ready"}),
        ("answered", set()),
    ],
)
def test_a_time_that_was_not_seen_makes_both_phases_beside_it_unknown(
    missing: str, unknown: set[str]
) -> None:
    for ends_s in ({**ENDS_S, missing: None}, {name: at for name, at in ENDS_S.items() if name != missing}):
        took = durations(ends_s)
        assert {name for name, seconds in took.items() if seconds is None} == unknown


@given(st.lists(st.floats(0, 1e5).map(lambda at_s: round(at_s, 3)), min_size=4, max_size=4))
def test_no_phase_is_negative_and_in_order_they_add_up_to_the_whole(at_s: list[float]) -> None:
    names = ("scaled", "scheduled", "pulled", "ready")
    assert all((seconds or 0) >= 0 for seconds in durations(dict(zip(names, at_s, strict=True))).values())
    at_s.sort()
    took = durations(dict(zip(names, at_s, strict=True)))
    assert sum(seconds or 0 for seconds in took.values()) == pytest.approx(at_s[-1] - at_s[0], abs=0.01)


def test_each_phase_stands_beside_its_estimate_and_what_is_unknown_stays_unknown() -> None:
    node, pull, load = compared((NODE, PULL, LOAD, READY), ENDS_S)
    assert node == ComparedPhase("node", 80, 120, 95.5, Verdict.WITHIN, "a new GPU machine")
    assert pull == ComparedPhase("pull", None, None, 61.25, None, "the size is not known")
    assert load == ComparedPhase(
        "load and ready", 2.9, None, 31.0, None, "load: 2.9–57 s for 19 GB; ready: measured"
    )


@pytest.mark.parametrize(
    ("seconds", "verdict"),
    [
        (79.9, Verdict.FASTER),
        (80.0, Verdict.WITHIN),
        (120.0, Verdict.WITHIN),
        (120.1, Verdict.SLOWER),
        (None, None),
    ],
)
def test_only_a_start_outside_of_its_estimate_is_called_so(
    seconds: float | None, verdict: Verdict | None
) -> None:
    node, *_ = compared((NODE,), {"scaled": 0.0, "scheduled": seconds})
    assert (node.last_s, node.verdict) == (seconds, verdict)


def test_of_a_phase_that_is_known_in_part_only_being_faster_can_be_told() -> None:
    def loaded(seconds: float) -> Verdict | None:
        return compared((LOAD, READY), {"pulled": 0.0, "ready": seconds})[2].verdict

    assert (loaded(2.8), loaded(30.0), loaded(5000.0)) == (Verdict.FASTER, None, None)


def test_an_estimate_without_a_start_and_a_start_without_an_estimate_are_both_shown() -> None:
    assert [one.last_s for one in compared((NODE,), None)] == [None, None, None]
    found = compared((), ENDS_S)
    assert [one.phase for one in found] == list(PHASES)
    assert [one.last_s for one in found] == [95.5, 61.25, 31.0]
    assert {(one.low_s, one.verdict, one.why) for one in found} == {(None, None, "nothing is declared of it")}
    assert compared((), None) == ()


# --- the document -------------------------------------------------------------------------------------------
def test_a_document_of_before_the_estimates_is_read_as_one_without() -> None:
    text = DOCUMENT.to_json()
    assert "cold_start_estimate" not in json.loads(text)
    assert EndpointDocument.from_json(text).cold_start_estimate == ()


def test_a_reader_of_before_the_estimates_reads_a_document_without_one() -> None:
    known = {
        name: (field.annotation, field)
        for name, field in EndpointDocument.model_fields.items()
        if name != "cold_start_estimate"
    }
    older: Any = create_model("Older", __base__=Frozen, **known)
    assert older.model_validate_json(DOCUMENT.to_json()).name == "chat"


def test_an_estimate_comes_back_from_a_document_as_it_went_in() -> None:
    document = DOCUMENT.model_copy(update={"cold_start_estimate": (NODE, PULL, LOAD, READY)})
    assert EndpointDocument.from_json(document.to_json()) == document


def test_a_phase_that_does_not_exist_is_refused_with_its_place() -> None:
    raw = {**json.loads(DOCUMENT.to_json()), "cold_start_estimate": [{"phase": "boot", "why": ""}]}
    with pytest.raises(ValidationError, match=r"cold_start_estimate\.0\.phase"):
        EndpointDocument.from_json(json.dumps(raw))
