"""An author at a terminal of the sandbox, in a project of their own."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import Any

from pulumi_project import Project

PROJECT = f"""name: shop
main: stacks/
runtime: {{name: python, options: {{virtualenv: {sys.prefix}}}}}
"""
PROGRAM = """
import endpoints
import pulumi_holdfast as holdfast

endpoints.declare(
    holdfast.Platform.from_stack("organization/holdfast/sandbox-shared", tokens=[TOKEN])
)
"""
STACK_CODE = """import pulumi_holdfast as holdfast


def declare(platform: holdfast.Platform) -> None:
    pass
"""


@dataclass
class Author:
    """A terminal of the sandbox, in a project with stack code and nothing declared."""

    project: Project
    sandbox: Any
    token: str
    """Opens what the program declares."""
    seconds: list[float] = field(default_factory=list)
    """How long each command took."""

    def run(self, text: str) -> str:
        """One block of the guide; fails the test with its output."""
        began = time.monotonic()
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self.project.folder,
            env={**self.sandbox.environment, "HOLDFAST_TOKEN": self.token},
            capture_output=True,
            text=True,
            timeout=180,
        )
        self.seconds.append(time.monotonic() - began)
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def image(self) -> str:
        containers = self.project.resource("hello-deployment")["inputs"]["spec"]["template"]["spec"][
            "containers"
        ]
        return str(containers[0]["image"])
