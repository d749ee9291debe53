"""Everything that the sandbox leaves in a machine outside its own folders: found, remembered, removed.

Bridge, pod network namespaces, mounts, packet filter rules, kernel settings, control groups, and the folders that
kubelet, container runtime and network plugins make whatever they are told.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from holdfast_sandbox.paths import Paths

NETWORK_NAME: Final = "holdfast-sandbox"
"""The CNI network's name: CNI's cache files begin with it."""
WRITTEN_SETTINGS: Final = (
    "fs/inotify/max_user_instances",
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "net/bridge/bridge-nf-call-iptables",
    "net/ipv4/conf/all/route_localnet",
    "net/ipv4/ip_forward",
    "vm/overcommit_memory",
)
"""Kernel settings that the sandbox, the kubelet, kube-proxy or the bridge plugin write."""
IPTABLES_TABLES: Final = tuple(
    f"{family} {name}" for family in ("ip", "ip6") for name in ("filter", "mangle", "nat", "raw")
)
"""What iptables makes as soon as it is asked anything."""
FOLDERS: Final = (
    "/etc/cni",
    "/opt/cni",
    "/opt/containerd",
    "/run/containerd",
    "/run/netns",
    "/var/lib/cni",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/var/log/pods",
)
"""Folders that the kubelet, the container runtime and the network plugins make outside ours whatever they are told.
`remove` removes those that were not there before."""
SYSCTL: Final = Path("/proc/sys")
CGROUPS: Final = Path("/sys/fs/cgroup")


def _memory(paths: Paths) -> Path:
    return paths.state / "machine-before.json"


def remember(paths: Paths) -> None:
    """Note what is there before anything is changed, for `remove` to put back. Does nothing the second time."""
    file = _memory(paths)
    if file.is_file():
        return
    before = {
        "settings": {
            key: (SYSCTL / key).read_text().strip() for key in WRITTEN_SETTINGS if (SYSCTL / key).exists()
        },
        "tables": _tables(),
        "folders": [folder for folder in FOLDERS if Path(folder).exists()],
    }
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(before, indent=1) + "\n")
    partial.rename(file)


def mounts(paths: Paths) -> list[str]:
    """Mount points below the sandbox's folders, the deepest first."""
    ours = tuple(f"{folder}/" for folder in (paths.state, paths.run))
    points = (line.split()[1] for line in Path("/proc/mounts").read_text().splitlines())
    return sorted((point for point in points if point.startswith(ours)), reverse=True)


def namespaces() -> list[str]:
    """Pod network namespaces, as the container runtime names them. No other cluster's: preflight refuses two."""
    folder = Path("/run/netns")
    return sorted(file.name for file in folder.glob("cni-*")) if folder.is_dir() else []


def cgroups() -> list[Path]:
    """The pods' control groups, the innermost first; with cgroup v1 one tree per controller."""
    tops = [top for top in (*CGROUPS.glob("kubepods"), *CGROUPS.glob("*/kubepods")) if not top.is_symlink()]
    found = [path for top in tops for path in (top, *top.rglob("*")) if path.is_dir()]
    return sorted(found, key=lambda path: len(path.parts), reverse=True)


def link_exists(name: str) -> bool:
    """Whether a network interface of that name is there."""
    return Path("/sys/class/net", name).exists()


def pod_links(bridge: str) -> list[str]:
    """The pods' network interfaces on this side: ports of the bridge, and what CNI remembers when that is gone."""
    found = {port.name for port in Path("/sys/class/net", bridge, "brif").glob("*")}
    for file in Path("/var/lib/cni/results").glob(f"{NETWORK_NAME}-*-eth0"):
        try:
            interfaces = json.loads(file.read_text())["result"]["interfaces"]
        except (OSError, ValueError, KeyError):
            continue
        found |= {one["name"] for one in interfaces if one["name"].startswith("veth")}
    return sorted(name for name in found if link_exists(name))


def remove(paths: Paths, bridge: str) -> None:
    """Put the machine back to what it was. Call it when no process of the sandbox runs any more."""
    file = _memory(paths)
    before = json.loads(file.read_text()) if file.is_file() else None
    for table in ("ip kube-proxy", "ip6 kube-proxy"):
        _quietly("nft", "delete", "table", *table.split())
    for point in mounts(paths):
        _quietly("umount", "-l", point)
    # The kernel would remove them with their namespaces, but some time later.
    for port in pod_links(bridge):
        _quietly("ip", "link", "del", port)
    for namespace in namespaces():
        _quietly("ip", "netns", "del", namespace)
    _quietly("ip", "link", "del", bridge)
    # Every pod is gone: give their addresses back, or they leak.
    shutil.rmtree(paths.run / "cni-ipam", ignore_errors=True)
    for cached in _cached_networks():
        cached.unlink(missing_ok=True)
    for group in cgroups():
        _quietly_rmdir(group)
    if before is not None:
        _restore(before)
        file.unlink()


def _restore(before: dict[str, Any]) -> None:
    settings, tables, folders = before["settings"], before["tables"], before["folders"]
    for key, value in settings.items():
        setting = SYSCTL / key
        if setting.exists() and setting.read_text().strip() != value:
            setting.write_text(value)
    for table in IPTABLES_TABLES:
        if table not in tables and table in _tables() and not _has_rules(table):
            _quietly("nft", "delete", "table", *table.split())
    for folder in FOLDERS:
        if folder not in folders:
            shutil.rmtree(folder, ignore_errors=True)


def _cached_networks() -> Iterable[Path]:
    """CNI's memory of our pods' networks. The loopback's files carry another name, but the same container id."""
    folder = Path("/var/lib/cni/results")
    for ours in folder.glob(f"{NETWORK_NAME}-*-eth0"):
        yield ours
        yield folder / f"cni-loopback-{ours.name.removeprefix(f'{NETWORK_NAME}-').removesuffix('-eth0')}-lo"


def _tables() -> list[str]:
    shown = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=False)
    return [line.removeprefix("table ").strip() for line in shown.stdout.splitlines()]


def _has_rules(table: str) -> bool:
    """Whether a table has a rule that is not Kubernetes's: chains of nothing but ours count as empty."""
    shown = subprocess.run(
        ["nft", "-j", "list", "table", *table.split()], capture_output=True, text=True, check=False
    )
    if shown.returncode != 0:
        return False
    rules = [item["rule"] for item in json.loads(shown.stdout)["nftables"] if "rule" in item]
    return any(not _kubernetes(rule) for rule in rules)


def _kubernetes(rule: dict[str, Any]) -> bool:
    jumps = [part["jump"]["target"] for part in rule.get("expr", []) if "jump" in part]
    return str(rule.get("chain")).startswith("KUBE-") or any(name.startswith("KUBE-") for name in jumps)


def _quietly(*command: str) -> None:
    try:
        subprocess.run(command, capture_output=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        pass  # the next `down` tries again; `leftovers` tells


def _quietly_rmdir(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        pass  # not there, or something of somebody else's is in it


def leftovers(paths: Paths, bridge: str) -> list[str]:
    """What `remove` should have removed and did not; empty: nothing is left."""
    found = [f"mount {point}" for point in mounts(paths)]
    found += [f"network namespace {name}" for name in namespaces()]
    found += [f"network interface {name}" for name in pod_links(bridge)]
    found += [f"control group {group}" for group in cgroups()]
    found += [f"packet filter table {table}" for table in _tables() if table.endswith(" kube-proxy")]
    if link_exists(bridge):
        found.append(f"network interface {bridge}")
    return found
