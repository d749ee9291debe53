from __future__ import annotations

import json
from pathlib import Path

import pytest

from holdfast_sandbox import traces
from holdfast_sandbox.paths import Paths


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """Folders of a sandbox, on a machine whose kernel settings are files of the test."""
    monkeypatch.setattr(traces, "SYSCTL", tmp_path / "sys")
    monkeypatch.setattr(traces, "WRITTEN_SETTINGS", ("net/forward", "net/absent"))
    monkeypatch.setattr(traces, "FOLDERS", (str(tmp_path / "cni"), str(tmp_path / "kubelet")))
    monkeypatch.setattr(traces, "_tables", lambda: [])
    (tmp_path / "sys" / "net").mkdir(parents=True)
    (tmp_path / "sys" / "net" / "forward").write_text("0\n")
    (tmp_path / "kubelet").mkdir()
    (tmp_path / "state").mkdir()
    return Paths(state=tmp_path / "state", run=tmp_path / "run", cache=tmp_path / "cache")


def test_settings_and_folders_are_as_they_were(paths: Paths, tmp_path: Path) -> None:
    traces.remember(paths)
    (tmp_path / "sys" / "net" / "forward").write_text("1\n")
    (tmp_path / "cni" / "results").mkdir(parents=True)
    (tmp_path / "kubelet" / "theirs").touch()

    traces._restore(json.loads((paths.state / "machine-before.json").read_text()))

    assert (tmp_path / "sys" / "net" / "forward").read_text() == "0"
    assert not (tmp_path / "cni").exists()
    assert (tmp_path / "kubelet" / "theirs").exists()


def test_what_was_remembered_first_stays(paths: Paths, tmp_path: Path) -> None:
    """The second `up` sees its own settings, which are not what the machine had."""
    traces.remember(paths)
    (tmp_path / "sys" / "net" / "forward").write_text("1\n")
    traces.remember(paths)

    assert json.loads((paths.state / "machine-before.json").read_text())["settings"] == {"net/forward": "0"}


@pytest.mark.parametrize(
    ("rule", "ours"),
    [
        ({"chain": "KUBE-FIREWALL", "expr": [{"drop": None}]}, True),
        ({"chain": "INPUT", "expr": [{"counter": {}}, {"jump": {"target": "KUBE-FIREWALL"}}]}, True),
        ({"chain": "INPUT", "expr": [{"jump": {"target": "DOCKER"}}]}, False),
        ({"chain": "INPUT", "expr": [{"accept": None}]}, False),
    ],
)
def test_a_table_with_a_rule_of_somebody_else_is_kept(rule: dict[str, object], ours: bool) -> None:
    assert traces._kubernetes(rule) is ours
