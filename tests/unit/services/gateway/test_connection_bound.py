"""Which connections may be at work, and which give way."""

from __future__ import annotations

import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast_contract import names
from holdfast_services.gateway.connections import Connections, most_connections
from holdfast_services.gateway.settings import Settings

GRACE_S = 1.0


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class _Connection:
    def __init__(self, *, sending: bool = False) -> None:
        self.sending = sending
        self.left = False

    def leave(self) -> bool:
        self.left = not self.sending
        return self.left


def _port(most: int) -> tuple[Connections, _Clock]:
    clock = _Clock()
    return Connections(most, clock), clock


def _arrived(connections: Connections, count: int, *, sending: bool = False) -> list[_Connection]:
    made = [_Connection(sending=sending) for _ in range(count)]
    for one in made:
        connections.arrive(one)
    return made


def _left(made: list[_Connection]) -> list[bool]:
    return [one.left for one in made]


def test_the_longest_idle_gives_way_to_a_new_one_and_those_that_never_asked_go_first() -> None:
    connections, clock = _port(4)
    kept = _arrived(connections, 2)
    for one in kept:
        assert connections.work(one)
        connections.rest(one, proven=True)
    silent = _arrived(connections, 2)
    clock.now = GRACE_S
    _arrived(connections, 3)
    assert (_left(silent), _left(kept)) == ([True, True], [True, False])
    assert connections.open == 4


def test_who_has_just_come_is_given_time_to_ask() -> None:
    connections, clock = _port(8)
    made = _arrived(connections, 10)
    assert not any(_left(made))
    clock.now = GRACE_S / 2
    assert _left(made + _arrived(connections, 1)) == [True, *[False] * 10], "more than a quarter too many"


def test_a_connection_whose_answer_is_still_on_its_way_does_not_give_way() -> None:
    connections, clock = _port(2)
    (slow,) = _arrived(connections, 1, sending=True)
    (quick,) = _arrived(connections, 1)
    clock.now = GRACE_S
    _arrived(connections, 1)
    assert (slow.left, quick.left) == (False, True)


def test_where_all_are_at_work_new_ones_are_refused_and_no_other_is_touched() -> None:
    connections, clock = _port(4)
    working = _arrived(connections, 4)
    assert [connections.work(one) for one in working] == [True] * 4
    clock.now = 10 * GRACE_S
    (refused,) = _arrived(connections, 1)
    assert not connections.work(refused)
    (beyond,) = _arrived(connections, 1)
    assert beyond.left, "no room even to be told"
    assert not any(_left([*working, refused]))
    connections.depart(beyond)
    connections.depart(working[0])
    connections.depart(refused)
    (next_one,) = _arrived(connections, 1)
    assert connections.work(next_one)


@given(
    st.integers(1, 8),
    st.lists(st.tuples(st.sampled_from(["arrive", "work", "rest", "depart", "wait"]), st.integers(0, 99))),
)
def test_there_are_never_more_than_a_quarter_too_many_and_the_count_is_right(
    most: int, steps: list[tuple[str, int]]
) -> None:
    connections, clock = _port(most)
    there: list[_Connection] = []
    working: set[_Connection] = set()
    for step, number in steps:
        staying = [one for one in there if not one.left]
        chosen = staying[number % len(staying)] if staying else None
        if step == "arrive":
            there += _arrived(connections, 1)
        elif step == "wait":
            clock.now += number / 50
        elif chosen is None:
            continue
        elif step == "work" and chosen not in working:
            working.add(chosen)
            assert connections.work(chosen) == (len(working) <= most)
        elif step == "rest" and chosen in working:
            working.remove(chosen)
            connections.rest(chosen, proven=bool(number % 2))
        elif step == "depart":
            working.discard(chosen)
            there.remove(chosen)
            connections.depart(chosen)
        for one in [one for one in there if one.left]:
            assert one not in working, "a request was cut off"
            there.remove(one)
            connections.depart(one)
        assert connections.open == len(there) <= most + most // 4
        assert connections.open - connections.idle == len(working)


def test_the_files_that_may_be_open_bound_what_is_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 10_000))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limit: limits.append(limit))
    assert [most_connections(declared) for declared in (None, 100, 50_000)] == [6000, 100, 6000]
    assert limits == [(10_000, 10_000)] * 3
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert most_connections(50_000) == 50_000
    assert len(limits) == 3


def test_a_number_of_connections_that_is_none_is_told_with_its_variable() -> None:
    assert Settings.read({}).max_connections is None
    assert Settings.read({names.ENV_MAX_CONNECTIONS: "64"}).max_connections == 64
    for text in ("0", "-1", "many", "1.5"):
        with pytest.raises(ValueError, match="correct or unset it") as told:
            Settings.read({names.ENV_MAX_CONNECTIONS: text})
        assert str(told.value) == (
            f"HOLDFAST_MAX_CONNECTIONS is {text!r}, not a whole number from 1: correct or unset it"
        )
