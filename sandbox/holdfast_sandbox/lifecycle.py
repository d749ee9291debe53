"""Up, down, status: the sandbox as a whole. `up` heals whatever it finds; `down` leaves nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from holdfast_sandbox import addons, aws, builds, images, node, plugins, preflight, processes, registry
from holdfast_sandbox.errors import SandboxError
from holdfast_sandbox.kubectl import Kubectl
from holdfast_sandbox.paths import Paths, default_paths
from holdfast_sandbox.progress import Progress

GATEWAY_URL: Final = f"http://{node.BRIDGE_ADDRESS}:30080"
"""Where the gateway answers on this machine: a NodePort on the pod bridge, which nothing outside reaches."""


@dataclass(frozen=True, slots=True)
class Status:
    """What runs of the sandbox."""

    up: bool
    """Whether every part runs and the node is Ready."""
    state_dir: str
    gateway_url: str
    processes: dict[str, int]
    """Name → pid of what runs."""
    missing: list[str]
    """Parts that should run and do not."""
    node_ready: bool
    waiting: list[dict[str, Any]] = field(default_factory=list)
    """Pods whose containers cannot start, with the reason."""
    memory_mib: int = 0
    """Resident memory of the host processes; pods' containers are not in it."""
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
    """Build the tools into the cache, or only those named."""
    paths = paths or default_paths()
    builds.ensure(paths.cache, progress or Progress(), names or None)


def up(paths: Paths | None = None, progress: Progress | None = None) -> None:
    """Bring the whole platform up; does nothing that is already done.

    Raises SandboxError, before anything is changed, where this machine cannot run it.
    """
    paths, progress = paths or default_paths(), progress or Progress()
    cached = all((paths.cache / "tools" / one.key()).is_dir() for one in builds.RECIPES)
    machine = preflight.look(paths, built=cached, ours=lambda name: processes.pid_of(paths, name) is not None)
    preflight.refuse(machine)
    preflight.install(machine.missing_packages, progress)
    for folder in (paths.state, paths.run, paths.etc, paths.var):
        folder.mkdir(parents=True, exist_ok=True)
    _heal(paths, progress)
    _remember_foreign(paths)
    tools = builds.ensure(paths.cache, progress)
    builds.link_all(tools, paths.bin, paths.pulumi_home / "plugins")
    plugins.install(paths.bin, paths.pulumi_home / "plugins")
    registry.start(paths)
    aws.start(paths)
    node.start(paths, progress)
    kubectl = Kubectl(paths)
    images.ensure_platform_images(paths, tools, progress)
    addons.start_dns(paths, kubectl)
    addons.start_external_secrets(paths, kubectl, tools["external-secrets"].folder / "kept" / "bases")
    addons.start_keda(paths, kubectl, tools["keda"].folder / "kept" / "config", progress)
    images.ensure_project_images(paths, progress)
    progress.say("the sandbox is up")


def _heal(paths: Paths, progress: Progress) -> None:
    """After a reboot or a crash, containers and mounts of the past are in the way of the kubelet."""
    if processes.pid_of(paths, "containerd") is None and (_mounts(paths) or _network_namespaces()):
        progress.say("cleaning up after a sandbox that ended without `down`")
        processes.stop(paths, list(processes.running(paths)))
        _clean_up_node(paths)


def down(
    paths: Paths | None = None,
    progress: Progress | None = None,
    *,
    purge: bool = False,
    cache: bool = False,
) -> None:
    """Stop everything and remove what it put into the machine; works after a crash or a reboot as well.

    `purge`: also forget the state (cluster, Pulumi stacks, passwords). `cache`: also what was built.
    """
    paths, progress = paths or default_paths(), progress or Progress()
    if os.geteuid() != 0:
        raise SandboxError("user is not root: the sandbox's processes are root's; run it with sudo")
    with progress.step("stopping the sandbox"):
        extra = [name for name in processes.running(paths) if name not in node.PARTS]
        first = ("kube-proxy", "kubelet", "kube-scheduler", "kube-controller-manager")
        processes.stop(paths, [*extra, *first])
        _kill_containers(paths)
        processes.stop(paths, ["kube-apiserver"])
        processes.stop(paths, ["etcd", "containerd"])
        _clean_up_node(paths)
    if purge:
        for folder in (paths.state, paths.run):
            shutil.rmtree(folder, ignore_errors=True)
        progress.say("its state is removed")
    if cache:
        shutil.rmtree(paths.cache, ignore_errors=True)
        progress.say("its build cache is removed")


def _kill_containers(paths: Paths) -> None:
    """Containers outlive kubelet and containerd: end them while containerd still answers."""
    if processes.pid_of(paths, "containerd") is not None:
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
    _kill_shims(paths)


def _kill_shims(paths: Paths) -> None:
    """After a crash of containerd only the shims hold the containers; each shim's children go with it."""
    import psutil

    socket = str(paths.run / "containerd" / "containerd.sock")
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if words and "containerd-shim" in words[0] and socket in words:
            try:
                family = [*process.children(recursive=True), process]
            except psutil.NoSuchProcess:
                continue
            for member in family:
                try:
                    member.kill()
                except psutil.NoSuchProcess:
                    continue


def _clean_up_node(paths: Paths) -> None:
    _kill_shims(paths)
    kube_proxy = paths.bin / "kube-proxy"
    if kube_proxy.exists():
        subprocess.run([kube_proxy, "--cleanup"], capture_output=True, check=False, timeout=60)
    for table in ("ip kube-proxy", "ip6 kube-proxy"):
        subprocess.run(["nft", "delete", "table", *table.split()], capture_output=True, check=False)
    for mount in _mounts(paths):
        subprocess.run(["umount", "-l", mount], capture_output=True, check=False)
    for namespace in _network_namespaces():
        subprocess.run(["ip", "netns", "del", namespace], capture_output=True, check=False)
    subprocess.run(["ip", "link", "del", node.BRIDGE], capture_output=True, check=False)
    # Every pod is gone: give their addresses back, or they leak.
    shutil.rmtree(paths.run / "cni-ipam", ignore_errors=True)
    _remove_foreign(paths)
    node.restore_sysctls(paths)


FOREIGN: Final = ("/var/lib/cni", "/var/lib/kubelet", "/opt/cni", "/etc/cni/net.d", "/run/flannel")
"""Folders that the kubelet and the network plugins make outside ours, whatever they are told."""


def _remember_foreign(paths: Paths) -> None:
    """Note which of them are not there yet: those are removed by `down`."""
    memory = paths.state / "absent-before"
    if not memory.is_file():
        memory.write_text("".join(f"{folder}\n" for folder in FOREIGN if not Path(folder).exists()))


def _remove_foreign(paths: Paths) -> None:
    memory = paths.state / "absent-before"
    if memory.is_file():
        for folder in memory.read_text().split():
            shutil.rmtree(folder, ignore_errors=True)
        memory.unlink()


def _mounts(paths: Paths) -> list[str]:
    """Mount points below the sandbox's folders, the deepest first."""
    ours = tuple(f"{folder}/" for folder in (paths.state, paths.run))
    lines = Path("/proc/mounts").read_text().splitlines()
    return sorted((line.split()[1] for line in lines if line.split()[1].startswith(ours)), reverse=True)


def _network_namespaces() -> list[str]:
    """Pod network namespaces, which the container runtime names `cni-…`."""
    folder = Path("/run/netns")
    return sorted(file.name for file in folder.glob("cni-*")) if folder.is_dir() else []


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
                "get", "node", node.name(), "-o", "jsonpath={.status.conditions[?(@.type=='Ready')].status}"
            )
            == "True"
        )
        if ready:
            waiting = addons.workloads(kubectl)
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
        "PULUMI_BACKEND_URL": f"file://{paths.state}/pulumi-state",
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(paths.secrets / "pulumi-passphrase"),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PULUMI_AUTOMATION_API_SKIP_VERSION_CHECK": "true",
        "HOLDFAST_URL": GATEWAY_URL,
        "HOLDFAST_SANDBOX_IMAGES": str(paths.state / "images.json"),
        **aws.ENVIRONMENT,
    }
    token = paths.secrets / "caller-token"
    if token.is_file():
        values["HOLDFAST_TOKEN_FILE"] = str(token)
    for folder in (paths.pulumi_home, paths.state / "pulumi-state"):
        folder.mkdir(exist_ok=True)
    return values
