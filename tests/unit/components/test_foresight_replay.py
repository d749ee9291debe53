"""What a preview says of a recorded day: starts that take as long as is known, a queue that holds what is declared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import pulumi_holdfast as holdfast
from pulumi_holdfast import testing
from pulumi_holdfast.foresight import Looker, replayed
from pulumi_holdfast.plan.feasibility import Answers, ImageAnswer
from pulumi_holdfast.plan.replay import Request
from pulumi_holdfast.spec.endpoint import EndpointSpec
from pulumi_holdfast.spec.parse import parse_endpoint
from pulumi_holdfast.spec.template import catalogue

IMAGE = "ghcr.io/acme/chat:1"


def _spec(**args: Any) -> EndpointSpec:
    return parse_endpoint("chat", {"image": IMAGE, **args}, catalogue())


def test_a_replay_says_what_the_declared_scaling_would_have_done() -> None:
    trace = [Request(0.0, 10.0), Request(5.0, 10.0), Request(2000.0, 10.0)]
    spec = _spec(hardware="a10g", scaling={"max_replicas": 2})
    assert replayed(spec, trace) == (
        "replay of 3 requests: 2 cold starts, waiting p50 85.1 s, p99 90.0 s, 0.33 GPU hours (0.01 at work), "
        "2 replicas at most"
    )


@pytest.mark.parametrize(("declared", "told"), [({"image_gb": 10}, None), ({}, 10_000_000_000)])
def test_a_replay_counts_pulling_an_image_whose_size_is_known(
    declared: dict[str, float], told: int | None
) -> None:
    spec = _spec(hardware="a10g", sizes=declared)
    # 80 s for the machine, 4.8 s for each of 10 GB, 5 s until it is ready, 0.05 s to ask for it.
    assert "waiting p50 133.1 s" in replayed(spec, [Request(0.0, 10.0)], told)


def test_a_replay_counts_loading_weights_of_a_declared_size() -> None:
    spec = _spec(hardware="a10g", sizes={"weights_gb": 100})
    assert "waiting p50 100.0 s" in replayed(spec, [Request(0.0, 10.0)])


def test_a_replay_says_how_many_requests_a_full_queue_would_have_refused() -> None:
    trace = [Request(0.0, 30.0) for _ in range(40)]
    spec = _spec(hardware="a10g", scaling={"max_replicas": 1, "max_queue": 9})
    assert replayed(spec, trace).endswith("1 replicas at most, 30 refused (scaling.max_queue is 9)")
    assert "refused" not in replayed(_spec(hardware="a10g", scaling={"max_replicas": 1}), trace)


@pytest.mark.parametrize(
    ("feasibility", "waiting"),
    [(holdfast.Feasibility.WARN, "133.1"), (holdfast.Feasibility.OFF, "85.0")],
)
def test_a_previews_replay_knows_the_images_size_where_its_registry_is_asked(
    feasibility: holdfast.Feasibility, waiting: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def sized(region: str, asked: Any) -> Answers:
        return Answers(
            recorded="2026-11-28T10:00:00Z",
            images={IMAGE: ImageAnswer(digest="sha256:" + "1" * 64, bytes=10_000_000_000)},
        )

    (tmp_path / "chat.csv").write_text("at_s,service_s\n0,10\n")
    settings = holdfast.Foresight(feasibility=feasibility, traces=tmp_path)

    def program() -> None:
        platform = testing.platform()
        platform.looker = Looker(settings, sized)
        for name in ("chat", "code"):
            holdfast.Endpoint(name, {"platform": platform, "image": IMAGE, "hardware": "a10g"})

    caplog.set_level("INFO")
    testing.record(program, preview=True)
    assert f'endpoint "chat": replay of 1 requests: 1 cold starts, waiting p50 {waiting} s' in caplog.text
    assert 'endpoint "code": replay' not in caplog.text
