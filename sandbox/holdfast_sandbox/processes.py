"""Processes of the sandbox: each in a session of its own, with a record that survives this command.

A record holds pid, start time and boot, so that a pid which another program got meanwhile (after a reboot, say) is
never taken for ours and never killed. Every process also carries a mark in its environment, by which those are
found whose record was lost.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from holdfast_sandbox.errors import SandboxError
from holdfast_sandbox.paths import Paths

STOP_GRACE_S: Final = 10.0
"""How long a process may take to end after SIGTERM before it is killed."""
MARK: Final = "HOLDFAST_SANDBOX_STATE"
"""Environment variable of every process of the sandbox and its children: the state folder it belongs to."""
_INHERITED: Final = ("HOME", "LANG", "PATH", "TZ")
"""All that a process gets from the terminal that starts it: the rest is nobody's business there."""


@dataclass(frozen=True, slots=True)
class _Record:
    pid: int
    ticks: int
    """When it started, in clock ticks since boot: with pid and boot, its identity."""
    boot: str
    fingerprint: str
    """Of program, arguments, own variables and configuration: another one means that it must be restarted."""


def _record_file(paths: Paths, name: str) -> Path:
    return paths.run / "pids" / name


def _read(paths: Paths, name: str) -> _Record | None:
    """The record of a process that runs; None where it does not."""
    try:
        pid, ticks, boot, fingerprint = _record_file(paths, name).read_text().split()
        record = _Record(int(pid), int(ticks), boot, fingerprint)
    except (OSError, ValueError):
        return None
    alive = record.boot == boot_id() and _start_ticks(record.pid) == record.ticks
    return record if alive else None


def boot_id() -> str:
    """Another one after every boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _start_ticks(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The name in parentheses may itself hold spaces and parentheses.
    fields = stat[stat.rindex(")") + 2 :].split()
    return None if fields[0] == "Z" else int(fields[19])


def pid_of(paths: Paths, name: str) -> int | None:
    """The pid of a running process of ours; None where it is not running."""
    record = _read(paths, name)
    return record.pid if record else None


def running(paths: Paths) -> dict[str, int]:
    """Every running process of ours: name → pid."""
    folder = paths.run / "pids"
    names = sorted(file.name for file in folder.iterdir()) if folder.is_dir() else []
    return {name: pid for name in names if (pid := pid_of(paths, name)) is not None}


def is_ours(paths: Paths, pid: int) -> bool:
    """Whether a process belongs to this sandbox, recorded or not: it carries the mark, and is in the same network
    namespace (in another one it is that of a container or of another machine inside this one)."""
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return f"{MARK}={paths.state}".encode() in variables and in_our_network(pid)


def in_our_network(pid: int) -> bool:
    """Whether a process is in the same network namespace as this command."""
    try:
        return Path(f"/proc/{pid}/ns/net").readlink() == Path("/proc/self/ns/net").readlink()
    except OSError:
        return False


def strays(paths: Paths) -> list[psutil.Process]:
    """Processes that carry the mark, are not recorded, and are nobody's of ours children: what a lost run folder
    leaves, and container shims, which are on their own by design."""
    known = set(running(paths).values())
    marked = {p.pid: p for p in psutil.process_iter(["ppid"]) if is_ours(paths, p.pid)}
    return [p for pid, p in marked.items() if pid not in known and p.info["ppid"] not in marked]


def start(
    paths: Paths,
    name: str,
    command: Sequence[str | Path],
    environment: Mapping[str, str] | None = None,
    files: Iterable[Path] = (),
) -> bool:
    """Start a process unless it runs as wanted; whether it was started. Its output goes to `<log>/<name>.log`.

    One that runs with another program, other arguments, variables or `files` (its configuration) is restarted.
    Raises SandboxError with the end of its log where it ends at once.
    """
    words = [str(word) for word in command]
    wanted = _fingerprint(words, environment or {}, files)
    record = _read(paths, name)
    if record and record.fingerprint == wanted:
        return False
    if record:
        stop(paths, [name])
    paths.log.mkdir(parents=True, exist_ok=True)
    _record_file(paths, name).parent.mkdir(parents=True, exist_ok=True)
    inherited = {key: os.environ[key] for key in _INHERITED if key in os.environ}
    with (paths.log / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
            env=inherited | dict(environment or {}) | {MARK: str(paths.state)},
        )
    ticks = _start_ticks(process.pid)
    if ticks is None:
        raise SandboxError(f"{name} ended as soon as it was started:\n{log_tail(paths, name)}")
    _record_file(paths, name).write_text(f"{process.pid} {ticks} {boot_id()} {wanted}\n")
    return True


def _fingerprint(words: list[str], environment: Mapping[str, str], files: Iterable[Path]) -> str:
    program = Path(shutil.which(words[0]) or words[0]).resolve()
    # PATH differs from terminal to terminal and means nothing here.
    variables = sorted(item for item in environment.items() if item[0] != "PATH")
    digest = hashlib.sha256(json.dumps([str(program), words[1:], variables]).encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def stop(paths: Paths, names: Iterable[str]) -> None:
    """End processes and whatever they started, all at once; returns when they are gone."""
    wanted = list(names)
    leaders = [pid for name in wanted if (pid := pid_of(paths, name)) is not None]
    end([process for pid in leaders for process in _group(pid)])
    for name in wanted:
        _record_file(paths, name).unlink(missing_ok=True)


def end(processes: Sequence[psutil.Process], grace_s: float = STOP_GRACE_S) -> None:
    """SIGTERM, and SIGKILL for what is there after the grace. A pid that was given anew meanwhile is left alone."""
    _signal(processes, signal.SIGTERM)
    left = _wait(processes, grace_s)
    _signal(left, signal.SIGKILL)
    _wait(left, grace_s)


def _wait(processes: Sequence[psutil.Process], timeout_s: float) -> list[psutil.Process]:
    """Wait until they have ended; those that have not. A zombie has ended: its parent may never collect it."""
    deadline = time.monotonic() + timeout_s
    while left := [process for process in processes if not _ended(process)]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    return left


def _ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _signal(processes: Iterable[psutil.Process], number: int) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue


def _group(leader: int) -> list[psutil.Process]:
    """The processes of a process group. Container shims have groups of their own and are not in it."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == leader:
                found.append(process)
        except ProcessLookupError:
            continue
    return found


def wait_until(what: str, ready: Callable[[], bool], timeout_s: float, paths: Paths, name: str) -> None:
    """Wait for a condition.

    Raises SandboxError with the end of `name`'s log when it does not come, or at once when that process has ended.
    """
    deadline = time.monotonic() + timeout_s
    while not ready():
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
    """Resident memory of all processes of the sandbox and of the pods, MiB."""
    seen: set[psutil.Process] = set()
    for process in psutil.process_iter():
        if is_ours(paths, process.pid):
            try:
                # The processes in a pod do not carry the mark, but their shim, which is their parent, does.
                seen |= {process, *process.children(recursive=True)}
            except psutil.NoSuchProcess:
                continue
    total = 0
    for process in seen:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / 2**20
