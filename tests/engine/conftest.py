"""The real Pulumi engine on projects below a temporary folder, against an AWS stand-in of their own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest

from holdfast_sandbox import builds, plugins
from holdfast_sandbox.paths import default_paths
from holdfast_sandbox.progress import Progress

PASSPHRASE = "only-for-tests"
REGION = "us-east-1"
SERVER_START_S = 30.0


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


@pytest.fixture(scope="session")
def engine_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`bin/` with the engine and the language host, and `home/` (PULUMI_HOME) with the providers."""
    folder = tmp_path_factory.mktemp("engine")
    tools = builds.ensure(default_paths().cache, Progress(), ["pulumi", "pulumi-kubernetes"])
    builds.link_all(tools, folder / "bin", folder / "home" / "plugins")
    plugins.install(folder / "bin", folder / "home" / "plugins")
    return folder


@pytest.fixture(scope="session")
def aws_url() -> Iterator[str]:
    """An AWS stand-in of this test run's own."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    server = subprocess.Popen(
        [Path(sys.executable).with_name("moto_server"), "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _wait_for(f"http://127.0.0.1:{port}/moto-api/data.json", server)
        yield f"http://127.0.0.1:{port}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + SERVER_START_S
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            if server.poll() is not None or time.monotonic() > deadline:
                pytest.fail("the AWS stand-in did not start")
            time.sleep(0.05)


@dataclass(frozen=True)
class Aws:
    """The AWS stand-in as a test sees it."""

    url: str

    def client(self, service: str) -> Any:
        """A boto3 client of it."""
        return boto3.client(
            service,  # type: ignore[call-overload]
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )


@pytest.fixture
def aws(aws_url: str) -> Aws:
    """The AWS stand-in, empty."""
    urllib.request.urlopen(urllib.request.Request(f"{aws_url}/moto-api/reset", method="POST")).close()
    return Aws(aws_url)


@pytest.fixture
def pulumi(engine_home: Path, aws_url: str, tmp_path: Path) -> Pulumi:
    """The `pulumi` command; its state is this test's own."""
    state = tmp_path / "state"
    state.mkdir()
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
    path = f"{engine_home / 'bin'}:{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
    return Pulumi(
        {
            **kept,
            "PATH": path,
            "PULUMI_HOME": str(engine_home / "home"),
            "PULUMI_BACKEND_URL": f"file://{state}",
            "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PYTHONDONTWRITEBYTECODE": "1",
            "AWS_ENDPOINT_URL": aws_url,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }
    )


@pytest.fixture
def project(pulumi: Pulumi, tmp_path: Path) -> Project:
    """An empty project `shop` with the stack `dev`."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
    made = Project(folder, pulumi)
    made.write("")
    made.run("stack", "init", "dev")
    return made
