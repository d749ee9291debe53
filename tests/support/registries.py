"""Registries of tests: real ones, with images in them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

START_S = 30.0


@contextlib.contextmanager
def running(command: list[Any], url: str, **environment: str) -> Iterator[None]:
    """A server of a test, from its first answer at `url` on; killed at the end."""
    process = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + START_S
        while not _answers(url):
            assert process.poll() is None, f"{command[0]} ended with {process.returncode}"
            assert time.monotonic() < deadline, f"{command[0]} did not answer within {START_S} s"
            time.sleep(0.05)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


@dataclass(frozen=True)
class Image:
    """An image in the registry."""

    registry: str
    digest: str
    index: str
    size: int


def push(host: str, repository: str, authorization: str) -> Image:
    """Push `:1`, an image with one layer, and `:multi`, an index that names it, by the registry's own interface.
    `authorization`: the header of all requests."""

    def call(method: str, url: str, data: bytes, **headers: str) -> Any:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        request = urllib.request.Request(url, data=data, method=method, headers=named)
        request.add_header("Authorization", authorization)
        return urllib.request.urlopen(request, timeout=10)

    base = f"http://{host}/v2/{repository}"
    blobs = {"config": b"{}", "layer": b"x" * 5000}
    described = {}
    for name, data in blobs.items():
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        with call("POST", f"{base}/blobs/uploads/", b"") as answer:
            place = answer.headers["Location"]
        mark = "&" if "?" in place else "?"
        call("PUT", f"{place}{mark}digest={digest}", data, Content_Type="application/octet-stream").close()
        described[name] = {"mediaType": "application/octet-stream", "digest": digest, "size": len(data)}
    kind = "application/vnd.oci.image.manifest.v1+json"
    config = {**described["config"], "mediaType": "application/vnd.oci.image.config.v1+json"}
    manifest = {"schemaVersion": 2, "mediaType": kind, "config": config, "layers": [described["layer"]]}
    body = json.dumps(manifest).encode()
    digest = "sha256:" + hashlib.sha256(body).hexdigest()
    call("PUT", f"{base}/manifests/1", body, Content_Type=kind).close()
    kind_of_index = "application/vnd.oci.image.index.v1+json"
    platform = {"os": "linux", "architecture": "amd64"}
    one = {"mediaType": kind, "digest": digest, "size": len(body), "platform": platform}
    body = json.dumps({"schemaVersion": 2, "mediaType": kind_of_index, "manifests": [one]}).encode()
    call("PUT", f"{base}/manifests/multi", body, Content_Type=kind_of_index).close()
    return Image(host, digest, "sha256:" + hashlib.sha256(body).hexdigest(), 5000)
