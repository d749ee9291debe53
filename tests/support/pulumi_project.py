"""The `pulumi` command and a project as tests use them; fixtures make them (tests/engine, tests/cluster)."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class Pulumi:
    """The `pulumi` command with a home, a backend and plugins of its own."""

    environment: Mapping[str, str]

    def __call__(
        self,
        *arguments: str,
        cwd: Path,
        check: bool = True,
        timeout_s: float = 100,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run one command in a project's folder; standard error is part of `stdout`. Fails the test when `check`
        and the command fails, with its output."""
        with self.started(*arguments, cwd=cwd, environment=environment) as process:
            output, _ = process.communicate(timeout=timeout_s)
        if check and process.returncode != 0:
            pytest.fail(f"pulumi {' '.join(arguments)} ended with {process.returncode}:\n{output}")
        return subprocess.CompletedProcess(process.args, process.returncode, output, "")

    @contextlib.contextmanager
    def started(
        self, *arguments: str, cwd: Path, environment: Mapping[str, str] | None = None
    ) -> Iterator[subprocess.Popen[str]]:
        """The same as a running process; what is left of its process group is killed at the end."""
        process = subprocess.Popen(
            ["pulumi", *arguments, "--non-interactive", "--color=never"],
            cwd=cwd,
            env={**self.environment, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@dataclass
class Project:
    """A Pulumi project with one stack."""

    folder: Path
    pulumi: Pulumi
    environment: dict[str, str] = field(default_factory=dict)
    """Added to that of every command."""
    stack: str = "dev"
    """The stack's name."""

    def write(self, program: str) -> None:
        """Replace the program."""
        (self.folder / "__main__.py").write_text(textwrap.dedent(program))

    def run(self, *arguments: str, check: bool = True, timeout_s: float = 100) -> str:
        """A `pulumi` command in this project; returns all its output."""
        return self.attempt(*arguments, check=check, timeout_s=timeout_s).stdout

    def attempt(
        self, *arguments: str, check: bool = False, timeout_s: float = 100
    ) -> subprocess.CompletedProcess[str]:
        """The same, with the exit code."""
        return self.pulumi(
            *arguments, cwd=self.folder, check=check, timeout_s=timeout_s, environment=self.environment
        )

    def up(self, *flags: str) -> str:
        """`pulumi up` without asking."""
        return self.run("up", "--yes", "--skip-preview", *flags)

    def preview(self, *flags: str) -> str:
        """`pulumi preview`."""
        return self.run("preview", *flags)

    def steps(self, *flags: str) -> dict[str, str]:
        """What a preview would do: name of resource → operation; unchanged ones are left out."""
        output = self.run("preview", "--json", *flags)
        plan = json.loads(output[output.index("{") :])
        steps = [step for step in plan.get("steps", []) if step["op"] != "same"]
        return {step["urn"].rpartition("::")[2]: step["op"] for step in steps}

    def expect_no_changes(self) -> None:
        """Fails the test where an `up` would change anything."""
        self.run("up", "--yes", "--skip-preview", "--expect-no-changes")

    def outputs(self, *flags: str) -> dict[str, Any]:
        """The stack's outputs."""
        result: dict[str, Any] = json.loads(self.run("stack", "output", "--json", *flags))
        return result

    def export(self, *flags: str) -> dict[str, Any]:
        """The stack's state."""
        result: dict[str, Any] = json.loads(self.run("stack", "export", *flags))
        return result

    def resource(self, name: str) -> dict[str, Any]:
        """A resource's state by its name in the program."""
        found = self.find(name)
        if found is None:
            pytest.fail(f"no resource {name} in the state")
        return found

    def find(self, name: str) -> dict[str, Any] | None:
        """The same, None where there is none."""
        for resource in self.export()["deployment"].get("resources", []):
            if resource["urn"].endswith(f"::{name}"):
                found: dict[str, Any] = resource
                return found
        return None


def new_project(folder: Path, pulumi: Pulumi, *, stack: str = "dev") -> Project:
    """An empty project `shop` with one stack."""
    folder.mkdir()
    (folder / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
    made = Project(folder, pulumi, stack=stack)
    made.write("")
    made.run("stack", "init", stack)
    return made
