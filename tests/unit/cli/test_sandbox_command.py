"""`holdfast sandbox` passes on what is asked, and shows what comes back."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from holdfast_cli.exits import Exit
from holdfast_cli.main import main
from holdfast_sandbox import lifecycle
from holdfast_sandbox.errors import SandboxError


def _status(up: bool) -> lifecycle.Status:
    return lifecycle.Status(
        up=up,
        state_dir="/s",
        gateway_url="http://10.0.0.1:1",
        processes={"etcd": 7},
        missing=[] if up else ["kubelet"],
        node_ready=up,
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["down"], {"purge": False, "cache": False}),
        (["down", "--purge"], {"purge": True, "cache": False}),
        (["down", "--purge", "--cache"], {"purge": True, "cache": True}),
    ],
)
def test_down_forgets_only_what_it_was_told_to(
    words: list[str], expected: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(lifecycle, "down", lambda **how: calls.append(how))
    assert main(["sandbox", *words]) == Exit.OK
    assert calls == [expected]


def test_build_without_names_builds_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(lifecycle, "build", calls.append)
    assert main(["sandbox", "build"]) == Exit.OK
    assert main(["sandbox", "build", "nats", "keda"]) == Exit.OK
    assert calls == [None, ["nats", "keda"]]


def test_up_says_what_comes_next(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(lifecycle, "up", lambda *, project_images: asked.append(project_images))
    assert main(["sandbox", "up"]) == Exit.OK
    assert main(["sandbox", "up", "--no-images"]) == Exit.OK
    assert asked == [True, False]
    assert capsys.readouterr().err == 'next: eval "$(holdfast sandbox env)"\n' * 2


def test_what_the_sandbox_complains_of_is_shown_as_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(**_: bool) -> None:
        raise SandboxError("port 6443 is taken: stop what listens there")

    monkeypatch.setattr(lifecycle, "up", refuse)
    assert main(["sandbox", "up"]) == Exit.FAILED
    assert capsys.readouterr().err == "error: port 6443 is taken: stop what listens there\n"


@pytest.mark.parametrize(("up", "code"), [(True, Exit.OK), (False, Exit.NOT_UP)])
def test_status_tells_scripts_by_its_exit_code_and_json(
    up: bool, code: Exit, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lifecycle, "status", lambda: _status(up))
    assert main(["sandbox", "status", "--json"]) == code
    assert json.loads(capsys.readouterr().out)["up"] is up


def test_env_survives_a_shell(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(lifecycle, "environment", lambda: {"A": "it's $HOME; `x`", "B": ""})
    assert main(["sandbox", "env"]) == Exit.OK
    script = capsys.readouterr().out + 'printf "%s|%s" "$A" "$B"'
    assert subprocess.run(["sh", "-c", script], capture_output=True, text=True).stdout == "it's $HOME; `x`|"


def test_the_log_of_an_unknown_process_names_the_known_ones(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("HOLDFAST_SANDBOX_DIR", str(tmp_path))
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "etcd.log").write_text("one\ntwo\n")
    assert main(["sandbox", "logs", "kubelet"]) == Exit.NOT_FOUND
    assert (
        capsys.readouterr().err
        == "error: 'kubelet' is not a process of the sandbox\n  next: name one of etcd\n"
    )
