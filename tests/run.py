"""Runs every level of checks and tests, and prints how long each took: `make test`, `make check`.

    python tests/run.py [level ...]     levels: check unit services engine cluster; none: all of them

Every level runs even when an earlier one failed, so that one run shows all that is wrong. Two rows of parts of levels
run beside each other, for each waits half of its time; the proofs, which print times, come last and alone.
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


@dataclass(frozen=True, slots=True)
class Part:
    """A level, or some of its files."""

    level: str
    only: str = "test_*.py"
    """Files of this pattern."""
    without: str | None = None
    """And not of this one."""

    def files(self) -> list[str]:
        """Its files of tests, in order."""
        found = sorted((ROOT / "tests" / self.level).rglob(self.only))
        return [str(one.relative_to(ROOT)) for one in found if not (self.without and one.match(self.without))]


PROOFS = "test_proof*.py"
LANES = (
    (Part("check"), Part("unit"), Part("cluster")),
    (Part("services", without=PROOFS), Part("engine")),
)
"""Two rows that take about the same time."""
ALONE = (Part("services", only=PROOFS),)
"""After both."""
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


def _run_pytest(part: Part, out: TextIO) -> Outcome:
    started = time.monotonic()
    files = part.files()
    if not files:  # pytest would run everything
        print(f"  no file {part.only} in tests/{part.level}", file=out, flush=True)
        return Outcome(part.level, 0, 1, 0, 0.0)
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", *files, f"--junitxml={report}"]
        code = subprocess.run([*command, "--durations=5"], cwd=ROOT, stdout=out, stderr=out).returncode
        counts = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
        if report.exists():
            for suite in ElementTree.parse(report).iter("testsuite"):
                for key in counts:
                    counts[key] += int(suite.get(key, 0))
    failed = counts["failures"] + counts["errors"]
    # A run that died or collected nothing is a failure even where no test and no exit code says so.
    if failed == 0 and (code != 0 or counts["tests"] == 0):
        failed = 1
    passed = max(0, counts["tests"] - counts["failures"] - counts["errors"] - counts["skipped"])
    return Outcome(part.level, passed, failed, counts["skipped"], time.monotonic() - started)


TOOLS = {"services": ("nats", "registry"), "engine": ("nats", "pulumi"), "cluster": ()}
"""What a level needs built first; none named: all, and a sandbox that is up."""


def _sandbox(*words: str) -> int:
    return subprocess.run([sys.executable, "-m", "holdfast_sandbox", *words], cwd=ROOT).returncode


def _run_on_sandbox(part: Part, out: TextIO) -> Outcome:
    from holdfast_sandbox import lifecycle
    from holdfast_sandbox.paths import default_paths

    started = time.monotonic()
    found = default_paths().state.exists()
    ran = bool(lifecycle.status().processes)
    try:
        if _sandbox("up") != 0:
            return Outcome("cluster", 0, 1, 0, time.monotonic() - started)
        print(f"  the sandbox is up after {time.monotonic() - started:.0f} s", file=out, flush=True)
        return _run_pytest(part, out)
    finally:
        # A sandbox that somebody uses is left as it was found.
        if not ran:
            _sandbox("down", *([] if found else ["--purge"]))


def _run(part: Part, out: TextIO) -> Outcome:
    print(f"\n=== {part.level}", file=out, flush=True)
    if part.level == "check":
        return _run_checks(out)
    return _run_on_sandbox(part, out) if part.level == "cluster" else _run_pytest(part, out)


def _run_lanes(chosen: list[str]) -> list[Outcome]:
    """The chosen levels' parts, a lane's one after the other. What the second lane says follows the first's."""
    lanes = [[part for part in lane if part.level in chosen] for lane in LANES]
    with tempfile.TemporaryFile("w+") as said, ThreadPoolExecutor(1) as beside:
        if lanes[0] and lanes[1]:
            print(f"  beside it, told after it: {', '.join(part.level for part in lanes[1])}", flush=True)
        out = said if lanes[0] else sys.stdout
        second = beside.submit(lambda: [_run(part, out) for part in lanes[1]])
        outcomes = [_run(part, sys.stdout) for part in lanes[0]] + second.result()
        said.seek(0)
        print(said.read(), flush=True)
    return outcomes + [_run(part, sys.stdout) for part in ALONE if part.level in chosen]


def _by_level(outcomes: list[Outcome]) -> list[Outcome]:
    """One outcome for each level: its parts' added up."""
    return [
        Outcome(
            level,
            sum(one.passed for one in parts),
            sum(one.failed for one in parts),
            sum(one.skipped for one in parts),
            sum(one.seconds for one in parts),
        )
        for level in LEVELS
        if (parts := [one for one in outcomes if one.level == level])
    ]


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
    outcomes = _by_level(outcomes)
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
