"""Up, down, status: the sandbox as a whole. `up` heals whatever it finds; `down` leaves nothing that runs, no network
and no rule, and with `purge` no state; what was built or installed for it stays."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from holdfast_sandbox import (
    addons,
    aws,
    builds,
    images,
    node,
    plugins,
    preflight,
    processes,
    registry,
    stacksettings,
    traces,
)
from holdfast_sandbox.addresses import BRIDGE, BRIDGE_ADDRESS
from holdfast_sandbox.errors import SandboxError
from holdfast_sandbox.kubectl import Kubectl
from holdfast_sandbox.paths import Paths, default_paths
from holdfast_sandbox.progress import Progress

GATEWAY_URL: Final = f"http://{BRIDGE_ADDRESS}:30080"
"""Where the gateway answers on this machine: a NodePort on the pod bridge, which nothing outside reaches."""


@dataclass(frozen=True, slots=True)
class Status:
    """What runs of the sandbox."""

    up: bool
    """Whether every part runs, pods of KEDA included, and the node is Ready."""
    state_dir: str
    gateway_url: str
    processes: dict[str, int]
    """Name → pid of what runs."""
    missing: list[str]
    """Parts that should run and do not: processes, and KEDA's Deployments without a ready pod."""
    node_ready: bool
    waiting: list[dict[str, Any]] = field(default_factory=list)
    """Pods whose containers cannot start, with the reason."""
    memory_mib: int = 0
    """Resident memory of its processes and of all pods."""
    disk_mib: int = 0


EXPECTED: Final = (
    "aws",
    "containerd",
    "coredns",
    "etcd",
    "external-secrets",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubelet",
    "registry",
)


def build(
    names: list[str] | None = None, paths: Paths | None = None, progress: Progress | None = None
) -> None:
    """Build the tools into the cache, or only those named. Raises SandboxError where one is unknown or fails."""
    paths = paths or default_paths()
    builds.ensure(paths.cache, progress or Progress(), names or None)


def up(paths: Paths | None = None, progress: Progress | None = None, *, project_images: bool = True) -> None:
    """Bring the whole platform up; does nothing that is already done, and mends what a crash or a reboot left.

    `project_images`: also build and push the images of services and templates, which an endpoint needs.
    Raises SandboxError, before anything is changed, where this machine cannot run it.
    """
    paths, progress = paths or default_paths(), progress or Progress()
    machine = preflight.look(paths, built=builds.complete(paths.cache))
    preflight.refuse(machine)
    with _alone(paths, progress):
        preflight.install(machine.missing_packages, progress)
        tools = builds.ensure(paths.cache, progress)
        for folder in (paths.state, paths.run, paths.etc, paths.var):
            folder.mkdir(parents=True, exist_ok=True)
        _heal(paths, progress)
        traces.remember(paths)
        builds.link_all(tools, paths.bin, paths.pulumi_home / "plugins")
        plugins.install(paths.bin, paths.pulumi_home / "plugins")
        with progress.step("registry and AWS stand-in"):
            registry.start(paths)
            aws.start(paths, progress)
        node.start(paths, progress)
        kubectl = Kubectl(paths)
        images.ensure_platform_images(paths, tools, progress)
        with progress.step("cluster DNS"):
            addons.start_dns(paths, kubectl)
        with progress.step("External Secrets"):
            addons.start_external_secrets(paths, kubectl, tools["external-secrets"].folder / "kept" / "bases")
        addons.start_keda(paths, kubectl, tools["keda"].folder / "kept" / "config", progress)
        if project_images:
            images.ensure_project_images(paths, progress)
    progress.say("the sandbox is up")


@contextmanager
def _alone(paths: Paths, progress: Progress) -> Iterator[None]:
    """One `up` or `down` at a time. The lock is on a folder that is there anyway: a lock file would be left."""
    paths.state.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(paths.state.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.say("another `up` or `down` is at work; waiting for it")
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _heal(paths: Paths, progress: Progress) -> None:
    """Clear away what the parts cannot mend themselves, when they are started again."""
    reason = _broken(paths)
    if reason:
        progress.say(f"cleaning up first: {reason}")
        _stop_all(paths)
        shutil.rmtree(paths.run)
        paths.run.mkdir()
    (paths.run / "boot").write_text(processes.boot_id())


def _broken(paths: Paths) -> str | None:
    """Why what is there cannot simply be continued; None: it can, or there is nothing."""
    boot = paths.run / "boot"
    if boot.is_file() and boot.read_text() != processes.boot_id():
        return "the machine was booted since"
    strays = processes.strays(paths)
    lost = [name for process in strays if not (name := _name(process)).startswith("containerd-shim")]
    if lost:
        return f"{', '.join(lost)} run without a record"
    if strays and not traces.link_exists(BRIDGE):
        return f"pods run, but the network interface {BRIDGE} is gone"
    if processes.running(paths) and not (paths.pki / "made-for").is_file():
        return "processes run, but their state is gone"
    return None


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return "containerd-shim that has just ended"


def down(
    paths: Paths | None = None,
    progress: Progress | None = None,
    *,
    purge: bool = False,
    cache: bool = False,
) -> None:
    """Stop everything and remove what it put into the machine; works after a crash or a reboot as well.

    `purge`: also forget the state (cluster, Pulumi stacks with the settings that `make up` wrote, passwords).
    `cache`: also what was built.
    Raises SandboxError where something of it cannot be removed.
    """
    paths, progress = paths or default_paths(), progress or Progress()
    if os.geteuid() != 0:
        raise SandboxError("user is not root: the sandbox's processes are root's; run it with sudo")
    with _alone(paths, progress):
        if paths.state.exists() or paths.run.exists() or processes.strays(paths):
            with progress.step("stopping the sandbox"):
                _stop_all(paths)
        left = traces.leftovers(paths, BRIDGE) if paths.state.exists() else []
        if left:
            raise SandboxError("stopped, but this is still there; try again:\n  " + "\n  ".join(left))
        if purge:
            stacksettings.forget(paths.pulumi_state)
            _forget("its state", (paths.state, paths.run), progress)
    if cache:
        _forget("its build cache", (paths.cache,), progress)


def _forget(what: str, folders: Iterable[Path], progress: Progress) -> None:
    left = []
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():
            left.append(str(folder))
    if left:
        raise SandboxError(f"{what} could not be removed whole: remove {', '.join(left)} by hand")
    progress.say(f"{what} is removed")


def _stop_all(paths: Paths) -> None:
    extra = [name for name in processes.running(paths) if name not in node.PARTS]
    processes.stop(paths, [*extra, *node.PARTS[: node.PARTS.index("kube-apiserver")]])
    _kill_containers(paths)
    processes.stop(paths, ["kube-apiserver"])
    processes.stop(paths, ["etcd", "containerd"])
    _kill_strays(paths)
    traces.remove(paths, BRIDGE)


def _kill_containers(paths: Paths) -> None:
    """Containers outlive kubelet and containerd: end them while containerd still answers."""
    if processes.pid_of(paths, "containerd") is None:
        return
    tasks = node.ctr(paths, "tasks", "ls", "-q").stdout.split()
    for task in tasks:
        node.ctr(paths, "tasks", "kill", "--signal", "SIGKILL", task)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and "RUNNING" in node.ctr(paths, "tasks", "ls").stdout:
        time.sleep(0.1)
    for task in tasks:
        node.ctr(paths, "tasks", "rm", "--force", task)
    for container in node.ctr(paths, "containers", "ls", "-q").stdout.split():
        node.ctr(paths, "containers", "rm", container)


def _kill_strays(paths: Paths) -> None:
    """After a crash of containerd only the shims hold the containers; each shim's children go with it."""
    family: list[psutil.Process] = []
    for process in processes.strays(paths):
        try:
            family += [*process.children(recursive=True), process]
        except psutil.NoSuchProcess:
            continue
    processes.end(family, grace_s=2)


def status(paths: Paths | None = None) -> Status:
    """What runs; never raises because something does not."""
    paths = paths or default_paths()
    alive = processes.running(paths)
    missing = [name for name in EXPECTED if name not in alive]
    ready, waiting = False, []
    if "kube-apiserver" in alive:
        kubectl = Kubectl(paths)
        ready = (
            kubectl.text(
                "get",
                "node",
                node.name(paths),
                "-o",
                "jsonpath={.status.conditions[?(@.type=='Ready')].status}",
            )
            == "True"
        )
        if ready:
            waiting = addons.workloads(kubectl)
            missing += addons.unavailable(kubectl)
    return Status(
        up=ready and not missing,
        state_dir=str(paths.state),
        gateway_url=GATEWAY_URL,
        processes=alive,
        missing=missing,
        node_ready=ready,
        waiting=waiting,
        memory_mib=round(processes.memory_mib(paths)),
        disk_mib=_disk_mib(paths.state),
    )


def status_json(current: Status) -> str:
    """The status as one JSON object."""
    return json.dumps(asdict(current), indent=1)


def _disk_mib(folder: Path) -> int:
    if not folder.is_dir():
        return 0
    shown = subprocess.run(["du", "-smx", str(folder)], capture_output=True, text=True, check=False)
    return int(shown.stdout.split()[0]) if shown.stdout else 0


def environment(paths: Paths | None = None) -> dict[str, str]:
    """The variables that make plain `pulumi`, `kubectl`, `aws` and `holdfast` talk to the sandbox.

    PATH is given as a whole. Raises SandboxError where the sandbox was never brought up.
    """
    paths = paths or default_paths()
    if not paths.bin.is_dir():
        raise SandboxError("there is no sandbox on this machine: run `holdfast sandbox up`")
    registry.secret(paths, "pulumi-passphrase")
    own = Path(sys.executable).parent
    path = os.environ.get("PATH", "").split(":")
    front = [str(paths.bin), str(own)]
    values = {
        "PATH": ":".join([*front, *(folder for folder in path if folder not in front)]),
        "KUBECONFIG": str(paths.kubeconfig),
        "PULUMI_HOME": str(paths.pulumi_home),
        "PULUMI_BACKEND_URL": f"file://{paths.pulumi_state}",
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(paths.secrets / "pulumi-passphrase"),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PULUMI_AUTOMATION_API_SKIP_VERSION_CHECK": "true",
        "HOLDFAST_URL": GATEWAY_URL,
        "HOLDFAST_SANDBOX_IMAGES": str(paths.state / "images.json"),
        # How `holdfast init`, `holdfast build` and Endpoint(code=…) make images here, and where these go.
        "HOLDFAST_BUILDER": shlex.join([sys.executable, "-m", "holdfast_sandbox", "image"]),
        "HOLDFAST_REGISTRY": f"{registry.HOST}/holdfast",
        "HOLDFAST_REGISTRY_SECRET": aws.REGISTRY_SECRET,
        **aws.ENVIRONMENT,
    }
    token = paths.secrets / "caller-token"
    if token.is_file():
        values["HOLDFAST_TOKEN_FILE"] = str(token)
    for folder in (paths.pulumi_home, paths.pulumi_state):
        folder.mkdir(exist_ok=True)
    return values
