"""A bucket: moto's server as a process of its own, on loopback."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
from bench.ports import free_port

from holdfast_services.s3 import S3Bodies, S3Bucket

BUCKET = "holdfast-bodies"
REGION = "us-east-1"


@dataclass
class Moto:
    """The stand-in for S3."""

    url: str
    process: subprocess.Popen[bytes]

    def keys(self) -> list[str]:
        """What lies in the bucket."""
        client = boto3.client("s3", endpoint_url=self.url, region_name=REGION)
        return [found["Key"] for found in client.list_objects_v2(Bucket=BUCKET).get("Contents", ())]

    def uploads(self) -> int:
        """Uploads that were begun and neither finished nor abandoned."""
        client = boto3.client("s3", endpoint_url=self.url, region_name=REGION)
        return len(client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", ()))


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")


@contextlib.contextmanager
def running_moto(folder: Path) -> Iterator[Moto]:
    """The stand-in, until the end of the block."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with (folder / "moto.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"{url}/moto-api/", timeout=5).close()
                break
            except (OSError, urllib.error.URLError):
                assert time.monotonic() < deadline, (folder / "moto.log").read_text()
                time.sleep(0.1)
        yield Moto(url, process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def one_moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    with running_moto(tmp_path_factory.mktemp("moto")) as moto:
        yield moto


@pytest.fixture
def moto(one_moto: Moto) -> Moto:
    """With an empty bucket."""
    urllib.request.urlopen(f"{one_moto.url}/moto-api/reset", data=b"", timeout=5).close()
    boto3.client("s3", endpoint_url=one_moto.url, region_name=REGION).create_bucket(Bucket=BUCKET)
    return one_moto


@pytest.fixture
async def bodies(moto: Moto) -> AsyncIterator[S3Bodies]:
    """The store under test."""
    store = await S3Bodies.connect(S3Bucket(BUCKET, REGION, moto.url))
    try:
        yield store
    finally:
        await store.close()
