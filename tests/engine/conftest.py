"""The real Pulumi engine on projects below a temporary folder, against an AWS stand-in of their own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from bench.ports import free_port
from pulumi_project import Project, Pulumi, new_project

from holdfast_sandbox import builds, plugins
from holdfast_sandbox.paths import default_paths
from holdfast_sandbox.progress import Progress

PASSPHRASE = "only-for-tests"
REGION = "us-east-1"
SERVER_START_S = 30.0


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
    port = free_port()
    server = subprocess.Popen(
        [Path(sys.executable).with_name("moto_server"), "-H", "127.0.0.1", "-p", str(port)],
        env={**os.environ, "MOTO_IAM_LOAD_MANAGED_POLICIES": "true"},
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


@pytest.fixture(scope="session")
def make_pulumi(engine_home: Path, aws_url: str) -> Callable[[Path], Pulumi]:
    """Makes the `pulumi` command with its state in a new folder."""
    return lambda state: _pulumi(engine_home, aws_url, state)


@pytest.fixture
def pulumi(make_pulumi: Callable[[Path], Pulumi], tmp_path: Path) -> Pulumi:
    """The `pulumi` command; its state is this test's own."""
    return make_pulumi(tmp_path / "state")


def _pulumi(engine_home: Path, aws_url: str, state: Path) -> Pulumi:
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
            # Compiled once per test run and not into the checkout: the SDKs are large.
            "PYTHONPYCACHEPREFIX": str(engine_home / "pycache"),
            "AWS_ENDPOINT_URL": aws_url,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }
    )


@pytest.fixture
def project(pulumi: Pulumi, tmp_path: Path) -> Project:
    """An empty project `shop` with the stack `dev`."""
    return new_project(tmp_path / "project", pulumi)
