"""The worker's pure decisions, and every request's path through its states."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast_contract import problems
from holdfast_contract.document import ContractExample
from holdfast_contract.messages import (
    MAX_DELIVERIES,
    Mode,
    RequestMessage,
    RequestState,
    may_follow,
)
from holdfast_services.worker.contract import broken_example
from holdfast_services.worker.core.decisions import End, GiveBack, Run, after_fault, at_claim, timed_out
from holdfast_services.worker.model import ModelUnreachable


def message(mode: Mode = Mode.SYNC, deadline_at: float = 100.0) -> RequestMessage:
    return RequestMessage(
        id="a", endpoint="chat", method="POST", path="/", mode=mode, accepted_at=0, deadline_at=deadline_at
    )


def claim(**more: Any) -> Run | End:
    arguments: dict[str, Any] = {
        "deliveries": 1,
        "canceled": False,
        "now": 50.0,
        "max_request_s": 30.0,
        **more,
    }
    return at_claim(arguments.pop("message", message()), **arguments)


def test_a_request_in_time_runs_until_its_limit() -> None:
    assert claim() == Run(start_by=100.0, end_by=80.0)
    assert claim(message=message(Mode.ASYNC)) == Run(start_by=None, end_by=80.0)


def test_what_is_withdrawn_late_or_deadly_is_ended_without_the_model() -> None:
    assert claim(canceled=True) == End(RequestState.CANCELED, problems.GONE, "it was withdrawn")
    late = claim(now=101.5)
    assert late == End(
        RequestState.EXPIRED, problems.DEADLINE, "its deadline passed 1.5 s before a replica was free"
    )
    deadly = claim(deliveries=MAX_DELIVERIES + 1)
    assert deadly == End(
        RequestState.FAILED,
        problems.BAD_ANSWER,
        "3 replicas were lost while they worked on it: it may be what breaks them",
    )


def test_a_fault_gives_back_with_a_delay_until_deliveries_are_used_up() -> None:
    first = after_fault("it broke", deliveries=1)
    assert isinstance(first, GiveBack)
    assert first.delay_s > 0, "without a delay it would come back at once"
    assert after_fault("it broke", deliveries=MAX_DELIVERIES) == End(
        RequestState.FAILED, problems.BAD_ANSWER, "it broke, on attempt 3 of 3"
    )


def test_a_deadline_is_told_from_a_model_that_takes_too_long() -> None:
    for now in (59.999, 60.001):  # a timer may be early by a hair
        assert timed_out(Run(60.0, 80.0), now=now, max_request_s=30).state is RequestState.EXPIRED
    for now in (79.999, 80.001):
        assert timed_out(Run(60.0, 80.0), now=now, max_request_s=30).state is RequestState.FAILED
    assert timed_out(Run(None, 80.0), now=80.1, max_request_s=30) == End(
        RequestState.FAILED, problems.DEADLINE, "the model took longer than scaling.max_request_s=30"
    )


@given(st.lists(st.sampled_from(["fault", "lost", "answer", "cancel", "late"]), min_size=1, max_size=12))
def test_every_request_ends_once_after_at_most_one_delivery_more_than_allowed(events: list[str]) -> None:
    """A model of the whole life: deliveries until an end, as the decisions say. `lost`: the worker died."""
    state, deliveries, runs = RequestState.QUEUED, 0, 0
    for event in events:
        deliveries += 1
        decision = claim(
            deliveries=deliveries, canceled=event == "cancel", now=200.0 if event == "late" else 50.0
        )
        if isinstance(decision, End):
            after = decision.state
        else:
            runs += 1
            assert may_follow(state, RequestState.RUNNING)
            state = RequestState.RUNNING
            fault = after_fault("x", deliveries=deliveries)
            if event == "answer":
                after = RequestState.SUCCEEDED
            elif event == "fault" and isinstance(fault, End):
                after = fault.state
            else:
                after = RequestState.QUEUED
        assert may_follow(state, after)
        state = after
        if state.terminal:
            break
    assert deliveries <= MAX_DELIVERIES + 1
    assert runs <= MAX_DELIVERIES
    if len(events) > MAX_DELIVERIES:
        assert state.terminal


class Model:
    def __init__(self, status: int = 200, body: bytes = b"fine", broken: bool = False) -> None:
        self.answer, self.broken = (status, body), broken
        self.asked: list[tuple[Any, ...]] = []

    async def post(self, *request: Any) -> tuple[int, bytes]:
        self.asked.append(request)
        if self.broken:
            raise ModelUnreachable("reset")
        return self.answer


EXAMPLE = ContractExample(name="hello", path="/v1", body_json={"a": 1}, expect_text="fine")


@pytest.mark.parametrize(
    ("model", "wanted"),
    [
        (Model(), None),
        (Model(status=500), "contract example 'hello' (POST /v1): status 500, not 200: fine"),
        (
            Model(body=b"other"),
            "contract example 'hello' (POST /v1): the answer does not contain 'fine': other",
        ),
        (Model(broken=True), "contract example 'hello' (POST /v1): the model broke the connection (reset)"),
    ],
)
async def test_a_contract_says_which_example_failed_and_how(model: Model, wanted: str | None) -> None:
    assert await broken_example(model, (EXAMPLE, EXAMPLE)) == wanted
    assert model.asked[0] == ("POST", "/v1", {"content-type": "application/json"}, b'{"a": 1}')
