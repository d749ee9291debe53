"""A machine inside the machine: own processes, network, mounts and control groups, gone when it ends.

    python box.py COMMAND ...

Runs COMMAND in new namespaces, with empty folders where a sandbox and its parts keep things.
A sandbox brought up and torn down inside cannot disturb one that runs outside, and whatever it leaves behind ends
with the box. Commands join it by `nsenter --all --target <the pid that it prints first>`. There is no way out to any
network.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

STATE = "/var/lib/holdfast-box"
"""Where a sandbox in the box is to keep its state: a folder below it."""
EMPTY = (STATE, "/run", "/etc/cni", "/opt/cni", "/var/lib/cni", "/var/lib/kubelet")
CGROUPS = Path("/sys/fs/cgroup")
_CLONE_NEWNS, _CLONE_NEWCGROUP, _CLONE_NEWIPC = 0x00020000, 0x02000000, 0x08000000
_CLONE_NEWPID, _CLONE_NEWNET = 0x20000000, 0x40000000
_PR_SET_PDEATHSIG = 1


def _hierarchies() -> dict[str, str]:
    """Mount point of every cgroup hierarchy → file system and options to mount it again."""
    found = {}
    for line in Path("/proc/mounts").read_text().splitlines():
        _, point, kind, options, *_ = line.split()
        if kind in ("cgroup", "cgroup2"):
            kept = [o for o in options.split(",") if o not in ("rw", "relatime", "nosuid", "nodev", "noexec")]
            found[point] = f"{kind} {','.join(kept)}"
    return found


def _own_cgroups(hierarchies: dict[str, str], name: str) -> None:
    for point in hierarchies:
        group = Path(point) / name
        group.mkdir()
        for inherited in ("cpuset.cpus", "cpuset.mems"):
            if (group / inherited).exists() and not (group / inherited).read_text().strip():
                (group / inherited).write_text((group.parent / inherited).read_text())
        (group / "cgroup.procs").write_text(str(os.getpid()))


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


def _furnish(hierarchies: dict[str, str]) -> None:
    """Mounts and the loopback, from inside the new namespaces."""
    _mount("--make-rprivate", "/")
    _mount("-t", "proc", "proc", "/proc")
    _mount("-t", "sysfs", "sysfs", "/sys")
    if str(CGROUPS) not in hierarchies:
        _mount("-t", "tmpfs", "tmpfs", str(CGROUPS))
    for point, how in hierarchies.items():
        kind, options = how.split(" ")
        Path(point).mkdir(exist_ok=True)
        _mount("-t", kind, *(["-o", options] if options else []), kind, point)
    # What a sandbox outside has mounted must not be held, nor seen, from in here.
    points = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for point in sorted(points, reverse=True):
        if point.startswith(tuple(f"{folder}/" for folder in (*EMPTY, "/var/lib/holdfast-sandbox"))):
            subprocess.run(["umount", "-l", point], check=True)
    for folder in EMPTY:
        Path(folder).mkdir(parents=True, exist_ok=True)
        _mount("-t", "tmpfs", "tmpfs", folder)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def _init(hierarchies: dict[str, str], command: list[str], ready: int) -> int:
    """The first process of the box: starts the command and collects whatever ends, until the command does."""
    _furnish(hierarchies)
    started = subprocess.Popen(command)
    os.close(ready)
    while True:
        pid, status = os.wait()
        if pid == started.pid:
            return os.waitstatus_to_exitcode(status)


def _enter(hierarchies: dict[str, str], command: list[str]) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    flags = _CLONE_NEWNS | _CLONE_NEWCGROUP | _CLONE_NEWPID | _CLONE_NEWNET | _CLONE_NEWIPC
    if libc.unshare(flags) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    furnished, ready = os.pipe()
    first = _start(lambda: _init(hierarchies, command, ready))
    os.close(ready)
    os.read(furnished, 1)
    print(first, flush=True)
    return _status(first)


def _start(work: Callable[[], int]) -> int:
    child = os.fork()
    if child == 0:
        # When this program is killed the box must not stay.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        try:
            os._exit(work() & 255)
        except BaseException:
            traceback.print_exc()
            os._exit(70)
    return child


def _status(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(command: list[str]) -> int:
    """Run the command in a new box; its exit status. Its pid is printed first, for nsenter."""
    hierarchies = _hierarchies()
    missing = [folder for folder in EMPTY if not Path(folder).exists()]
    name = f"holdfast-box-{os.getpid()}"

    def work() -> int:
        _own_cgroups(hierarchies, name)
        return _enter(hierarchies, command)

    try:
        return _status(_start(work))
    finally:
        # The kernel has ended every process of the box with its first one.
        for point in hierarchies:
            _remove_groups(Path(point) / name)
        for folder in missing:
            with contextlib.suppress(OSError):
                Path(folder).rmdir()


def _remove_groups(group: Path) -> None:
    folders = [group, *(path for path in group.rglob("*") if path.is_dir())]
    for folder in sorted(folders, key=lambda path: len(path.parts), reverse=True):
        folder.rmdir()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
