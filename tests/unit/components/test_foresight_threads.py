"""Endpoints are looked into at the same time, in threads: what they share is made once."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import pulumi_holdfast as holdfast
from pulumi_holdfast import probe, testing
from pulumi_holdfast.foresight import Looker, _Live
from pulumi_holdfast.plan.feasibility import Answers, ImageAnswer, Questions
from pulumi_holdfast.probe import ask

NAMES = tuple(f"e{index}" for index in range(8))


def test_one_region_has_one_prober_whoever_asks_first(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    class Slow:
        def __init__(self, aws: Any) -> None:
            time.sleep(0.02)
            made.append(aws.region)

        def answers(self, asked: Questions) -> Answers:
            return Answers(recorded="")

    monkeypatch.setattr(probe, "Prober", Slow)
    live, together = _Live(), threading.Barrier(4)

    def one(region: str) -> None:
        together.wait()
        live(region, Questions())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, ["eu-west-1", "us-east-1"] * 2))
    assert sorted(made) == ["eu-west-1", "us-east-1"]


def test_a_recording_holds_the_answers_to_every_endpoint(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Slow(ask.Recorder):
        def __init__(self, path: Path) -> None:
            time.sleep(0.02)
            super().__init__(path)

    monkeypatch.setattr(ask, "Recorder", Slow)
    file, together = tmp_path / "answers.json", threading.Barrier(2)

    def told(region: str, asked: Any) -> Answers:
        together.wait(timeout=10)
        return Answers(recorded="2026-11-28T10:00:00Z", images={asked.image: ImageAnswer(bytes=1)})

    def program() -> None:
        platform = testing.platform()
        settings = holdfast.Foresight(feasibility=holdfast.Feasibility.WARN, record=file)
        platform.looker = Looker(settings, told)
        for name in ("chat", "code"):
            holdfast.Endpoint(name, {"platform": platform, "image": f"ghcr.io/acme/{name}:1"})

    testing.record(program, preview=True)
    kept = json.loads(file.read_text(encoding="utf-8"))["images"]
    assert sorted(kept) == ["ghcr.io/acme/chat:1", "ghcr.io/acme/code:1"]


def test_recorded_answers_are_read_once_whatever_the_number_of_endpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "answers.json"
    file.write_text(Answers(recorded="2026-11-28T10:00:00Z").to_json())
    read, read_text = [], Path.read_text

    def slowly(path: Path, *args: Any, **kwargs: Any) -> str:
        if path == file:
            read.append(path)
            time.sleep(0.02)
        return read_text(path, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", slowly)

    def program() -> None:
        platform = testing.platform()
        platform.look_ahead(holdfast.Foresight(feasibility=holdfast.Feasibility.WARN, answers=file))
        for name in NAMES:
            holdfast.Endpoint(name, {"platform": platform, "image": f"ghcr.io/acme/{name}:1"})

    testing.record(program, preview=True)
    assert len(read) == 1
