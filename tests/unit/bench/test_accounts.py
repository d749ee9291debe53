"""A soak's books: what is a loss, and what is not."""

from __future__ import annotations

import json

import pytest
from bench.accounts import Account, Ending, Execution, Outcome, settle
from bench.soak import executions


def _books(
    outcomes: list[Outcome], accepted: dict[str, int] | None = None, runs: list[Execution] | None = None
) -> Account:
    return settle(accepted or {}, runs or [], outcomes, concurrency=1)


def _run(request_id: str, number: int, outcome: str = "answered", concurrency: int = 1) -> Execution:
    return Execution(request_id, number, outcome, concurrency)


def test_a_request_that_is_accepted_executed_and_answered_is_in_order() -> None:
    account = _books([Outcome(1, "sync", Ending.ANSWERED)], {"a": 1}, [_run("a", 1)])
    assert account.faults == ()
    assert (account.accepted, account.completed, account.excused, account.repeated) == (1, 1, 0, 0)
    assert account.endings == {"sync: answered": 1}


def test_an_accepted_request_that_nobody_executed_is_a_loss() -> None:
    account = _books([Outcome(1, "sync", Ending.CUT, None, "reset")], {"a": 1})
    assert account.faults == (
        "request a (number 1, sync) was accepted and never completed; its caller: cut off reset; executions: []",
    )


@pytest.mark.parametrize("ending", [Ending.REFUSED, Ending.ANSWERED, Ending.CUT])
def test_a_request_given_up_in_the_middle_is_a_loss_unless_its_caller_knows(ending: Ending) -> None:
    assert _books([Outcome(1, "sync", ending)], {"a": 1}, [_run("a", 1, "canceled")]).faults


def test_a_caller_that_was_told_of_this_request_is_an_excuse() -> None:
    account = _books([Outcome(1, "sync", Ending.TOLD, "a")], {"a": 1})
    assert (account.faults, account.excused) == ((), 1)


def test_an_error_of_the_gateways_own_is_a_fault_even_where_nothing_was_accepted() -> None:
    (fault,) = _books([Outcome(1, "keyed", Ending.ERRED, None, "500 Internal Server Error")], {}).faults
    assert fault == "number 1 (keyed): an error of the gateway's own 500 Internal Server Error"


def test_a_caller_that_was_told_of_another_request_is_none() -> None:
    assert len(_books([Outcome(1, "keyed", Ending.TOLD, "b")], {"a": 1}).faults) == 1


def test_a_caller_that_left_is_an_excuse() -> None:
    assert _books([Outcome(1, "leaving", Ending.LEFT)], {"a": 1}).faults == ()


def test_a_stream_cut_with_its_gateway_is_an_excuse_only_where_it_was_under_way() -> None:
    cut = [Outcome(1, "stream", Ending.CUT)]
    assert _books(cut, {"a": 1}, [_run("a", 1, "canceled")]).faults == ()
    assert len(_books(cut, {"a": 1}).faults) == 1


def test_an_answer_that_no_model_gave_is_a_fault() -> None:
    account = _books([Outcome(1, "sync", Ending.ANSWERED)])
    assert account.faults == ("number 1 (sync) was answered and never executed to its end",)


@pytest.mark.parametrize("ending", [Ending.WRONG, Ending.HUNG])
def test_wrong_answers_and_none_at_all_are_faults(ending: Ending) -> None:
    account = _books([Outcome(1, "stream", ending, "a", "why")], {"a": 1}, [_run("a", 1)])
    assert account.faults == (f"number 1 (stream): {ending.value} why",)


def test_executing_again_after_a_kill_is_counted_and_no_fault() -> None:
    runs = [_run("a", 1, "lost"), _run("a", 1)]
    account = _books([Outcome(1, "sync", Ending.ANSWERED)], {"a": 1}, runs)
    assert (account.faults, account.repeated) == ((), 1)


def test_more_at_a_time_than_a_replica_may_is_a_fault() -> None:
    account = _books([Outcome(1, "sync", Ending.ANSWERED)], {"a": 1}, [_run("a", 1, concurrency=2)])
    assert account.faults == ("request a was executed beside 1 others, above a concurrency of 1",)


def test_executions_are_known_even_where_the_broker_was_not_heard() -> None:
    account = _books([Outcome(1, "sync", Ending.CUT)], {}, [_run("a", 1)])
    assert (account.accepted, account.completed, account.faults) == (1, 1, ())


def test_who_left_before_anybody_knew_of_the_request_is_counted_apart() -> None:
    left = [Outcome(1, "leaving", Ending.LEFT), Outcome(2, "leaving", Ending.LEFT)]
    assert _books(left, {"b": 2}).unheard == 1


def _line(event: str, number: int, outcome: str, pid: int = 1) -> str:
    return json.dumps(
        {
            "event": event,
            "pid": pid,
            "number": number,
            "request_id": f"r{number}",
            "path": f"/n/{number}",
            "outcome": outcome,
            "concurrency": 1,
        }
    )


def test_an_execution_that_began_and_did_not_end_is_lost() -> None:
    lines = [_line("begin", 1, "running"), _line("end", 1, "answered"), _line("begin", 2, "running")]
    assert [(it.request_id, it.outcome) for it in executions(lines)] == [("r1", "answered"), ("r2", "lost")]


def test_a_model_started_again_counts_from_one_again_and_half_a_line_is_left_out() -> None:
    lines = [_line("begin", 1, "running"), _line("end", 1, "answered", pid=2), '{"event": "beg']
    assert [it.outcome for it in executions(lines)] == ["lost", "answered"]
