"""Reading the cluster through kubectl: logs and events need the cluster's own permissions, not the gateway's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from holdfast_cli.errors import CommandError
from holdfast_cli.exits import Exit


def require() -> None:
    """Raises CommandError where kubectl or a kubeconfig is missing."""
    if shutil.which("kubectl") is None:
        raise CommandError(
            "kubectl is not on PATH: logs and events are read from the cluster",
            'install it, or for a sandbox run eval "$(holdfast sandbox env)"',
            Exit.USAGE,
        )
    if not os.environ.get("KUBECONFIG") and not (Path.home() / ".kube" / "config").is_file():
        raise CommandError(
            "no kubeconfig: neither KUBECONFIG nor ~/.kube/config is there",
            'set KUBECONFIG, or for a sandbox run eval "$(holdfast sandbox env)"',
            Exit.USAGE,
        )


def get(namespace: str, kind: str, *words: str) -> list[dict[str, Any]]:
    """Objects of a kind. Raises CommandError with kubectl's own words where it cannot."""
    done = subprocess.run(
        ["kubectl", "-n", namespace, "get", kind, "-o", "json", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        raise CommandError(
            f"kubectl cannot read {kind} in namespace {namespace}: {said[-1] if said else 'it does not say why'}",
            "check KUBECONFIG and --namespace",
        )
    items: list[dict[str, Any]] = json.loads(done.stdout)["items"]
    return items


def started(pod: dict[str, Any], container: str) -> int | None:
    """How often a container of a pod was restarted; None: it never ran, so that it has no log."""
    status = pod.get("status", {})
    for one in [*status.get("containerStatuses", []), *status.get("initContainerStatuses", [])]:
        ran = {"running", "terminated"} & set(one.get("state", {})) or one.get("lastState")
        if one["name"] == container and ran:
            return int(one.get("restartCount", 0))
    return None


def log_command(namespace: str, pod: str, container: str, tail: int, follow: bool) -> Sequence[str]:
    """The command that prints a container's log, every line with the pod's name."""
    words = ["kubectl", "-n", namespace, "logs", pod, "-c", container, "--prefix", f"--tail={tail}"]
    return [*words, "--follow"] if follow else words
