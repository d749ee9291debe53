"""What a sandbox could leave in a machine, as JSON: run before and after, the two must be equal."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

SETTINGS = (
    "net/bridge/bridge-nf-call-iptables",
    "net/ipv4/conf/all/forwarding",
    "net/ipv4/conf/all/route_localnet",
    "net/ipv4/conf/default/forwarding",
    "net/ipv4/ip_forward",
    "vm/overcommit_memory",
)
FOLDERS = ("/etc", "/opt", "/run", "/usr/libexec", "/var/lib", "/var/lib/holdfast-box", "/var/log")


def _processes() -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) not in (os.getpid(), os.getppid()):
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            found.append(command.strip())
    # Without a command line: ended, and not yet collected.
    return sorted(command for command in found if command)


def _mounts() -> list[str]:
    """Elsewhere, builds outside the box come and go: the kernel drops the box's copies of their mounts."""
    points = {line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()}
    return sorted(point for point in points if point.startswith((*FOLDERS, "/sys")))


def _names(folder: str) -> list[str]:
    return sorted(entry.name for entry in Path(folder).iterdir()) if Path(folder).is_dir() else []


def main() -> None:
    """Print it."""
    rules = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True)
    groups = [str(path) for path in Path("/sys/fs/cgroup").rglob("*") if path.is_dir()]
    print(
        json.dumps(
            {
                "mounts": _mounts(),
                "network interfaces": _names("/sys/class/net"),
                "network namespaces": _names("/run/netns"),
                "packet filter": rules.stdout.splitlines(),
                "control groups": sorted(groups),
                "processes": _processes(),
                "settings": {
                    key: Path("/proc/sys", key).read_text().strip()
                    for key in SETTINGS
                    if Path("/proc/sys", key).exists()
                },
                "folders": {folder: _names(folder) for folder in FOLDERS},
            }
        )
    )


if __name__ == "__main__":
    main()
