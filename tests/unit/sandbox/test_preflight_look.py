"""What preflight sees of a machine: each sight is given to it as the kernel would."""

from __future__ import annotations

import os
import platform
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from holdfast_sandbox import preflight, processes
from holdfast_sandbox.addresses import BRIDGE, BRIDGE_ADDRESS
from holdfast_sandbox.paths import Paths

OURS, GONE = 11, 99
"""Pids: of a process of the sandbox, and of one that has just ended."""


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """Folders that are not there yet, on a machine where nothing runs."""
    monkeypatch.setattr(psutil, "net_connections", lambda _: [])
    monkeypatch.setattr(psutil, "net_if_addrs", dict)
    monkeypatch.setattr(psutil, "process_iter", lambda _: iter(()))
    monkeypatch.setattr(processes, "is_ours", lambda _, pid: pid == OURS)
    monkeypatch.setattr(processes, "in_our_network", lambda _: True)
    monkeypatch.setattr(preflight, "DYING_S", 0.0)
    return Paths(state=tmp_path / "a" / "state", run=tmp_path / "run", cache=tmp_path / "b" / "cache")


def _listener(ip: str, port: int, pid: int | None, status: str = psutil.CONN_LISTEN) -> Any:
    return SimpleNamespace(laddr=(ip, port), pid=pid, status=status)


def test_this_machine_is_seen_as_it_is(paths: Paths) -> None:
    found = preflight.look(paths, built=True)

    assert (found.system, found.machine) == (platform.system(), platform.machine())
    assert found.is_root == (os.geteuid() == 0)
    assert found.memory_gib == pytest.approx(psutil.virtual_memory().total / 2**30)
    assert found.built
    assert not preflight.look(paths, built=False).built
    assert not paths.state.parent.exists(), "nothing was made"


def test_another_system_is_not_asked_what_only_linux_knows(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(psutil, "net_connections", lambda _: pytest.fail("needs root there"))

    assert preflight.look(paths, built=True).system == "Darwin"


def test_disk_is_counted_where_there_is_least_of_it(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    free = {"a": 5 * 2**30, "b": 70 * 2**30}
    for name in free:
        (paths.run.parent / name).mkdir()
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=free[folder.name]))

    assert preflight.look(paths, built=True).disk_free_gib == 5
    free.update(a=free["b"], b=free["a"])
    assert preflight.look(paths, built=True).disk_free_gib == 5


def test_who_listens_where_the_sandbox_will_is_named(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = os.getpid()
    name = psutil.Process(mine).name()
    listeners = [
        _listener("127.0.0.1", 5000, mine),
        _listener("0.0.0.0", 6443, mine),
        _listener("::", 2379, None),
        _listener("127.0.0.1", 10248, 4_194_305),  # above any pid: it has ended since
        _listener("127.0.0.1", 2380, OURS),
        _listener("127.0.0.1", 6443, mine),
        _listener("192.0.2.1", 5000, mine),
        _listener("127.0.0.1", 80, mine),
        _listener("127.0.0.1", 5566, mine, psutil.CONN_ESTABLISHED),
    ]
    monkeypatch.setattr(psutil, "net_connections", lambda _: listeners)

    assert preflight.look(paths, built=True).taken_ports == (
        ("127.0.0.1", 5000, "registry", f"{name} (pid {mine})"),
        (BRIDGE_ADDRESS, 6443, "kube-apiserver", f"{name} (pid {mine})"),
        ("127.0.0.1", 2379, "etcd", "another user's process"),
        ("127.0.0.1", 10248, "kubelet", "pid 4194305"),
    )


def test_a_port_of_a_process_that_is_just_being_killed_is_not_taken(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: Iterator[list[Any]] = iter([[_listener("127.0.0.1", 5000, GONE)], []])
    monkeypatch.setattr(preflight, "DYING_S", 5.0)
    monkeypatch.setattr(preflight.time, "sleep", lambda _: None)
    monkeypatch.setattr(psutil, "net_connections", lambda _: next(looks))

    assert preflight.look(paths, built=True).taken_ports == ()


def test_a_network_that_overlaps_the_pods_or_the_services_is_named(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    def has(address: str, netmask: str | None, family: int = socket.AF_INET) -> Any:
        return SimpleNamespace(family=family, address=address, netmask=netmask)

    interfaces = {
        "docker0": [has("10.244.7.1", "255.255.0.0")],
        "tun0": [has("10.96.0.9", None), has("10.96.0.9", "255.255.255.255")],
        "eth0": [has("192.0.2.7", "255.255.255.0"), has("fe80::1", "ffff::", socket.AF_INET6)],
        BRIDGE: [has(BRIDGE_ADDRESS, "255.255.255.0")],
    }
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: interfaces)

    assert preflight.look(paths, built=True).overlaps == (
        ("docker0", "10.244.0.0/16"),
        ("tun0", "10.96.0.9/32"),
    )


def test_another_kubernetes_is_seen_and_the_sandboxs_own_is_not(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    def runs(pid: int, name: str, *command: str) -> Any:
        return SimpleNamespace(pid=pid, info={"name": name, "cmdline": list(command)})

    running = [
        runs(7, "kubelet", "kubelet", "--config=theirs"),
        runs(OURS, "kubelet", "kubelet", "--config=ours"),
        runs(GONE, "kube-proxy"),
        runs(12, "bash", "bash"),
        runs(13, "k3s", "k3s"),
    ]
    monkeypatch.setattr(psutil, "process_iter", lambda _: iter(running))
    monkeypatch.setattr(processes, "in_our_network", lambda pid: pid != 13)

    assert preflight.look(paths, built=True).other_nodes == ("kubelet (pid 7)",)


def test_what_has_to_be_installed_is_found_by_its_programs(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = {"containerd", "apt-get", "modprobe"}
    bridge = tmp_path / "bridge"
    monkeypatch.setattr(shutil, "which", lambda command, path=None: command if command in there else None)
    monkeypatch.setattr(
        preflight, "PACKAGES", {"containerd": "containerd", "runc": "runc", str(bridge): "networking-plugins"}
    )

    found = preflight.look(paths, built=True)
    assert (found.missing_packages, found.has_apt) == (("networking-plugins", "runc"), True)
    bridge.touch()
    there.discard("apt-get")
    found = preflight.look(paths, built=True)
    assert (found.missing_packages, found.has_apt) == (("runc",), False)
