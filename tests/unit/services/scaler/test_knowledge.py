"""What follows from what is known, in any order in which it comes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from documents import endpoint_document
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast_services.scaler.knowledge import Backlog, Knowledge, Reading

DOCUMENT = endpoint_document()

events = st.lists(
    st.tuples(
        st.sampled_from(["wake", "reading", "backlog"]),
        st.floats(0, 100),
        st.integers(0, 5),
        st.floats(0, 100),
    ),
    max_size=30,
)


@given(events=events)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_every_way_to_active_is_told_exactly_once_and_activity_never_goes_back(events: Any) -> None:
    known, now, verdicts, told = Knowledge(DOCUMENT), 1000.0, [False], 0
    for kind, wait_s, number, ago_s in events:
        now += wait_s
        before = known.last_activity_at
        if kind == "wake":
            # The timeout may have passed without a verdict: then the verdict is due, and the wake an edge.
            if known.active and not known.decide(now).active:
                verdicts.append(False)
            told += known.learn_wake(now)
        elif kind == "reading":
            known.learn_reading(Reading(number, now - ago_s), asked_at=now)
            told += known.judge(now)
        else:
            told += known.learn_backlog(Backlog(number, now - ago_s), now)
        verdicts.append(bool(known.active))
        assert known.last_activity_at >= before
    edges = sum(not a and b for a, b in pairwise(verdicts))
    assert told == edges


@given(demand=st.integers(0, 5), ago_s=st.floats(0, 200))
def test_a_reading_alone_decides_between_active_and_inactive(demand: int, ago_s: float) -> None:
    known = Knowledge(DOCUMENT)
    known.learn_reading(Reading(demand, 1000 - ago_s), asked_at=0.0)
    known.judge(1000)
    assert known.active == (demand > 0 or 1000 - (1000 - ago_s) < 60)


def test_an_older_question_that_is_answered_later_changes_nothing() -> None:
    known = Knowledge(DOCUMENT)
    known.learn_reading(Reading(3, 1000), asked_at=2.0)
    known.learn_reading(Reading(0, 990), asked_at=1.0)
    assert (known.demand, known.last_activity_at) == (3, 1000)


def test_waiting_messages_of_the_list_alone_prove_nothing() -> None:
    known = Knowledge(DOCUMENT)
    assert not known.learn_backlog(Backlog(5, 100), 1000)
    assert not known.active
