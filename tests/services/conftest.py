"""What tests of several services share: data planes on loopback, and the figures of proofs."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from dataplane import Plane
from dataplane_cluster import ClusterPlane

from holdfast_sandbox import builds
from holdfast_sandbox.paths import default_paths
from holdfast_sandbox.progress import Progress


@pytest.fixture(scope="session")
def nats_server() -> Path:
    """The broker's binary; built where it is missing."""
    built = builds.ensure(default_paths().cache, Progress(), ["nats"])
    return built["nats"].binaries["nats-server"]


@pytest.fixture
async def plane(tmp_path: Path, nats_server: Path) -> AsyncIterator[Plane]:
    """A broker and nothing else yet."""
    plane = Plane(tmp_path, nats_server)
    try:
        await plane.start()
        yield plane
    finally:
        await plane.stop()


@pytest.fixture
async def three_brokers(tmp_path: Path, nats_server: Path) -> AsyncIterator[ClusterPlane]:
    """Three brokers that keep everything thrice, and nothing else yet."""
    plane = ClusterPlane(tmp_path, nats_server)
    try:
        await plane.start()
        yield plane
    finally:
        await plane.stop()


@pytest.fixture(scope="session")
def scale() -> float:
    """HOLDFAST_PROOF_SCALE multiplies the sizes of the proofs: below 1 for a quick look; 1: as they are stated."""
    return float(os.environ.get("HOLDFAST_PROOF_SCALE", "1"))


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Print a figure of a proof so that it is seen even where the test passes."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def show(text: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"\n  {request.node.name}: {text}", flush=True)

    return show
