"""Runs every level of checks and tests, and prints how long each took: `make test`, `make check`.

    python tests/run.py [level ...]     levels: check unit services engine cluster; none: all of them

Every level runs even when an earlier one failed, so that one run shows all that is wrong. The services' level waits
most of its time, and the engine's computes: the two run beside each other.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
LEVELS = ("check", "unit", "services", "engine", "cluster")
LANES = (("services",), ("check", "unit", "engine"))
"""Levels that run beside each other, in two rows; the cluster's, which is on none, has the machine to itself."""
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


def _run_checks(out: TextIO) -> Outcome:
    started = time.monotonic()
    failed = 0
    checks = _checks()
    for name, command in checks.items():
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        print(f"  {name}: {'ok' if done.returncode == 0 else 'FAILED'}", file=out, flush=True)
        if done.returncode != 0:
            failed += 1
            print(done.stdout + done.stderr, file=out, flush=True)
    return Outcome("check", len(checks) - failed, failed, 0, time.monotonic() - started)


def _run_pytest(level: str, out: TextIO) -> Outcome:
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", f"tests/{level}", f"--junitxml={report}"]
        code = subprocess.run([*command, "--durations=5"], cwd=ROOT, stdout=out, stderr=out).returncode
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


def _run_on_sandbox(out: TextIO) -> Outcome:
    from holdfast_sandbox import lifecycle
    from holdfast_sandbox.paths import default_paths

    started = time.monotonic()
    found = default_paths().state.exists()
    was_up = lifecycle.status().up
    try:
        if _sandbox("up") != 0:
            return Outcome("cluster", 0, 1, 0, time.monotonic() - started)
        print(f"  the sandbox is up after {time.monotonic() - started:.0f} s", flush=True)
        return _run_pytest("cluster", out)
    finally:
        # A sandbox that somebody uses is left as it was found.
        if not was_up:
            _sandbox("down", *([] if found else ["--purge"]))


def _run(level: str, out: TextIO) -> Outcome:
    print(f"\n=== {level}", file=out, flush=True)
    if level == "check":
        return _run_checks(out)
    return _run_on_sandbox(out) if level == "cluster" else _run_pytest(level, out)


def _run_lanes(chosen: list[str]) -> list[Outcome]:
    """The chosen levels, those of one lane one after the other. What the second lane says follows the first's."""
    lanes = [[level for level in lane if level in chosen] for lane in LANES]
    with tempfile.TemporaryFile("w+") as said, ThreadPoolExecutor(1) as beside:
        if lanes[0] and lanes[1]:
            print(f"  beside {lanes[0][0]}: {', '.join(lanes[1])}, told after it", flush=True)
        out = said if lanes[0] else sys.stdout
        second = beside.submit(lambda: [_run(level, out) for level in lanes[1]])
        outcomes = [_run(level, sys.stdout) for level in lanes[0]] + second.result()
        said.seek(0)
        print(said.read(), flush=True)
    return outcomes


def main(arguments: list[str]) -> int:
    """Run the named levels (all when none is named); 0 when nothing failed."""
    unknown = [level for level in arguments if level not in LEVELS]
    if unknown:
        print(f"level is {unknown[0]!r}, not one of {', '.join(LEVELS)}: name one of these", file=sys.stderr)
        return 2
    chosen = arguments or list(LEVELS)
    # What is missing is built before any test's own clock runs: a first build takes long.
    needed = [level for level in chosen if level in TOOLS]
    tools = () if "cluster" in needed else sorted({tool for level in needed for tool in TOOLS[level]})
    outcomes = []
    if needed and _sandbox("build", *tools) != 0:
        outcomes = [Outcome(level, 0, 1, 0, 0.0) for level in needed]
        chosen = [level for level in chosen if level not in needed]
    outcomes += _run_lanes(chosen)
    outcomes += [_run(level, sys.stdout) for level in chosen if level == "cluster"]
    outcomes.sort(key=lambda outcome: LEVELS.index(outcome.level))
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
