"""Runs every level of checks and tests, and prints how long each took: `make test`, `make check`.

    python tests/run.py [level ...]     levels: check unit services engine cluster; none: all of them

Every level runs even when an earlier one failed, so that one run shows all that is wrong.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
LEVELS = ("check", "unit", "services", "engine", "cluster")
TYPED = (
    "contract",
    "components",
    "services",
    "sdk",
    "cli",
    "sandbox",
    "runtime",
    "stacks",
    "bench",
    "policies/rules.py",
    "tests/run.py",
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one level went."""

    level: str
    passed: int
    failed: int
    skipped: int
    seconds: float


def _checks() -> dict[str, list[str]]:
    typed = [path for path in TYPED if any((ROOT / path).rglob("*.py")) or (ROOT / path).is_file()]
    return {
        "format": [str(BIN / "ruff"), "format", "--check", "."],
        "lint": [str(BIN / "ruff"), "check", "."],
        "imports": [str(BIN / "lint-imports"), "--no-logo"],
        "types": [str(BIN / "mypy"), *typed],
    }


def _run_checks() -> Outcome:
    started = time.monotonic()
    failed = 0
    checks = _checks()
    for name, command in checks.items():
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        print(f"  {name}: {'ok' if done.returncode == 0 else 'FAILED'}", flush=True)
        if done.returncode != 0:
            failed += 1
            print(done.stdout + done.stderr, flush=True)
    return Outcome("check", len(checks) - failed, failed, 0, time.monotonic() - started)


def _run_pytest(level: str) -> Outcome:
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", f"tests/{level}", f"--junitxml={report}"]
        code = subprocess.run([*command, "--durations=5"], cwd=ROOT).returncode
        counts = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
        if report.exists():
            for suite in ElementTree.parse(report).iter("testsuite"):
                for key in counts:
                    counts[key] += int(suite.get(key, 0))
    failed = counts["failures"] + counts["errors"]
    # A run that died or collected nothing is a failure even where no test says so.
    if code != 0 and failed == 0:
        failed = 1
    passed = max(0, counts["tests"] - counts["failures"] - counts["errors"] - counts["skipped"])
    return Outcome(level, passed, failed, counts["skipped"], time.monotonic() - started)


TOOLS = {"services": ("nats", "registry"), "engine": ("nats", "pulumi"), "cluster": ()}
"""What a level needs built first; none named: all, and a sandbox that is up."""


def _sandbox(*words: str) -> int:
    return subprocess.run([sys.executable, "-m", "holdfast_sandbox", *words], cwd=ROOT).returncode


def _run_prepared(level: str) -> Outcome:
    """A level with what it needs, made before any test's own clock runs: a first build takes long."""
    if level not in TOOLS:
        return _run_pytest(level)
    started = time.monotonic()
    if _sandbox("build", *TOOLS[level]) != 0:
        return Outcome(level, 0, 1, 0, time.monotonic() - started)
    if level != "cluster":
        return _run_pytest(level)
    from holdfast_sandbox import lifecycle
    from holdfast_sandbox.paths import default_paths

    found = default_paths().state.exists()
    was_up = lifecycle.status().up
    try:
        if _sandbox("up") != 0:
            return Outcome(level, 0, 1, 0, time.monotonic() - started)
        print(f"  the sandbox is up after {time.monotonic() - started:.0f} s", flush=True)
        return _run_pytest(level)
    finally:
        # A sandbox that somebody uses is left as it was found.
        if not was_up:
            _sandbox("down", *([] if found else ["--purge"]))


def main(arguments: list[str]) -> int:
    """Run the named levels (all when none is named); 0 when nothing failed."""
    unknown = [level for level in arguments if level not in LEVELS]
    if unknown:
        print(f"level is {unknown[0]!r}, not one of {', '.join(LEVELS)}: name one of these", file=sys.stderr)
        return 2
    outcomes = []
    for level in arguments or LEVELS:
        print(f"\n=== {level}", flush=True)
        outcomes.append(_run_checks() if level == "check" else _run_prepared(level))
    print(f"\n{'level':<10}{'passed':>8}{'failed':>8}{'skipped':>9}{'seconds':>9}")
    for outcome in outcomes:
        print(
            f"{outcome.level:<10}{outcome.passed:>8}{outcome.failed:>8}{outcome.skipped:>9}"
            f"{outcome.seconds:>9.1f}"
        )
    failed = sum(outcome.failed for outcome in outcomes)
    print(f"\n{sum(outcome.passed for outcome in outcomes)} passed, {failed} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
