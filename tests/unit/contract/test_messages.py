from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast_contract.messages import RequestState, may_follow

states = st.sampled_from(list(RequestState))


@given(states, states)
def test_nothing_follows_a_terminal_state(before: RequestState, after: RequestState) -> None:
    if before.terminal:
        assert not may_follow(before, after)


@given(st.lists(states, min_size=1, max_size=12))
def test_however_a_request_goes_it_ends_at_most_once(path: list[RequestState]) -> None:
    state = RequestState.QUEUED
    ends = 0
    for wanted in path:
        if may_follow(state, wanted):
            state = wanted
            ends += state.terminal
    assert ends <= 1


def test_every_state_is_reachable_from_queued() -> None:
    reached = {RequestState.QUEUED}
    while True:
        more = {after for before in reached for after in RequestState if may_follow(before, after)} | reached
        if more == reached:
            break
        reached = more
    assert reached == set(RequestState)
