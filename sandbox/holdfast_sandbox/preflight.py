"""What must be true of a machine before anything on it is changed."""

from __future__ import annotations

import ipaddress
import math
import os
import platform
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from holdfast_sandbox import processes
from holdfast_sandbox.addresses import BRIDGE, BRIDGE_ADDRESS, POD_NETWORK, SERVICE_NETWORK
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
PORTS: Final[Mapping[str, Mapping[int, str]]] = {
    "127.0.0.1": {
        2379: "etcd",
        2380: "etcd",
        5000: "registry",
        5566: "aws",
        8181: "external-secrets",
        9153: "coredns",
        10248: "kubelet",
        10249: "kube-proxy",
        10256: "kube-proxy",
        10257: "kube-controller-manager",
        10259: "kube-scheduler",
    },
    BRIDGE_ADDRESS: {
        5353: "coredns",
        6443: "kube-apiserver",
        10250: "kubelet",
    },
}
"""Address → port → what of ours listens there. One who listens on all addresses is in the way as well."""
DYING_S: Final = 2.0
"""How long a killed process may take to give its ports back."""
FREE_DISK_BUILD_GIB: Final = 14
"""Measured from nothing: a first `make test` needs 10.5 GiB at its height, while Pulumi's provider is built; 6.5 GiB of
it stay in use while the sandbox runs."""
FREE_DISK_RUN_GIB: Final = 4
MEMORY_GIB: Final = 5.5
"""Measured: the sandbox without endpoints 1.9 GiB, a build 3 GiB at its height. What a "6 GB" machine shows."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What preflight looks at, apart from the machine so that the rules can be tested."""

    system: str
    is_root: bool
    machine: str
    disk_free_gib: float
    """Where there is least: of the build cache's disk and the state's."""
    memory_gib: float
    built: bool
    """Whether no tool has to be built: each is in the cache, or on PATH in its version."""
    taken_ports: tuple[tuple[str, int, str, str], ...]
    """(address, port, what of ours wants it, what of others holds it)."""
    missing_packages: tuple[str, ...]
    has_apt: bool
    has_overlay: bool = True
    overlaps: tuple[tuple[str, str], ...] = ()
    """(network interface, its network) where one overlaps the pods' or the services' network."""
    other_nodes: tuple[str, ...] = ()
    """Programs of another Kubernetes node that runs on this machine."""


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
            f"free disk is {_rounded_down(machine.disk_free_gib)} GiB, under {need} GiB: free some, or set "
            "HOLDFAST_SANDBOX_DIR and XDG_CACHE_HOME to a larger disk"
        )
    if machine.memory_gib < MEMORY_GIB:
        found.append(
            f"memory is {_rounded_down(machine.memory_gib)} GiB, under {MEMORY_GIB} GiB: use a larger machine"
        )
    found += [
        f"port {address}:{port} is taken by {holder}, and {owner} listens there: end {holder}"
        for address, port, owner, holder in machine.taken_ports
    ]
    found += [
        f"network {network} of {interface} overlaps the sandbox's {POD_NETWORK} and {SERVICE_NETWORK}: "
        f"use another machine, or, where nothing uses {interface} any more, remove it (`ip link del {interface}`)"
        for interface, network in machine.overlaps
    ]
    if machine.other_nodes:
        found.append(
            f"{', '.join(machine.other_nodes)} of another Kubernetes runs here: two on one machine destroy each "
            "other's networks; stop that one, or use another machine"
        )
    if machine.missing_packages and not machine.has_apt:
        found.append(
            f"{', '.join(machine.missing_packages)} not installed and apt-get is not there: install them"
        )
    if not machine.has_overlay:
        found.append("the kernel has no overlay file system: load its module (`modprobe overlay`)")
    return found


def _rounded_down(gib: float) -> str:
    """So that what is too little does not read as enough."""
    return f"{math.floor(gib * 10) / 10:.1f}"


def look(paths: Paths, *, built: bool) -> Machine:
    """Look at this machine; changes nothing. `built`: whether no tool has to be built."""
    memory_kib = 0
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        memory_kib = int(meminfo.read_text().split("MemTotal:")[1].split()[0])
    filesystems = Path("/proc/filesystems")
    linux = platform.system() == "Linux"
    return Machine(
        system=platform.system(),
        is_root=os.geteuid() == 0,
        machine=platform.machine(),
        disk_free_gib=min(
            shutil.disk_usage(_existing(folder)).free / 2**30 for folder in (paths.cache, paths.state)
        ),
        memory_gib=memory_kib / 2**20,
        built=built,
        taken_ports=_taken_ports(paths) if linux else (),
        overlaps=tuple(_overlaps()) if linux else (),
        other_nodes=tuple(_other_nodes(paths)) if linux else (),
        missing_packages=tuple(_missing()),
        has_apt=shutil.which("apt-get") is not None,
        has_overlay=not filesystems.exists()
        or "overlay" in filesystems.read_text()
        or _which("modprobe") is not None,
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


def _taken_ports(paths: Paths) -> tuple[tuple[str, int, str, str], ...]:
    """Listeners of others in our places. A process of ours that is being killed holds its ports a moment longer and
    no longer shows its mark: what is taken only for that moment is not taken."""
    deadline = time.monotonic() + DYING_S
    while (taken := tuple(_foreign_listeners(paths))) and time.monotonic() < deadline:
        time.sleep(0.2)
    return taken


def _foreign_listeners(paths: Paths) -> Iterator[tuple[str, int, str, str]]:
    # Asked of the kernel, not tried: to bind would disturb, to connect as well.
    for listener in psutil.net_connections("tcp"):
        if listener.status != psutil.CONN_LISTEN or not listener.laddr:
            continue
        if listener.pid and processes.is_ours(paths, listener.pid):
            continue
        ip, port = listener.laddr
        for address, ports in PORTS.items():
            if ip in (address, "0.0.0.0", "::") and port in ports:
                yield address, port, ports[port], _describe(listener.pid)


def _describe(pid: int | None) -> str:
    if pid is None:
        return "another user's process"
    try:
        return f"{psutil.Process(pid).name()} (pid {pid})"
    except psutil.NoSuchProcess:
        return f"pid {pid}"


def _overlaps() -> Iterator[tuple[str, str]]:
    wanted = [ipaddress.ip_network(network) for network in (POD_NETWORK, SERVICE_NETWORK)]
    for interface, addresses in psutil.net_if_addrs().items():
        for one in addresses:
            if one.family != socket.AF_INET or one.netmask is None:
                continue
            network = ipaddress.ip_network(f"{one.address}/{one.netmask}", strict=False)
            is_ours = interface == BRIDGE and one.address == BRIDGE_ADDRESS
            if not is_ours and any(network.overlaps(other) for other in wanted):
                yield interface, str(network)


def _other_nodes(paths: Paths) -> Iterator[str]:
    for process in psutil.process_iter(["name", "cmdline"]):
        name = process.info["name"]
        # One that is just being killed has no command line any more, and no mark either.
        alive = bool(process.info["cmdline"])
        foreign = processes.in_our_network(process.pid) and not processes.is_ours(paths, process.pid)
        if alive and name in _NODE_PROGRAMS and foreign:
            yield f"{name} (pid {process.pid})"


_NODE_PROGRAMS: Final = ("kubelet", "kube-proxy", "k3s", "k3s-server", "k3s-agent", "k0s", "rke2", "microk8s")


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path
