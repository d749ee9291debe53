"""When the connection of an answer is opened."""

from __future__ import annotations

from holdfast_services.worker.reply import Pace


def test_a_model_of_which_nothing_is_known_has_its_answers_connection_opened_at_the_claim() -> None:
    assert Pace().open_after_s == 0


def test_a_quick_model_spares_the_second_message_and_a_slow_one_does_not() -> None:
    quick, slow = Pace(), Pace()
    quick.observe(0.002)
    slow.observe(0.2)
    assert (quick.open_after_s, slow.open_after_s) == (0.05, 0)


def test_a_model_that_becomes_slow_is_noticed_after_a_request_and_one_that_becomes_quick_after_some() -> None:
    pace = Pace()
    pace.observe(0.002)
    pace.observe(0.2)
    assert pace.open_after_s == 0
    needed = 0
    while pace.open_after_s == 0:
        pace.observe(0.002)
        needed += 1
    assert 5 < needed < 20
