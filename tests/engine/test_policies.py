"""The policy pack in its own environment under the real engine: every rule with an example that breaks it and one
that keeps it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from locked_environment import locked_environment
from policies.rules import RULES

ROOT = Path(__file__).resolve().parents[2]
PACK = ROOT / "policies"
pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="session")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pack as it stands, beside the contract that it reads, with its environment; cached by its lock."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("contract", "policies"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("venv", "__pycache__"))
    (folder / "policies" / "venv").symlink_to(locked_environment(PACK / "requirements.lock"))
    return folder / "policies"


def _preview(project: Any, pack: Path, example: str, **settings: Any) -> tuple[int, str]:
    project.write((PACK / "examples" / f"{example}.py").read_text())
    shutil.copy(PACK / "examples" / "kept.py", project.folder)
    project.run("config", "set", "kubernetes:renderYamlToDirectory", str(project.folder / "rendered"))
    known = json.loads((PACK / "config.example.json").read_text())
    configuration = project.folder / "policies.json"
    configuration.write_text(json.dumps({**known, **settings}))
    done = project.attempt("preview", "--policy-pack", str(pack), "--policy-pack-config", str(configuration))
    return done.returncode, done.stdout


def _told(output: str) -> set[tuple[str, str]]:
    """(rule, resource) of every violation in a preview's output."""
    return set(re.findall(r"\[(?:mandatory|advisory)\]\s+(\S+)\s+\(\S+: (\S+)\)", output))


def test_every_rule_finds_the_example_that_breaks_it_and_fails_the_preview(project: Any, pack: Path) -> None:
    code, output = _preview(project, pack, "failing")
    assert code != 0
    told = _told(output)
    single = {(rule.name, rule.name) for rule in RULES if not rule.stack}
    whole = {rule.name for rule in RULES if rule.stack}
    assert single <= told, output
    assert whole <= {rule for rule, _ in told}, output
    assert told - single <= {found for found in told if found[0] in whole}, "an example breaks another's rule"
    assert "can't run during preview" not in output
    assert "hunter2" not in output


def test_what_keeps_the_rules_or_is_exempted_goes_through(project: Any, pack: Path) -> None:
    code, output = _preview(project, pack, "passing")
    assert code == 0, output
    assert _told(output) == set()


def test_the_configuration_decides_how_hard_a_rule_is(project: Any, pack: Path) -> None:
    code, output = _preview(project, pack, "failing", all="advisory", **_softened())
    assert code == 0, output
    assert {name for name, _ in _told(output)} == {rule.name for rule in RULES}


def _softened() -> dict[str, Any]:
    known = json.loads((PACK / "config.example.json").read_text())
    return {name: {**settings, "enforcementLevel": "advisory"} for name, settings in known.items()}
