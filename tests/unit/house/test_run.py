"""`tests/run.py`, which tells whether everything passed: its counts, its table, its exit code."""

from __future__ import annotations

import importlib.util
import io
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from holdfast_sandbox import lifecycle

PROGRAM = Path(__file__).resolve().parents[2] / "run.py"
OUTCOMES = {
    ("check", None): (4, 0, 0, 20.04),
    ("unit", None): (1200, 0, 3, 61.0),
    ("cluster", None): (90, 1, 0, 1000.26),
    ("services", "test_proof*.py"): (300, 0, 0, 200.0),
    ("engine", None): (80, 0, 0, 400.5),
    ("services", None): (12, 2, 1, 30.25),
}
"""How each part went, by level and what it leaves out: passed, failed, skipped, seconds."""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program as a module."""
    found = importlib.util.spec_from_file_location("holdfast_tests_run", PROGRAM)
    assert found
    assert found.loader
    module = importlib.util.module_from_spec(found)
    monkeypatch.setitem(sys.modules, found.name, module)
    found.loader.exec_module(module)
    return module


@pytest.fixture
def told(run: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Nothing is run: parts went as above. What the sandbox was told to do."""
    words: list[tuple[str, ...]] = []
    monkeypatch.setattr(run, "_sandbox", lambda *said: words.append(said) or 0)
    monkeypatch.setattr(
        run, "_run", lambda part, out: run.Outcome(part.level, *OUTCOMES[part.level, part.without])
    )
    return words


def test_the_table_ends_the_run_with_the_time_of_each_level(
    run: ModuleType, told: list[tuple[str, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.main([]) == 1

    assert capsys.readouterr().out.endswith(
        """
level       passed  failed  skipped  seconds
check            4       0        0     20.0
unit          1200       0        3     61.0
services       312       2        1    230.2
engine          80       0        0    400.5
cluster         90       1        0   1000.3

1686 passed, 3 failed
"""
    )
    assert told == [("build",)], "all tools"


def test_only_the_levels_that_were_asked_for_stand_in_the_table(
    run: ModuleType, told: list[tuple[str, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.main(["engine", "check"]) == 0

    assert capsys.readouterr().out.endswith(
        """
level       passed  failed  skipped  seconds
check            4       0        0     20.0
engine          80       0        0    400.5

84 passed, 0 failed
"""
    )
    assert told == [("build", "nats", "pulumi")]


def test_levels_whose_tools_cannot_be_built_have_failed(
    run: ModuleType,
    told: list[tuple[str, ...]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(run, "_sandbox", lambda *_: 1)

    assert run.main(["unit", "services"]) == 1

    assert capsys.readouterr().out.endswith(
        """
level       passed  failed  skipped  seconds
unit          1200       0        3     61.0
services         0       1        0      0.0

1200 passed, 1 failed
"""
    )


def test_an_unknown_level_is_refused_with_those_that_exist(
    run: ModuleType, told: list[tuple[str, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.main(["unit", "units"]) == 2

    shown = capsys.readouterr()
    assert (
        shown.err
        == "level is 'units', not one of check, unit, services, engine, cluster: name one of these\n"
    )
    assert shown.out == ""


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            "import pytest\n"
            "@pytest.mark.parametrize('number', [1, 2])\n"
            "def test_passes(number): pass\n"
            "def test_fails(): assert 1 == 2\n"
            "def test_has_no_machine(missing): pass\n"
            # Of the run that is counted here; nothing of ours is skipped.
            "@pytest.mark.skip\n"
            "def test_is_skipped(): pass\n",
            (2, 2, 1),
        ),
        ("def test_passes(): pass\n", (1, 0, 0)),
        ("", (0, 1, 0)),
        ("import no_such_module\n", (0, 1, 0)),
        ("import os\ndef test_dies(): os._exit(0)\n", (0, 1, 0)),
    ],
)
def test_what_pytest_did_is_counted_and_a_run_that_comes_to_nothing_has_failed(
    content: str, expected: tuple[int, int, int], run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "tests" / "unit"
    folder.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    (folder / "test_some.py").write_text(content)
    monkeypatch.setattr(run, "ROOT", tmp_path)
    # The plugins of this repository's tests take most of a second each time, and none of these needs them.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    with (tmp_path / "said").open("w") as out:
        found = run._run_pytest(run.Part("unit"), out)

    assert (found.passed, found.failed, found.skipped) == expected
    assert found.seconds > 0


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"etcd": 7}, [("up",)]),
        ({}, [("up",), ("down", "--purge")]),
    ],
)
def test_a_sandbox_of_which_something_ran_is_not_taken_down(
    found: dict[str, int],
    expected: list[tuple[str, ...]],
    run: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken = lifecycle.Status(
        up=False, state_dir="", gateway_url="", processes=found, missing=["keda-operator"], node_ready=True
    )
    monkeypatch.setenv("HOLDFAST_SANDBOX_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(lifecycle, "status", lambda: broken)
    told: list[tuple[str, ...]] = []
    monkeypatch.setattr(run, "_sandbox", lambda *words: told.append(words) or 0)
    monkeypatch.setattr(run, "_run_pytest", lambda part, _: run.Outcome(part.level, 1, 0, 0, 1.0))

    assert run._run_on_sandbox(run.Part("cluster"), io.StringIO()).passed == 1

    assert told == expected


def test_a_part_without_files_has_failed_and_runs_nothing_else(run: ModuleType) -> None:
    said = io.StringIO()

    outcome = run._run_pytest(run.Part("unit", only="test_of_nothing*.py"), said)

    assert (outcome.passed, outcome.failed) == (0, 1)
    assert said.getvalue() == "  no file test_of_nothing*.py in tests/unit\n"
