"""kubectl against the sandbox's cluster, as its administrator."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from holdfast_sandbox.errors import SandboxError
from holdfast_sandbox.paths import Paths


class Kubectl:
    """Runs kubectl with the sandbox's kubeconfig."""

    def __init__(self, paths: Paths) -> None:
        self._command = [str(paths.bin / "kubectl"), f"--kubeconfig={paths.kubeconfig}"]

    def _do(self, *words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self._command, "--request-timeout=60s", *words],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )

    def popen(self, *words: str) -> subprocess.Popen[str]:
        """Start a command that goes on, such as a watch; the caller ends it."""
        return subprocess.Popen(
            [*self._command, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def ok(self, *words: str) -> bool:
        """Whether the command succeeds."""
        return self._do(*words).returncode == 0

    def text(self, *words: str) -> str:
        """What the command prints; empty where it fails."""
        done = self._do(*words)
        return done.stdout.strip() if done.returncode == 0 else ""

    def run(self, *words: str, stdin: str | None = None) -> str:
        """What the command prints. Raises SandboxError with its message where it fails."""
        done = self._do(*words, stdin=stdin)
        if done.returncode != 0:
            raise SandboxError(f"kubectl {' '.join(words[:4])}: {done.stderr.strip()}")
        return done.stdout

    def get(self, *words: str) -> Any:
        """The object that `kubectl get … -o json` prints. Raises SandboxError where it fails."""
        return json.loads(self.run("get", *words, "-o", "json"))

    def apply(self, objects: list[dict[str, Any]] | str) -> None:
        """Server-side apply of objects, or of a YAML text. Raises SandboxError where one is refused."""
        text = objects if isinstance(objects, str) else "\n---\n".join(json.dumps(one) for one in objects)
        self.run("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)
