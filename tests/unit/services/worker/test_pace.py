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


def test_a_model_that_becomes_much_slower_is_noticed_at_once_and_one_that_becomes_quick_after_some() -> None:
    pace = Pace()
    pace.observe(0.002)
    pace.observe(0.3)
    assert pace.open_after_s == 0
    for _ in range(100):
        pace.observe(0.3)
    needed = 0
    while pace.open_after_s == 0:
        pace.observe(0.002)
        needed += 1
    assert 10 < needed < 50


def test_a_quick_model_beside_a_busy_worker_stays_quick() -> None:
    """What a saturated worker measures of an instant model: 3 to 25 ms."""
    pace = Pace()
    for number in range(1000):
        pace.observe((0.003, 0.007, 0.008, 0.016, 0.005, 0.008, 0.025)[number % 7])
        assert pace.open_after_s > 0
