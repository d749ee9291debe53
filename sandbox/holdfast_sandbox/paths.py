"""Where the sandbox keeps what: state, run-time files, and the build cache outside the checkout."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1]
"""The `sandbox/` folder of the checkout."""
CHECKOUT = SOURCE.parent


@dataclass(frozen=True, slots=True)
class Paths:
    """All directories of one sandbox. Nothing outside them is written, but for `cni0`, pod networks and rules, missing
    Debian packages, and the settings that `make up` gives its two stacks (`stacksettings`)."""

    state: Path
    """Survives a reboot: cluster state, certificates, passwords, Pulumi's state."""
    run: Path
    """Does not: sockets, pids, address leases."""
    cache: Path
    """Built tools and images by version; shared by checkouts, kept by `down`."""

    @property
    def bin(self) -> Path:
        """Links to the tools, for PATH."""
        return self.state / "bin"

    @property
    def pki(self) -> Path:
        """Certificates, keys and kubeconfigs; readable by root only."""
        return self.state / "pki"

    @property
    def etc(self) -> Path:
        """Configuration files of the processes."""
        return self.state / "etc"

    @property
    def log(self) -> Path:
        """One log file per process."""
        return self.state / "log"

    @property
    def var(self) -> Path:
        """Data of etcd, containerd, kubelet and the registry."""
        return self.state / "var"

    @property
    def secrets(self) -> Path:
        """Passwords and tokens of this sandbox, mode 600."""
        return self.state / "secrets"

    @property
    def pulumi_home(self) -> Path:
        """Pulumi's own folder: plugins and settings."""
        return self.state / "pulumi-home"

    @property
    def pulumi_state(self) -> Path:
        """Pulumi's stacks."""
        return self.state / "pulumi-state"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.pki / "admin.kubeconfig"


def default_paths() -> Paths:
    """From HOLDFAST_SANDBOX_DIR, HOLDFAST_SANDBOX_RUN_DIR and XDG_CACHE_HOME, or their defaults."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Paths(
        state=Path(os.environ.get("HOLDFAST_SANDBOX_DIR", "/var/lib/holdfast-sandbox")),
        run=Path(os.environ.get("HOLDFAST_SANDBOX_RUN_DIR", "/run/holdfast-sandbox")),
        cache=cache / "holdfast",
    )
