"""What a gateway remembers of an endpoint's last requests."""

from __future__ import annotations

from holdfast_services.gateway.core.recent import KEPT, WINDOW_S, Recent


def test_percentiles_are_values_that_occurred() -> None:
    recent = Recent()
    for number in range(100):
        recent.ended("demo", 10.0, (number + 1) / 100, 200, "none")
    assert recent.summary("demo", 10.0)["latency"] == {
        "count": 100,
        "p50_s": 0.5,
        "p90_s": 0.9,
        "p99_s": 0.99,
    }


def test_one_answer_is_every_percentile_and_none_is_none() -> None:
    recent = Recent()
    assert recent.summary("demo", 0.0) == {"window_s": WINDOW_S, "latency": None, "errors": {}}
    recent.ended("demo", 0.0, 2.0, 404, "none")
    assert recent.summary("demo", 0.0)["latency"] == {"count": 1, "p50_s": 2.0, "p90_s": 2.0, "p99_s": 2.0}


def test_errors_count_by_cause_and_do_not_lower_the_latency() -> None:
    recent = Recent()
    recent.ended("demo", 0.0, 5.0, 200, "none")
    recent.ended("demo", 0.0, 0.001, 429, "queue-full")
    recent.ended("demo", 0.0, 0.001, 429, "queue-full")
    recent.ended("demo", 0.0, 0.5, 500, "none")
    found = recent.summary("demo", 0.0)
    assert found["errors"] == {"queue-full": 2, "model-500": 1}
    assert found["latency"]["count"] == 1


def test_strangers_leavers_and_submissions_are_left_out() -> None:
    recent = Recent()
    recent.ended("demo", 0.0, 0.1, 401, "unauthenticated")
    recent.ended("demo", 0.0, 0.1, 403, "forbidden")
    recent.ended("demo", 0.0, 0.1, 499, "gone")
    recent.ended("demo", 0.0, 0.1, 202, "none")
    assert recent.summary("demo", 0.0) == {"window_s": WINDOW_S, "latency": None, "errors": {}}


def test_what_is_older_than_the_window_is_not_told_and_memory_is_bounded() -> None:
    recent = Recent()
    for number in range(KEPT + 10):
        recent.ended("demo", float(number), 1.0, 200, "none")
    assert recent.summary("demo", float(KEPT + 10))["latency"]["count"] == KEPT
    assert recent.summary("demo", KEPT + 9 + WINDOW_S)["latency"]["count"] == 1
    assert recent.summary("demo", KEPT + 10 + WINDOW_S)["latency"] is None
    recent.forget("demo")
    assert recent.summary("demo", 0.0)["latency"] is None
