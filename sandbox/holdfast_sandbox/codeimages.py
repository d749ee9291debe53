"""Builds images of users' own code: the program that HOLDFAST_BUILDER names in a sandbox.

`python -m holdfast_sandbox image build [--push] FOLDER REFERENCE` and `… image digest REFERENCE`, as the components
call it. An image goes to the sandbox's own registry and to no other.
"""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path
from typing import Final

from holdfast_sandbox import buildah, images, registry
from holdfast_sandbox.base import ensure_base
from holdfast_sandbox.errors import SandboxError
from holdfast_sandbox.paths import Paths
from holdfast_sandbox.progress import Progress

RECIPE: Final = "Containerfile"
_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"


def build(paths: Paths, folder: Path, reference: str, *, push: bool, fresh: bool = False) -> str:
    """Build a folder with a Containerfile; returns the digest in the registry, or the image's id on this machine.

    `fresh`: no step comes from an earlier build.
    Raises SandboxError.
    """
    target = _target(reference)
    progress = Progress()
    with images.exclusive(paths, progress):
        buildah.ensure_base_in_storage(paths, ensure_base(paths, progress))
        buildah.build(paths, folder / RECIPE, folder, reference, reproducible=True, fresh=fresh)
        if not push:
            return buildah.run(paths, "inspect", "--format", "{{.FromImageID}}", reference)
        digest = buildah.push(paths, reference, target)
        buildah.forget_others(paths, reference)
        return digest


def digest(paths: Paths, reference: str) -> str | None:
    """The digest of a tag in the registry; None where it is not there. Raises SandboxError."""
    name, _, tag = _target(reference).partition("/")[2].rpartition(":")
    request = urllib.request.Request(
        f"http://{registry.LISTENER}/v2/{name}/manifests/{tag}",
        method="HEAD",
        headers={"Accept": _MANIFEST, "Authorization": images.authorization(paths)},
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return str(answer.headers["Docker-Content-Digest"])
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise SandboxError(f"the registry answers {error.code} when asked for {reference}") from error
    except OSError as error:
        raise SandboxError(f"the registry does not answer ({error}): run `holdfast sandbox up`") from error


def _target(reference: str) -> str:
    """The same repository under the address that this machine reaches without a name server."""
    if not reference.startswith(f"{registry.HOST}/") or ":" not in reference.removeprefix(
        f"{registry.HOST}/"
    ):
        raise SandboxError(
            f"{reference} is not in the sandbox's registry: declare a repository {registry.HOST}/<name>"
        )
    return registry.LISTENER + reference.removeprefix(registry.HOST)
