"""The pages about metrics and alerts are what the code says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast_contract import metrics
from holdfast_contract.metrics import Kind
from pulumi_holdfast.plan.system import reference


@pytest.mark.parametrize(
    ("path", "page"), reference.PAGES.items(), ids=lambda value: getattr(value, "name", "")
)
def test_the_pages_in_the_repository_are_current(path: Path, page: Callable[[], str]) -> None:
    assert path.read_text() == page(), "run: python -m pulumi_holdfast.plan.system.reference --write"


def test_every_metric_stands_in_the_reference_with_its_meaning() -> None:
    page = reference.metrics_page()
    assert all(f"`{metric.name}`" in page and metric.meaning in page for metric in metrics.CATALOGUE)


def test_names_say_unit_and_kind_as_prometheus_asks() -> None:
    assert len(metrics.BY_NAME) == len(metrics.CATALOGUE)
    for metric in metrics.CATALOGUE:
        assert re.fullmatch(r"holdfast_[a-z]+(_[a-z]+)*", metric.name)
        assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)
        assert metric.name.endswith("_seconds") or metric.kind is not Kind.HISTOGRAM
        assert not re.search(r"_(ms|milliseconds|minutes|kb|mb|count|sum|bucket)$", metric.name)
        assert bool(metric.buckets_s) == (metric.kind is Kind.HISTOGRAM)
        assert list(metric.buckets_s) == sorted(metric.buckets_s)
        assert "le" not in metric.labels


def test_every_name_of_the_contract_is_described() -> None:
    named = {value for key, value in vars(metrics).items() if key.isupper() and isinstance(value, str)}
    assert named == set(metrics.BY_NAME)


def test_the_generator_refuses_what_it_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    assert reference.main(["--wrong"]) == 2
    assert "usage:" in capsys.readouterr().err
