"""Percentiles, ratios, tables, and what is measured together."""

from __future__ import annotations

import json
import math

import pytest
from bench.load import Sample
from bench.report import Table
from bench.statistics import percentile, ratio, summarise
from bench.throughput import parse_wrk
from bench.waiting import FULL, QUICK, Point, batches, figures


def test_percentiles_lie_between_neighbours() -> None:
    assert percentile([4, 1, 3, 2], 0) == 1
    assert percentile([4, 1, 3, 2], 0.5) == 2.5
    assert percentile([4, 1, 3, 2], 1) == 4
    assert percentile([7], 0.99) == 7


def test_a_percentile_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^no values: a percentile needs at least one$"):
        percentile([], 0.5)
    with pytest.raises(ValueError, match=r"^share is 99, not within 0 and 1$"):
        percentile([1], 99)


def test_a_ratio_to_nothing_is_infinite_unless_there_is_nothing_to_compare() -> None:
    assert ratio(3, 2) == 1.5
    assert ratio(1, 0) == math.inf
    assert ratio(0, 0) == 1


def test_a_summary_holds_mean_and_tail() -> None:
    it = summarise([1.0, 2.0, 3.0])
    assert (it.count, it.mean, it.p50, it.worst) == (3, 2.0, 2.0, 3.0)
    assert 2.9 < it.p99 < 3


def test_a_table_is_aligned_and_shows_what_cannot_be_measured_as_a_dash() -> None:
    table = Table(
        "k", "Title", ("way", "ms"), (("direct", 0.1234), ("other", math.inf), ("third", None)), ("note",)
    )
    assert table.text().splitlines() == [
        "Title (k; 0 s)",
        "way        ms",
        "-------------",
        "direct  0.123",
        "other       –",
        "third       –",
        "note",
    ]


def test_a_table_as_json_has_an_object_for_each_row_and_no_infinity() -> None:
    table = Table("k", "Title", ("way", "ms"), (("direct", math.inf),), details=({"x": math.nan},))
    data = json.loads(json.dumps(table.data(), allow_nan=False))
    assert data["rows"] == [{"way": "direct", "ms": None}]
    assert data["details"] == [{"x": None}]


def _sample(sent: float, begun: float, ended: float, answered: float, found_busy: int = 0) -> Sample:
    return Sample(sent, begun, ended, answered, found_busy)


def test_a_router_without_loss_has_the_ratio_one() -> None:
    samples = [_sample(0, 0, 2, 2), _sample(1, 2, 3, 3)]
    it = figures(samples, 1)
    assert (it.mean_ratio, it.p99_ratio, it.answer_ratio, it.handed_to_busy) == (1, 1, 1, 0)


def test_time_lost_on_the_way_counts_as_waiting() -> None:
    # The second waits 1 s by necessity, and half a second more on its way there and back.
    samples = [_sample(0, 0, 2, 2), _sample(1, 2.25, 3.25, 3.5)]
    it = figures(samples, 1)
    assert it.mean_ratio == pytest.approx(1.5)
    assert it.answer_ratio == pytest.approx(4.5 / 4)


def test_requests_that_came_to_a_busy_model_are_counted() -> None:
    samples = [_sample(0, 0, 1, 1), _sample(0, 1, 2, 2, found_busy=1)]
    assert figures(samples, 2).handed_to_busy == 0.5


@pytest.mark.parametrize("plan", [FULL, QUICK])
def test_points_measured_together_share_no_replicas_and_leave_the_machine_room(plan: object) -> None:
    assert plan in (FULL, QUICK)
    points = (FULL if plan is FULL else QUICK).points()
    made = batches(points)
    assert sorted(map(str, points)) == sorted(str(point) for batch in made for point in batch)
    for batch in made:
        assert len({point.endpoint for point in batch}) == len(batch)
        assert len(batch) == 1 or sum(point.rate_per_s for point in batch) <= 150


def test_a_point_arrives_as_often_as_its_utilisation_says() -> None:
    assert Point(0.05, 4, 0.8).rate_per_s == pytest.approx(64)


def test_the_load_generators_figures_are_found_among_its_words() -> None:
    line = 'FIGURES {"requests":10,"duration_us":2000000,"failed":1,"p50_us":1500,"p99_us":2500}'
    outcome = parse_wrk(f"Running 2s test\n{line}\nbye")
    assert (outcome.requests, outcome.seconds, outcome.failed) == (10, 2.0, 1)
    assert (outcome.p50_ms, outcome.p99_ms) == (1.5, 2.5)


def test_a_load_generator_without_figures_is_an_error_that_shows_its_words() -> None:
    with pytest.raises(ValueError, match="unable to connect"):
        parse_wrk("unable to connect to 127.0.0.1")
