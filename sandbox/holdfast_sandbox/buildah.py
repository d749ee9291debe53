"""Images are built and pushed by buildah, in a storage of our own: never root's, and without a daemon."""

from __future__ import annotations

import configparser
import io
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from holdfast_sandbox import private, registry
from holdfast_sandbox.base import BASE_NAME
from holdfast_sandbox.errors import SandboxError
from holdfast_sandbox.paths import Paths

DRIVERS: Final = ("overlay", "vfs")
"""Storage drivers, the better first: vfs copies the whole file system for every step of a Dockerfile."""
CERTIFICATES_IN_BUILD: Final = "/run/build-certificates.crt"
_CERTIFICATE_VARIABLES: Final = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
_SYSTEM_CERTIFICATES: Final = "/etc/ssl/certs/ca-certificates.crt"
_PIP_VARIABLES: Final = {
    "PIP_INDEX_URL": "index-url",
    "PIP_EXTRA_INDEX_URL": "extra-index-url",
    "PIP_TRUSTED_HOST": "trusted-host",
    "PIP_DEFAULT_TIMEOUT": "timeout",
}
_PIP_FILES: Final = ("/etc/pip.conf", "~/.pip/pip.conf", "~/.config/pip/pip.conf")


def build(
    paths: Paths,
    dockerfile: Path,
    context: Path,
    tag: str,
    *,
    reproducible: bool = False,
    fresh: bool = False,
) -> None:
    """Build a Dockerfile whose base is in the storage; nothing is pulled. Raises SandboxError.

    `reproducible`: every file gets the time 0, so that the same files give the same digest. `fresh`: no
    step comes from an earlier build.
    """
    with _scratch(paths) as scratch:
        options = ["--pull-never", "--layers", "--signature-policy", str(_policy(scratch))]
        options += _pip_mounts(scratch)
        if reproducible:
            options += ["--timestamp", "0", "--identity-label=false"]
        if fresh:
            options += ["--no-cache"]
        run(paths, "bud", *options, "-t", tag, "-f", dockerfile, context)


def push(paths: Paths, tag: str, target: str) -> str:
    """Push an image to the sandbox's registry; returns its digest. Raises SandboxError."""
    with _scratch(paths) as scratch:
        digest_file = scratch / "digest"
        options = ["--tls-verify=false", "--quiet", "--digestfile", str(digest_file)]
        options += ["--signature-policy", str(_policy(scratch))]
        run(paths, "push", *options, tag, f"docker://{target}")
        return digest_file.read_text().strip()


def ensure_base_in_storage(paths: Paths, archive: Path) -> None:
    """Have the base image under its public name. A base made anew replaces the old one. Raises SandboxError."""
    # The second tag tells which base this is.
    marker = f"localhost/holdfast-base:{archive.stem}"
    if marker in run(paths, "images", "--format", "{{.Name}}:{{.Tag}}").split():
        return
    with _scratch(paths) as scratch:
        options = ["--quiet", "--signature-policy", str(_policy(scratch))]
        identity = run(paths, "pull", *options, f"oci-archive:{archive}").splitlines()[-1]
    for name in (BASE_NAME, marker):
        run(paths, "tag", identity, name)
    forget_others(paths, marker)


def forget_others(paths: Paths, tag: str) -> None:
    """Remove the images of the same repository with another tag: what they were built from is gone."""
    repository = tag.rpartition(":")[0]
    names = run(paths, "images", "--format", "{{.Name}}:{{.Tag}}").split()
    old = [name for name in names if name.rpartition(":")[0] == repository and name != tag]
    if old:
        # A stale image costs disk only, so that it cannot be removed is no reason to stop.
        run(paths, "rmi", *old, check=False)


def run(paths: Paths, *words: str | Path, check: bool = True) -> str:
    """Run buildah; returns what it prints. Raises SandboxError with the end of its output."""
    driver = storage_driver(paths)
    with _scratch(paths) as scratch:
        done = _buildah(paths, driver, scratch, words)
    if check and done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise SandboxError(f"buildah {words[0]} failed:\n{tail}")
    return done.stdout.strip()


def storage_driver(paths: Paths) -> str:
    """`overlay` where this machine's cache folder carries it, else `vfs`. Found out once per cache."""

    def find() -> str:
        with _scratch(paths) as scratch:
            works = _buildah(paths, DRIVERS[0], scratch, ("info",)).returncode == 0
        return DRIVERS[0] if works else DRIVERS[1]

    return private.once(paths.cache / "buildah-driver", find).strip()


def _buildah(
    paths: Paths, driver: str, scratch: Path, words: Sequence[str | Path]
) -> subprocess.CompletedProcess[str]:
    command = ["buildah", "--root", str(paths.cache / f"buildah-{driver}")]
    command += ["--runroot", str(paths.run / f"buildah-{driver}"), "--storage-driver", driver]
    if driver == "overlay":
        # Else the storage is left mounted upon itself, which nobody but a reboot would undo.
        command += ["--storage-opt", "overlay.skip_mount_home=true"]
    environment = os.environ | {
        # No namespaces or cgroups of their own: works inside a container as well.
        "BUILDAH_ISOLATION": "chroot",
        # Root's own logins and settings are not the sandbox's.
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        # Credentials in a file: none appears in a command line.
        "REGISTRY_AUTH_FILE": str(registry.auth_file(paths)),
    }
    return subprocess.run(
        [*command, *(str(word) for word in words)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=scratch,
        check=False,
    )


def pip_configuration(environ: Mapping[str, str], files: Mapping[str, str], *, certificates: bool) -> str:
    """One pip.conf that says what this machine's files and variables say of the package index.

    `files`: text by path, later ones win; variables win over files. `certificates`: trust those that the build
    mounts. Only what concerns the index is taken: paths of this machine mean nothing inside a build.
    """
    merged: dict[str, str] = {}
    wanted = set(_PIP_VARIABLES.values())
    for text in files.values():
        parser = configparser.RawConfigParser()
        parser.read_string(text)
        for section in ("global", "install"):
            if parser.has_section(section):
                merged |= {key: value for key, value in parser.items(section) if key in wanted}
    merged |= {option: environ[name] for name, option in _PIP_VARIABLES.items() if environ.get(name)}
    if certificates:
        merged["cert"] = CERTIFICATES_IN_BUILD
    result = configparser.RawConfigParser()
    result.read_dict(
        {"global": {**merged, "disable-pip-version-check": "true", "root-user-action": "ignore"}}
    )
    written = io.StringIO()
    result.write(written)
    return written.getvalue()


def _pip_mounts(scratch: Path) -> Iterator[str]:
    """How pip reaches the package index: mounted while the build runs, never in a layer nor in argv."""
    bundle = next(
        (
            path
            for path in (*(os.environ.get(name, "") for name in _CERTIFICATE_VARIABLES), _SYSTEM_CERTIFICATES)
            if path and Path(path).is_file()
        ),
        None,
    )
    found = [Path(name).expanduser() for name in _PIP_FILES]
    files = {str(file): file.read_text() for file in found if file.is_file()}
    configuration = scratch / "pip.conf"
    configuration.touch(mode=0o600)
    configuration.write_text(pip_configuration(os.environ, files, certificates=bundle is not None))
    yield f"--volume={configuration}:/etc/pip.conf:ro"
    if bundle is not None:
        yield f"--volume={bundle}:{CERTIFICATES_IN_BUILD}:ro"


def _policy(scratch: Path) -> Path:
    """Images come from this machine alone: nothing is signed. Written here because the package may bring none."""
    policy = scratch / "policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}\n')
    return policy


@contextmanager
def _scratch(paths: Paths) -> Iterator[Path]:
    parent = paths.cache / "tmp"
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        yield Path(folder)
