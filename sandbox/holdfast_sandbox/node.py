"""A real Kubernetes node: etcd, the control plane, containerd, kubelet and kube-proxy as host processes.

Every listener is on the loopback or on the pod bridge, which is made first so that it can be bound to.
"""

from __future__ import annotations

import os
import platform
import shutil
import string
import subprocess
from pathlib import Path
from typing import Final

from holdfast_sandbox import pki, preflight, private, processes
from holdfast_sandbox.addresses import (
    API_URL,
    BRIDGE,
    BRIDGE_ADDRESS,
    DNS_ADDRESS,
    POD_NETWORK,
    SERVICE_NETWORK,
)
from holdfast_sandbox.errors import SandboxError
from holdfast_sandbox.kubectl import Kubectl
from holdfast_sandbox.paths import Paths
from holdfast_sandbox.progress import Progress

AUTOSCALER_SYNC_S: Final = 5
"""Kubernetes's default is 15 s; a sandbox is for trying things out."""
GPUS: Final = 8
"""How many `nvidia.com/gpu` the node says it has: the size of the largest common GPU instances."""
PAUSE_IMAGE: Final = "registry.k8s.io/pause:3.10"
SYSCTLS: Final = {
    "net/ipv4/ip_forward": "1",
    "net/bridge/bridge-nf-call-iptables": "1",
    "fs/inotify/max_user_instances": "1024",
}
PARTS: Final = (
    "kube-proxy",
    "kubelet",
    "kube-scheduler",
    "kube-controller-manager",
    "kube-apiserver",
    "etcd",
    "containerd",
)
"""In the order in which they are stopped."""


def name(paths: Paths) -> str:
    """The node's name: what the machine was called when the sandbox was first up, for certificates and pods keep
    to it when the machine is renamed."""
    return private.once(paths.state / "node-name", lambda: platform.node().lower() or "sandbox")


def start(paths: Paths, progress: Progress) -> None:
    """Bring the node up and wait until it is Ready; does nothing that is already done."""
    with progress.step("network and certificates"):
        _bridge()
        _set_sysctls()
        pki.ensure(paths.pki, name(paths), [BRIDGE_ADDRESS], API_URL)
        _configure(paths)
    with progress.step("etcd and containerd"):
        _start_etcd(paths)
        start_containerd(paths)
    with progress.step("Kubernetes"):
        _start_api_server(paths)
        _start_controllers(paths)
        _start_kubelet(paths)
        processes.start(
            paths,
            "kube-proxy",
            [paths.bin / "kube-proxy", f"--config={paths.etc}/kube-proxy.yaml"],
            files=[paths.etc / "kube-proxy.yaml", _pki(paths)],
        )
    kubectl = Kubectl(paths)
    with progress.step("node Ready"):
        processes.wait_until(
            "the node is not Ready",
            lambda: kubectl.text("get", "node", name(paths), "-o", _READY) == "True",
            90,
            paths,
            "kubelet",
        )
        processes.wait_until(
            "the default service account does not appear",
            lambda: kubectl.ok("get", "serviceaccount", "default", "-n", "default"),
            30,
            paths,
            "kube-controller-manager",
        )
    advertise_gpus(paths, kubectl)


_READY: Final = "jsonpath={.status.conditions[?(@.type=='Ready')].status}"


def advertise_gpus(paths: Paths, kubectl: Kubectl) -> None:
    """Give the node its `nvidia.com/gpu`; capacity and allocatable both, or pods stay unschedulable."""
    kubectl.run(
        "patch",
        "node",
        name(paths),
        "--subresource=status",
        "--type=merge",
        "-p",
        f'{{"status":{{"capacity":{{"nvidia.com/gpu":"{GPUS}"}},"allocatable":{{"nvidia.com/gpu":"{GPUS}"}}}}}}',
    )


def _ip(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=False)


def _bridge() -> None:
    if _ip("link", "show", BRIDGE).returncode != 0:
        made = _ip("link", "add", BRIDGE, "type", "bridge")
        if made.returncode != 0:
            raise SandboxError(f"the bridge {BRIDGE} cannot be made: {made.stderr.strip()}")
    if BRIDGE_ADDRESS not in _ip("addr", "show", BRIDGE).stdout:
        _ip("addr", "add", f"{BRIDGE_ADDRESS}/24", "dev", BRIDGE)
    _ip("link", "set", BRIDGE, "up")


def _set_sysctls() -> None:
    """Set what pod networking needs; `traces` has remembered what was there."""
    preflight.load_module("br_netfilter")
    preflight.load_module("overlay")
    for key, value in SYSCTLS.items():
        file = Path("/proc/sys") / key
        if file.exists() and int(file.read_text()) < int(value):
            file.write_text(value)


def _configure(paths: Paths) -> None:
    """Fill in the configuration files beside this module."""
    values = {
        "STATE": str(paths.state),
        "RUN": str(paths.run),
        "NODE": name(paths),
        "BRIDGE": BRIDGE,
        "BRIDGE_ADDRESS": BRIDGE_ADDRESS,
        "POD_NETWORK": POD_NETWORK,
        "DNS_ADDRESS": DNS_ADDRESS,
        "PAUSE_IMAGE": PAUSE_IMAGE,
    }
    source = Path(__file__).with_name("etc")
    for template in sorted(path for path in source.rglob("*") if path.is_file()):
        target = paths.etc / template.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        text = string.Template(template.read_text()).substitute(values)
        # Not touched where it is the same: kube-proxy ends when its file is written.
        if not target.is_file() or target.read_text() != text:
            target.write_text(text)


def _start_etcd(paths: Paths) -> None:
    client, peer = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
    processes.start(
        paths,
        "etcd",
        [
            paths.bin / "etcd",
            "--name=sandbox",
            f"--data-dir={paths.var}/etcd",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=sandbox={peer}",
            # A sandbox can be made anew; waiting for the disk on every write is not worth it.
            "--unsafe-no-fsync",
        ],
    )


def start_containerd(paths: Paths) -> None:
    """Start the container runtime and wait for its socket."""
    for folder in (paths.run / "containerd", paths.var / "containerd"):
        folder.mkdir(parents=True, exist_ok=True)
    configuration = paths.etc / "containerd.toml"
    processes.start(paths, "containerd", ["containerd", "--config", configuration], files=[configuration])
    processes.wait_until(
        "containerd does not answer",
        lambda: ctr(paths, "version").returncode == 0,
        30,
        paths,
        "containerd",
    )


def ctr(paths: Paths, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run containerd's command in Kubernetes's namespace."""
    command = ["ctr", "-a", str(paths.run / "containerd" / "containerd.sock"), "-n", "k8s.io"]
    return subprocess.run([*command, *(str(w) for w in words)], capture_output=True, text=True, check=False)


def _start_api_server(paths: Paths) -> None:
    """Returns when it is ready."""
    keys = paths.pki
    processes.start(
        paths,
        "kube-apiserver",
        [
            paths.bin / "kube-apiserver",
            "--etcd-servers=http://127.0.0.1:2379",
            f"--bind-address={BRIDGE_ADDRESS}",
            f"--advertise-address={BRIDGE_ADDRESS}",
            "--secure-port=6443",
            f"--service-cluster-ip-range={SERVICE_NETWORK}",
            "--allow-privileged=true",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            f"--client-ca-file={keys}/ca.crt",
            f"--tls-cert-file={keys}/apiserver.crt",
            f"--tls-private-key-file={keys}/apiserver.key",
            f"--kubelet-client-certificate={keys}/apiserver-kubelet.crt",
            f"--kubelet-client-key={keys}/apiserver-kubelet.key",
            f"--kubelet-certificate-authority={keys}/ca.crt",
            "--kubelet-preferred-address-types=InternalIP",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={keys}/service-accounts.pub",
            f"--service-account-signing-key-file={keys}/service-accounts.key",
            f"--requestheader-client-ca-file={keys}/front-proxy-ca.crt",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-username-headers=X-Remote-User",
            f"--proxy-client-cert-file={keys}/front-proxy.crt",
            f"--proxy-client-key-file={keys}/front-proxy.key",
            "--enable-aggregator-routing=true",
            "--profiling=false",
        ],
        files=[_pki(paths)],
    )
    kubectl = Kubectl(paths)
    processes.wait_until(
        "the API server is not ready",
        lambda: kubectl.ok("get", "--raw", "/readyz"),
        90,
        paths,
        "kube-apiserver",
    )


def _start_controllers(paths: Paths) -> None:
    """Controller manager and scheduler, which need the API server."""
    keys = paths.pki
    processes.start(
        paths,
        "kube-controller-manager",
        [
            paths.bin / "kube-controller-manager",
            *_own_kubeconfig(paths, "kube-controller-manager"),
            f"--cluster-signing-cert-file={keys}/ca.crt",
            f"--cluster-signing-key-file={keys}/ca.key",
            f"--root-ca-file={keys}/ca.crt",
            f"--service-account-private-key-file={keys}/service-accounts.key",
            "--use-service-account-credentials=true",
            "--allocate-node-cidrs=false",
            f"--horizontal-pod-autoscaler-sync-period={AUTOSCALER_SYNC_S}s",
        ],
        files=[_pki(paths)],
    )
    processes.start(
        paths,
        "kube-scheduler",
        [paths.bin / "kube-scheduler", *_own_kubeconfig(paths, "kube-scheduler")],
        files=[_pki(paths)],
    )


def _pki(paths: Paths) -> Path:
    """A file that is another one after the certificates were made anew: then everything has to be restarted."""
    return paths.pki / "made-for"


def _own_kubeconfig(paths: Paths, part: str) -> list[str]:
    file = paths.pki / f"{part}.kubeconfig"
    return [
        f"--kubeconfig={file}",
        f"--authentication-kubeconfig={file}",
        f"--authorization-kubeconfig={file}",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        "--profiling=false",
    ]


def _start_kubelet(paths: Paths) -> None:
    # A home of its own: the kubelet would use a login lying in root's, and a wrong pull secret would still pull.
    home = paths.var / "kubelet-home"
    for folder in (home, paths.var / "kubelet", paths.var / "pod-logs"):
        folder.mkdir(parents=True, exist_ok=True)
    containerd = shutil.which("containerd")
    processes.start(
        paths,
        "kubelet",
        [
            paths.bin / "kubelet",
            f"--config={paths.etc}/kubelet.yaml",
            f"--kubeconfig={paths.pki}/kubelet.kubeconfig",
            f"--root-dir={paths.var}/kubelet",
            f"--hostname-override={name(paths)}",
            f"--node-ip={BRIDGE_ADDRESS}",
        ],
        environment={
            "HOME": str(home),
            "PATH": f"{Path(containerd or '/usr/bin/containerd').parent}:{os.environ.get('PATH', '')}",
        },
        files=[paths.etc / "kubelet.yaml", _pki(paths)],
    )
