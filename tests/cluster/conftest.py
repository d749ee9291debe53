"""A real sandbox for the tests of this level, and a machine of its own for those that tear one down."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from holdfast_sandbox import lifecycle
from holdfast_sandbox.kubectl import Kubectl
from holdfast_sandbox.paths import Paths, default_paths

SUPPORT = Path(__file__).resolve().parents[1] / "support" / "box"
BOX_ENVIRONMENT = {
    "HOLDFAST_SANDBOX_DIR": "/var/lib/holdfast-box/state",
    "HOLDFAST_SANDBOX_RUN_DIR": "/run/holdfast-box",
}
JOIN = 'for group in /sys/fs/cgroup/*/cgroup.procs; do echo 0 > "$group"; done; exec "$@"'
"""nsenter joins every namespace, but not the control groups."""


@dataclass(frozen=True)
class Sandbox:
    """A sandbox that is up."""

    paths: Paths
    environment: Mapping[str, str]
    """The terminal's variables and the sandbox's own: what `eval "$(holdfast sandbox env)"` makes."""
    kubectl: Kubectl
    gateway_url: str

    def command(
        self, *words: str, check: bool = True, timeout_s: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as in a terminal of the sandbox. Fails with its output where it fails, if `check`."""
        done = subprocess.run(
            words, env=self.environment, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        if check and done.returncode != 0:
            pytest.fail(f"`{' '.join(words)}` ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """The machine's sandbox. One that is up is used as it is and left up; else it is brought up, and down after."""
    paths = default_paths()
    before = lifecycle.status(paths)
    existed = paths.state.exists()
    if not before.up:
        lifecycle.up(paths)
    try:
        yield Sandbox(
            paths=paths,
            environment=os.environ | lifecycle.environment(paths),
            kubectl=Kubectl(paths),
            gateway_url=lifecycle.GATEWAY_URL,
        )
    finally:
        if not before.processes:
            lifecycle.down(paths, purge=not existed)


@dataclass(frozen=True)
class Box:
    """A machine inside the machine (tests/support/box)."""

    pid: int

    def run(
        self, *words: str, check: bool = True, timeout_s: float = 110, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the box; standard error is part of `stdout`. Fails with its output where it fails."""
        inside = ["sh", "-c", JOIN, "sh", "env", *(f"{k}={v}" for k, v in BOX_ENVIRONMENT.items()), *words]
        done = subprocess.run(
            ["nsenter", "--all", f"--target={self.pid}", "--wd=/", "--", *inside],
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if check and done.returncode != 0:
            pytest.fail(f"`{' '.join(words)}` ended with {done.returncode}:\n{done.stdout}")
        return done

    def sandbox(self, *words: str, check: bool = True) -> str:
        """Run `holdfast sandbox …` in the box; what it prints."""
        return self.run(sys.executable, "-m", "holdfast_sandbox", *words, check=check).stdout

    def up(self) -> str:
        """Bring the sandbox up, without the project's images: a box has no network to build them from."""
        return self.sandbox("up", "--no-images")

    def status(self) -> dict[str, Any]:
        """`holdfast sandbox status --json`."""
        found: dict[str, Any] = json.loads(self.sandbox("status", "--json", check=False))
        return found

    def kubectl(self, *words: str, stdin: str | None = None) -> str:
        """Run kubectl in the box."""
        state = BOX_ENVIRONMENT["HOLDFAST_SANDBOX_DIR"]
        return self.run(
            f"{state}/bin/kubectl", f"--kubeconfig={state}/pki/admin.kubeconfig", *words, stdin=stdin
        ).stdout.strip()

    def kill(self, *pids: int) -> None:
        """SIGKILL."""
        self.run("kill", "-9", *(str(pid) for pid in pids))

    def snapshot(self) -> dict[str, Any]:
        """Everything that a sandbox could leave behind."""
        found: dict[str, Any] = json.loads(self.run(sys.executable, str(SUPPORT / "snapshot.py")).stdout)
        return found


@contextlib.contextmanager
def _box() -> Iterator[Box]:
    process = subprocess.Popen(
        [sys.executable, str(SUPPORT / "box.py"), "sleep", "infinity"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    box = Box(pid=int(process.stdout.readline()))
    try:
        # A new network namespace begins with this one's settings; a fresh machine would not forward.
        box.run("sh", "-c", "echo 0 > /proc/sys/net/ipv4/ip_forward")
        yield box
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(box.pid, signal.SIGKILL)
        process.wait(timeout=30)


@pytest.fixture
def box() -> Iterator[Box]:
    """A fresh machine; everything in it ends with the test."""
    with _box() as made:
        yield made


@pytest.fixture(scope="module")
def lasting_box() -> Iterator[Box]:
    """The same for all tests of a module: a cluster takes half a minute."""
    with _box() as made:
        yield made
