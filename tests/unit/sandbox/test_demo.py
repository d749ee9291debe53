"""What `make up` shows of the first request, and what it makes of a start that it could not follow."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from holdfast_contract import names
from holdfast_sandbox import demo
from holdfast_sandbox.errors import SandboxError
from holdfast_sandbox.paths import Paths

READY = {
    "status": {
        "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "True"}],
        "containerStatuses": [{"name": names.MODEL_CONTAINER, "state": {"running": {}}}],
    }
}
ACCEPTED_AFTER_S, ANSWERED_AFTER_S = 0.2, 0.4


class _Cluster:
    """Stands for kubectl: one endpoint, and one pod that is there from the beginning."""

    pod: dict[str, Any] = READY

    def __init__(self, paths: Paths) -> None:
        self._shown = paths.state / "pods.json"
        self._shown.write_text(json.dumps(self.pod, indent=1) + "\n")

    def text(self, *_: str) -> str:
        return "0"

    def popen(self, *_: str) -> subprocess.Popen[str]:
        command = ["sh", "-c", 'cat "$1"; exec sleep 60', "sh", str(self._shown)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _slow_gateway(_: object) -> tuple[dict[str, Any], dict[str, str]]:
    """Has the request only after a while, as its id tells, and answers it after another."""
    time.sleep(ACCEPTED_AFTER_S)
    request_id = f"{int(time.time() * 1000):012x}"
    time.sleep(ANSWERED_AFTER_S - ACCEPTED_AFTER_S)
    return {"text": "TOTAL"}, {
        names.HEADER_REQUEST_ID: f"{request_id[:8]}-{request_id[8:]}-7000-8000-000000000000",
        names.HEADER_REPLICA: "receipts-1",
    }


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """Folders of a sandbox whose gateway and cluster are the ones above."""
    monkeypatch.setattr(demo, "Kubectl", _Cluster)
    monkeypatch.setattr(demo, "_send", _slow_gateway)
    monkeypatch.setattr(demo, "_wait_for_gateway", lambda: None)
    monkeypatch.setattr(demo, "WATCH_CONNECTS_S", 0.3)
    return Paths(state=tmp_path, run=tmp_path, cache=tmp_path)


def test_accepted_is_when_the_gateway_had_the_request(
    paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    demo.prove(paths, "http://gateway.test/e/receipts/ocr", "hf_token")

    seconds = {
        words[0]: float(words[1])
        for line in capsys.readouterr().out.splitlines()
        if (words := line.split())[2:3] == ["s"]
    }
    assert list(seconds) == ["scaled", "scheduled", "pulled", "ready", "accepted", "answered"]
    assert seconds["ready"] == 0.0, "it ran already"
    assert ACCEPTED_AFTER_S - 0.01 <= seconds["accepted"] < ANSWERED_AFTER_S <= seconds["answered"]


def test_a_phase_that_was_not_seen_fails_after_the_answer_was_shown(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_Cluster, "pod", {"status": {}})
    monkeypatch.setattr(demo, "SETTLED_S", 0)

    with pytest.raises(SandboxError) as error:
        demo.prove(paths, "http://gateway.test/e/receipts/ocr", "hf_token")

    assert str(error.value) == (
        "`receipts` answered, but 0 s later its replica was not seen to be scheduled, pulled, ready: "
        "`kubectl -n holdfast get pods` shows what there is"
    )
    shown = capsys.readouterr().out
    assert [line.split() for line in shown.splitlines() if line.endswith("not seen")] == [
        [phase, "not", "seen"] for phase in ("scheduled", "pulled", "ready")
    ]
    assert "| TOTAL" in shown


def test_what_is_left_of_an_earlier_start_is_not_taken_for_this_one(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Cluster, "pod", READY | {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})
    monkeypatch.setattr(demo, "SETTLED_S", 0)

    with pytest.raises(SandboxError, match="not seen to be scaled, scheduled, pulled, ready"):
        demo.prove(paths, "http://gateway.test/e/receipts/ocr", "hf_token")
