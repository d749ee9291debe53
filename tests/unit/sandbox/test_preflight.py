from __future__ import annotations

from dataclasses import replace

import pytest

from holdfast_sandbox import preflight
from holdfast_sandbox.errors import SandboxError

GOOD = preflight.Machine(
    system="Linux",
    is_root=True,
    machine="x86_64",
    disk_free_gib=50,
    memory_gib=16,
    built=False,
    taken_ports=(),
    missing_packages=(),
    has_apt=True,
)


def test_a_fitting_machine_has_no_problem() -> None:
    assert preflight.problems(GOOD) == []
    preflight.refuse(GOOD)


def test_another_system_is_the_only_problem_told() -> None:
    assert preflight.problems(replace(GOOD, system="Darwin", is_root=False)) == [
        "system is Darwin, not Linux: run the sandbox in a Linux virtual machine"
    ]


@pytest.mark.parametrize(
    ("machine", "problem"),
    [
        (
            replace(GOOD, machine="aarch64"),
            "processor is aarch64, not x86_64: the images are built for x86_64 only",
        ),
        (
            replace(GOOD, is_root=False),
            "user is not root: the sandbox makes networks and mounts; run it with sudo",
        ),
        (
            replace(GOOD, disk_free_gib=13.96),
            "free disk is 13.9 GiB, under 14 GiB: free some, or set HOLDFAST_SANDBOX_DIR and XDG_CACHE_HOME to a "
            "larger disk",
        ),
        (
            replace(GOOD, disk_free_gib=3.5, built=True),
            "free disk is 3.5 GiB, under 4 GiB: free some, or set HOLDFAST_SANDBOX_DIR and XDG_CACHE_HOME to a "
            "larger disk",
        ),
        (replace(GOOD, memory_gib=3.8), "memory is 3.8 GiB, under 5.5 GiB: use a larger machine"),
        (
            replace(GOOD, taken_ports=(("127.0.0.1", 5000, "registry", "python3 (pid 7)"),)),
            "port 127.0.0.1:5000 is taken by python3 (pid 7), and registry listens there: end python3 (pid 7)",
        ),
        (
            replace(GOOD, overlaps=(("docker0", "10.244.0.0/16"),)),
            "network 10.244.0.0/16 of docker0 overlaps the sandbox's 10.244.0.0/24 and 10.96.0.0/16: use another "
            "machine, or, where nothing uses docker0 any more, remove it (`ip link del docker0`)",
        ),
        (
            replace(GOOD, other_nodes=("k3s (pid 9)",)),
            "k3s (pid 9) of another Kubernetes runs here: two on one machine destroy each other's networks; stop "
            "that one, or use another machine",
        ),
        (
            replace(GOOD, missing_packages=("runc", "buildah"), has_apt=False),
            "runc, buildah not installed and apt-get is not there: install them",
        ),
        (
            replace(GOOD, has_overlay=False),
            "the kernel has no overlay file system: load its module (`modprobe overlay`)",
        ),
    ],
)
def test_each_problem_says_what_to_do(machine: preflight.Machine, problem: str) -> None:
    assert preflight.problems(machine) == [problem]


def test_built_tools_need_less_disk() -> None:
    assert preflight.problems(replace(GOOD, disk_free_gib=5, built=True)) == []


def test_missing_packages_are_no_problem_where_apt_can_install_them() -> None:
    assert preflight.problems(replace(GOOD, missing_packages=("runc",))) == []


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(SandboxError) as error:
        preflight.refuse(replace(GOOD, is_root=False, memory_gib=1))

    assert str(error.value) == (
        "the sandbox cannot run here, and nothing was changed:\n"
        "  - user is not root: the sandbox makes networks and mounts; run it with sudo\n"
        "  - memory is 1.0 GiB, under 5.5 GiB: use a larger machine"
    )
