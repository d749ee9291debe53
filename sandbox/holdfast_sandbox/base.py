"""The base image that the project's Dockerfiles name, made from Debian's packages once and cached.

A machine with access to the public registry would pull `python:3.11-slim`. Here a Debian of the same release with
the same Python stands in for it under the same name, so that the Dockerfiles are built unchanged.
"""

from __future__ import annotations

import hashlib
import inspect
import re
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Final

from holdfast_sandbox import oci
from holdfast_sandbox.errors import SandboxError
from holdfast_sandbox.paths import Paths
from holdfast_sandbox.progress import Progress

BASE_NAME: Final = "docker.io/library/python:3.11-slim"
RELEASE: Final = "bookworm"
"""The Debian release whose python3 is 3.11."""
PACKAGES: Final = "ca-certificates,python3,python3-pip,python3-venv"
REMOVED: Final = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/info",
    "var/lib/apt/lists",
    "var/cache/apt",
    "var/cache/debconf",
    "var/log",
)


def ensure_base(paths: Paths, progress: Progress) -> Path:
    """The base image as an OCI archive in the cache; made at first use (about 100 s)."""
    archive = paths.cache / "images" / f"python-3.11-{recipe_hash()}.tar"
    if archive.is_file():
        return archive
    archive.parent.mkdir(parents=True, exist_ok=True)
    work = archive.with_suffix(".rootfs")
    shutil.rmtree(work, ignore_errors=True)
    with progress.step("base image python:3.11-slim from Debian's packages, about 100 s", announce=True):
        _bootstrap(work)
        _make_like_official(work)
        _wrap(work, archive)
    shutil.rmtree(work)
    for outdated in archive.parent.glob("python-3.11-*.tar"):
        if outdated != archive:
            outdated.unlink()
    return archive


def recipe_hash() -> str:
    """Twelve hex digits that change when what is in the base image may change."""
    parts = (_bootstrap, _make_like_official, _wrap, oci.write_oci_archive)
    recipe = repr((BASE_NAME, RELEASE, PACKAGES, REMOVED)) + "".join(
        inspect.getsource(part) for part in parts
    )
    return hashlib.sha256(recipe.encode()).hexdigest()[:12]


def _bootstrap(root: Path) -> None:
    command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", RELEASE, str(root), _mirror()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-8:])
        raise SandboxError(f"the base image cannot be made; debootstrap says:\n{tail}")


def _mirror() -> str:
    """The Debian mirror that this machine's apt uses."""
    shown = subprocess.run(["apt-cache", "policy"], capture_output=True, text=True, check=False).stdout
    found = re.search(rf"(https?://\S+) {RELEASE}/main", shown)
    if not found:
        raise SandboxError(
            f"apt knows no mirror with Debian {RELEASE}: add one to /etc/apt/sources.list.d "
            "and run apt-get update"
        )
    return found[1]


def _make_like_official(root: Path) -> None:
    (root / "usr/local/bin").mkdir(parents=True, exist_ok=True)
    for alias, target in (
        ("python", "/usr/bin/python3"),
        ("python3", "/usr/bin/python3"),
        ("pip", "/usr/bin/pip3"),
    ):
        link = root / "usr/local/bin" / alias
        link.unlink(missing_ok=True)
        link.symlink_to(target)
    # The official image lets pip install into the system; Debian's forbids it.
    for marker in root.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
        marker.unlink()
    # By content, not by time: the image gives every file the same time, and a byte code whose time differs
    # from its source's would be compiled anew at every start.
    compile_all = ["-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash"]
    libraries = [f"/{folder.relative_to(root)}" for folder in root.glob("usr/lib/python3*")]
    done = subprocess.run(
        ["chroot", str(root), "/usr/bin/python3", *compile_all, *libraries],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SandboxError(f"the base image's Python cannot be compiled: {done.stdout[-500:]}")
    for folder in REMOVED:
        shutil.rmtree(root / folder, ignore_errors=True)
    (root / "var/log").mkdir(parents=True, exist_ok=True)
    shutil.rmtree(root / "dev", ignore_errors=True)
    (root / "dev").mkdir()
    # This machine's mirror and resolver are nobody else's business.
    for file in ("etc/apt/sources.list", "etc/resolv.conf", "etc/hostname"):
        (root / file).unlink(missing_ok=True)
    (root / "etc/resolv.conf").touch()


def _wrap(root: Path, archive: Path) -> None:
    layer = archive.with_suffix(".layer")

    def anonymous(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.mtime = 0
        return info

    with tarfile.open(layer, "w", format=tarfile.PAX_FORMAT) as tar:
        for entry in sorted(root.iterdir()):
            tar.add(entry, arcname=entry.name, filter=anonymous)
    oci.write_oci_archive(archive, BASE_NAME, layer)
    layer.unlink()
