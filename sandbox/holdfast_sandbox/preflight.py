"""What must be true of a machine before anything on it is changed."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from holdfast_sandbox.errors import SandboxError
from holdfast_sandbox.paths import Paths
from holdfast_sandbox.progress import Progress

PACKAGES: Final = {
    "containerd": "containerd",
    "runc": "runc",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "iptables": "iptables",
    "nft": "nftables",
    "conntrack": "conntrack",
    "ipset": "ipset",
    "ip": "iproute2",
    "buildah": "buildah",
    "debootstrap": "debootstrap",
}
"""Command or file → the Debian package that brings it."""
PORTS: Final = {
    "127.0.0.1": {
        2379: "etcd",
        2380: "etcd",
        5000: "registry",
        5566: "aws",
        9153: "coredns",
        10248: "kubelet",
        10249: "kube-proxy",
        10256: "kube-proxy",
        10257: "kube-controller-manager",
        10259: "kube-scheduler",
    }
}
"""Fixed ports on the loopback, and what of ours listens there."""
FREE_DISK_BUILD_GIB: Final = 18
"""Measured: the first build of the tools needs 15 GB at its height, most of it given back afterwards."""
FREE_DISK_RUN_GIB: Final = 4
MEMORY_GIB: Final = 6
"""Measured: the running sandbox with three replicas of the example uses about 3 GiB; the builds peak at 5."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What preflight looks at, apart from the machine so that the rules can be tested."""

    system: str
    is_root: bool
    machine: str
    disk_free_gib: float
    memory_gib: float
    built: bool
    """Whether the tools are in the cache already."""
    taken_ports: tuple[tuple[str, int, str], ...]
    """(address, port, what of ours wants it)."""
    missing_packages: tuple[str, ...]
    has_apt: bool
    has_overlay: bool = True


def problems(machine: Machine) -> list[str]:
    """Everything that stands in the way, each with its remedy; empty: nothing does."""
    if machine.system != "Linux":
        return [f"system is {machine.system}, not Linux: run the sandbox in a Linux virtual machine"]
    found = []
    if machine.machine != "x86_64":
        found.append(f"processor is {machine.machine}, not x86_64: the images are built for x86_64 only")
    if not machine.is_root:
        found.append("user is not root: the sandbox makes networks and mounts; run it with sudo")
    need = FREE_DISK_RUN_GIB if machine.built else FREE_DISK_BUILD_GIB
    if machine.disk_free_gib < need:
        found.append(
            f"free disk is {machine.disk_free_gib:.1f} GiB, under {need} GiB: free some, or set "
            "HOLDFAST_SANDBOX_DIR and XDG_CACHE_HOME to a larger disk"
        )
    if machine.memory_gib < MEMORY_GIB:
        found.append(f"memory is {machine.memory_gib:.1f} GiB, under {MEMORY_GIB} GiB: use a larger machine")
    found += [
        f"port {address}:{port} is taken, and {owner} listens there: end what holds it "
        f"(`ss -ltnp 'sport = :{port}'` shows it)"
        for address, port, owner in machine.taken_ports
    ]
    if machine.missing_packages and not machine.has_apt:
        found.append(
            f"{', '.join(machine.missing_packages)} not installed and apt-get is not there: install them"
        )
    if not machine.has_overlay:
        found.append("the kernel has no overlay file system: load its module (`modprobe overlay`)")
    return found


def look(paths: Paths, *, built: bool, ours: Callable[[str], bool]) -> Machine:
    """Look at this machine. `ours`: whether the named process of the sandbox runs, so its port may be taken."""
    memory_kib = 0
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        memory_kib = int(meminfo.read_text().split("MemTotal:")[1].split()[0])
    filesystems = Path("/proc/filesystems")
    return Machine(
        system=platform.system(),
        is_root=os.geteuid() == 0,
        machine=platform.machine(),
        disk_free_gib=shutil.disk_usage(_existing(paths.cache)).free / 2**30,
        memory_gib=memory_kib / 2**20,
        built=built,
        taken_ports=tuple(
            (address, port, owner)
            for address, ports in PORTS.items()
            for port, owner in ports.items()
            if not ours(owner) and _taken(address, port)
        ),
        missing_packages=tuple(_missing()),
        has_apt=shutil.which("apt-get") is not None,
        has_overlay=not filesystems.exists()
        or "overlay" in filesystems.read_text()
        or load_module("overlay"),
    )


def refuse(machine: Machine) -> None:
    """Raise SandboxError with every problem where there is one."""
    found = problems(machine)
    if found:
        lines = "\n".join(f"  - {problem}" for problem in found)
        raise SandboxError(f"the sandbox cannot run here, and nothing was changed:\n{lines}")


def install(packages: Sequence[str], progress: Progress) -> None:
    """Install Debian packages. Raises SandboxError with apt's own words where it fails."""
    if not packages:
        return
    with progress.step(f"installing {', '.join(packages)}", announce=True):
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for command in (
            ["apt-get", "update", "-q"],
            ["apt-get", "install", "-qy", "--no-install-recommends", *packages],
        ):
            done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
            if done.returncode != 0:
                tail = "\n".join((done.stdout + done.stderr).splitlines()[-8:])
                raise SandboxError(f"`{' '.join(command)}` failed:\n{tail}")


def load_module(name: str) -> bool:
    """Load a kernel module; False where that cannot be done: it may be built in, and the kernel be without
    the command."""
    command = _which("modprobe")
    return command is not None and subprocess.run([command, name], capture_output=True).returncode == 0


def _missing() -> list[str]:
    return sorted(
        {
            package
            for command, package in PACKAGES.items()
            if not (Path(command).exists() if command.startswith("/") else _which(command))
        }
    )


def _which(command: str) -> str | None:
    return shutil.which(command, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _taken(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((address, port)) == 0


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path
