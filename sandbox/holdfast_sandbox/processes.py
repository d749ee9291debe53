"""Processes of the sandbox: each in a session of its own, with a pid file that survives this command.

A pid file holds the pid and the process's start time, so that a pid which another program got meanwhile (after a
reboot, say) is never taken for ours and never killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import psutil

from holdfast_sandbox.errors import SandboxError
from holdfast_sandbox.paths import Paths

STOP_GRACE_S = 10.0
"""How long a process may take to end after SIGTERM before it is killed."""


def _pid_file(paths: Paths, name: str) -> Path:
    return paths.run / "pids" / name


def _start_ticks(pid: int) -> int | None:
    """When the process started, in clock ticks since boot: with the pid, its identity."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The name in parentheses may itself hold spaces and parentheses.
    fields = stat[stat.rindex(")") + 2 :].split()
    return None if fields[0] == "Z" else int(fields[19])


def pid_of(paths: Paths, name: str) -> int | None:
    """The pid of a running process of ours; None where it is not running."""
    try:
        pid_text, ticks = _pid_file(paths, name).read_text().split()
    except (OSError, ValueError):
        return None
    pid = int(pid_text)
    return pid if _start_ticks(pid) == int(ticks) else None


def running(paths: Paths) -> dict[str, int]:
    """Every running process of ours: name → pid."""
    folder = paths.run / "pids"
    names = sorted(file.name for file in folder.iterdir()) if folder.is_dir() else []
    return {name: pid for name in names if (pid := pid_of(paths, name)) is not None}


def start(
    paths: Paths, name: str, command: Sequence[str | Path], environment: Mapping[str, str] | None = None
) -> bool:
    """Start a process unless it runs; whether it was started. Its output goes to `<log>/<name>.log`."""
    if pid_of(paths, name) is not None:
        return False
    paths.log.mkdir(parents=True, exist_ok=True)
    _pid_file(paths, name).parent.mkdir(parents=True, exist_ok=True)
    with (paths.log / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
            env=dict(environment) if environment is not None else None,
        )
    ticks = _start_ticks(process.pid)
    if ticks is None:
        raise SandboxError(f"{name} ended as soon as it was started:\n{log_tail(paths, name)}")
    _pid_file(paths, name).write_text(f"{process.pid} {ticks}\n")
    return True


def stop(paths: Paths, names: Iterable[str]) -> None:
    """End processes and whatever they started, all at once; returns when they are gone."""
    wanted = list(names)
    groups = {name: pid for name in wanted if (pid := pid_of(paths, name)) is not None}
    for pid in groups.values():
        _signal_group(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_GRACE_S
    while time.monotonic() < deadline and any(pid_of(paths, name) for name in groups):
        _reap()
        time.sleep(0.05)
    for pid in groups.values():
        _signal_group(pid, signal.SIGKILL)
    _reap()
    for name in wanted:
        _pid_file(paths, name).unlink(missing_ok=True)


def wait_until(what: str, ready: Callable[[], bool], timeout_s: float, paths: Paths, name: str) -> None:
    """Wait for a condition. Raises SandboxError with the end of `name`'s log when it does not come, or at once
    when the process has ended."""
    deadline = time.monotonic() + timeout_s
    while not ready():
        _reap()
        ended = pid_of(paths, name) is None
        if ended or time.monotonic() > deadline:
            why = "it has ended" if ended else f"not within {timeout_s:.0f} s"
            raise SandboxError(
                f"{what}: {why}; the end of {paths.log / f'{name}.log'}:\n{log_tail(paths, name)}"
            )
        time.sleep(0.1)


def log_tail(paths: Paths, name: str, lines: int = 12) -> str:
    """The last lines of a process's log, indented."""
    file = paths.log / f"{name}.log"
    if not file.is_file():
        return "    (no log)"
    with file.open("rb") as stream:
        stream.seek(max(0, file.stat().st_size - 20_000))
        text = stream.read().decode(errors="replace")
    return "\n".join(f"    {line[:400]}" for line in text.splitlines()[-lines:])


def memory_mib(paths: Paths) -> float:
    """Resident memory of all processes of the sandbox and their children, MiB."""
    total = 0
    for pid in running(paths).values():
        try:
            root = psutil.Process(pid)
            family = [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            continue
        for process in family:
            try:
                total += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
    return total / 2**20


def _signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        pass


def _reap() -> None:
    """Collect ended children of this command, which would otherwise look alive."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
