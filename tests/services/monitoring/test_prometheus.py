"""Prometheus itself reads the alert rules: its own checker, of the Debian package."""

from __future__ import annotations

import json
import runpy
import subprocess
from pathlib import Path

from pulumi_holdfast.plan.system.alerts import rule_group

APT = runpy.run_path(str(Path(__file__).resolve().parents[2] / "support" / "apt.py"))


def _checked(tmp_path: Path, group: object) -> subprocess.CompletedProcess[str]:
    file = tmp_path / "rules.json"
    # JSON is YAML: the operator hands the same groups to Prometheus.
    file.write_text(json.dumps({"groups": [group]}))
    promtool: str = APT["ensure_program"]("promtool", "prometheus")
    return subprocess.run(
        [promtool, "check", "rules", str(file)], capture_output=True, text=True, timeout=60, check=False
    )


def test_prometheus_s_own_checker_finds_every_alert_rule_right(tmp_path: Path) -> None:
    group = rule_group()
    done = _checked(tmp_path, group)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(group['rules'])} rules found" in done.stdout


def test_prometheus_s_own_checker_refuses_a_rule_that_is_wrong(tmp_path: Path) -> None:
    done = _checked(tmp_path, {"name": "wrong", "rules": [{"alert": "Wrong", "expr": "sum(rate(x))"}]})
    assert done.returncode != 0
    assert "expected type range vector" in done.stdout + done.stderr
