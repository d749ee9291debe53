"""Container images without a public registry: made here from static binaries and from the project's Dockerfiles.

What a production cluster pulls under a public name gets that same name here, so manifests stay the same.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from holdfast_sandbox import registry
from holdfast_sandbox.base import BASE_NAME, ensure_base
from holdfast_sandbox.builds import Built
from holdfast_sandbox.errors import SandboxError
from holdfast_sandbox.node import PAUSE_IMAGE, ctr
from holdfast_sandbox.paths import CHECKOUT, Paths
from holdfast_sandbox.progress import Progress

KEDA_IMAGES: Final[Mapping[str, str]] = {
    "keda-operator": "ghcr.io/kedacore/keda:2.20.2",
    "keda-adapter": "ghcr.io/kedacore/keda-metrics-apiserver:2.20.2",
    "keda-webhooks": "ghcr.io/kedacore/keda-admission-webhooks:2.20.2",
}
NATS_IMAGE: Final = "docker.io/library/nats:2.15.2-alpine"


@dataclass(frozen=True, slots=True)
class StaticImage:
    """An image that is one static binary."""

    tool: str
    binary: str
    image: str
    path: str
    """Where the binary stands in the image; also its entrypoint."""
    user: str = "65532:65532"


STATIC_IMAGES: Final = (
    StaticImage("pause", "pause", PAUSE_IMAGE, "/pause"),
    StaticImage("keda", "keda-operator", KEDA_IMAGES["keda-operator"], "/keda"),
    StaticImage("keda", "keda-adapter", KEDA_IMAGES["keda-adapter"], "/keda-adapter"),
    StaticImage("keda", "keda-webhooks", KEDA_IMAGES["keda-webhooks"], "/keda-admission-webhooks"),
    StaticImage("nats", "nats-server", NATS_IMAGE, "/nats-server"),
)


@dataclass(frozen=True, slots=True)
class ProjectImage:
    """An image that the project builds from a Dockerfile of its own."""

    name: str
    """Repository below the registry."""
    dockerfile: Path
    context: Path
    inputs: tuple[Path, ...]
    """Files and folders that the image is made from: its tag is their hash."""


def project_images(checkout: Path = CHECKOUT) -> list[ProjectImage]:
    """The services' image and one per template that has a Dockerfile."""
    services = ProjectImage(
        "holdfast/services",
        checkout / "services" / "Dockerfile",
        checkout,
        (checkout / "services", checkout / "contract", checkout / "web"),
    )
    templates = [
        ProjectImage(
            f"holdfast/{dockerfile.parent.name}", dockerfile, dockerfile.parent, (dockerfile.parent,)
        )
        for dockerfile in sorted((checkout / "templates").glob("*/Dockerfile"))
    ]
    return [services, *templates]


def ensure_platform_images(paths: Paths, tools: Mapping[str, Built], progress: Progress) -> None:
    """Put the images that the cluster itself needs on the node, under their public names."""
    there = set(ctr(paths, "images", "ls", "-q").stdout.split())
    for one in STATIC_IMAGES:
        if one.image in there:
            continue
        with progress.step(f"image {one.image}"), tempfile.TemporaryDirectory(dir=paths.run) as scratch:
            archive = Path(scratch) / "image.tar"
            write_static_image(archive, one, tools[one.tool].binaries[one.binary])
            done = ctr(paths, "images", "import", archive)
            if done.returncode != 0:
                raise SandboxError(f"{one.image} cannot be put on the node: {done.stderr.strip()}")


def ensure_project_images(paths: Paths, progress: Progress) -> dict[str, str]:
    """Build what changed, push it to the private registry, and return name → reference with digest.

    The references are also written to `images.json` in the state folder.
    """
    known_file = paths.state / "images.json"
    known: dict[str, str] = json.loads(known_file.read_text()) if known_file.is_file() else {}
    references = {}
    for image in project_images():
        references[image.name] = ensure_image(paths, image, progress, known.get(image.name))
    known_file.write_text(json.dumps(known | references, indent=1) + "\n")
    return references


def ensure_image(paths: Paths, image: ProjectImage, progress: Progress, known: str | None = None) -> str:
    """Build and push one image unless the registry has it; returns `<repository>:<tag>@<digest>`."""
    tag = f"{registry.HOST}/{image.name}:{_content_hash(image)}"
    if known and known.startswith(f"{tag}@") and _in_registry(paths, known):
        return known
    base = ensure_base(paths, progress)
    with progress.step(f"image {image.name}", announce=True):
        return _build_and_push(paths, image, tag, base)


def buildah(paths: Paths, *words: str | Path, check: bool = True) -> str:
    """Run buildah with a storage of its own. Raises SandboxError with the end of its output."""
    root = paths.cache / "buildah"
    command = ["buildah", "--root", str(root), "--runroot", str(paths.run / "buildah")]
    command += ["--storage-driver", "vfs"]
    environment = os.environ | {
        "BUILDAH_ISOLATION": "chroot",
        "HOME": str(paths.var),
        "TMPDIR": str(_scratch(paths)),
        "REGISTRY_AUTH_FILE": str(registry.auth_file(paths)),
    }
    done = subprocess.run(
        [*command, *(str(word) for word in words)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    if check and done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise SandboxError(f"buildah {words[0]} failed:\n{tail}")
    return done.stdout.strip()


def _scratch(paths: Paths) -> Path:
    folder = paths.cache / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _build_and_push(paths: Paths, image: ProjectImage, tag: str, base: Path) -> str:
    policy = paths.etc / "image-policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}\n')
    _ensure_base_in_storage(paths, base, policy)
    arguments = ["bud", "--pull-never", "--layers", "--quiet", "--signature-policy", str(policy)]
    arguments += list(_build_environment())
    buildah(paths, *arguments, "-t", tag, "-f", image.dockerfile, image.context)
    with tempfile.TemporaryDirectory(dir=_scratch(paths)) as scratch:
        digest_file = Path(scratch) / "digest"
        target = tag.replace(registry.HOST, registry.LISTENER, 1)
        push = ["push", "--tls-verify=false", "--quiet", "--digestfile", str(digest_file)]
        buildah(paths, *push, "--signature-policy", str(policy), tag, f"docker://{target}")
        return f"{tag}@{digest_file.read_text().strip()}"


def _ensure_base_in_storage(paths: Paths, base: Path, policy: Path) -> None:
    # The base's own hash is its second tag: a base made anew replaces the old one.
    marker = f"localhost/holdfast-base:{base.stem}"
    if marker in buildah(paths, "images", "--format", "{{.Name}}:{{.Tag}}"):
        return
    pulled = buildah(paths, "pull", "--quiet", "--signature-policy", policy, f"oci-archive:{base}")
    for name in (BASE_NAME, marker):
        buildah(paths, "tag", pulled.splitlines()[-1], name)


def _build_environment() -> Iterator[str]:
    """How the build reaches the package registry as this machine does: mounts and variables, never layers."""
    for certificates in ("/etc/ssl/certs/ca-certificates.crt",):
        if Path(certificates).is_file():
            yield from ("--volume", f"{certificates}:/run/build-certificates.crt:ro")
            yield "--env=PIP_CERT=/run/build-certificates.crt"
    for variable in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        if value := os.environ.get(variable) or os.environ.get(variable.lower()):
            yield f"--build-arg={variable}={value}"
    for file in ("/etc/pip.conf", str(Path.home() / ".config/pip/pip.conf")):
        if Path(file).is_file():
            yield from ("--volume", f"{file}:/etc/pip.conf:ro")
            break
    yield from ("--volume", "/etc/resolv.conf:/etc/resolv.conf:ro", "--volume", "/etc/hosts:/etc/hosts:ro")


def _content_hash(image: ProjectImage) -> str:
    digest = hashlib.sha256()
    for top in image.inputs:
        files = sorted(file for file in top.rglob("*") if file.is_file()) if top.is_dir() else [top]
        for file in files:
            if "__pycache__" in file.parts or not file.exists():
                continue
            digest.update(str(file.relative_to(image.context)).encode() + b"\0")
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:12]


def _in_registry(paths: Paths, reference: str) -> bool:
    target = reference.replace(registry.HOST, registry.LISTENER, 1)
    repository, _, digest = target.partition("@")
    name = repository.rpartition(":")[0].partition("/")[2]
    import base64
    import urllib.request

    request = urllib.request.Request(
        f"http://{registry.LISTENER}/v2/{name}/manifests/{digest}",
        method="HEAD",
        headers={
            "Accept": "application/vnd.oci.image.manifest.v1+json",
            "Authorization": "Basic "
            + base64.b64encode(f"{registry.USER}:{registry.password(paths)}".encode()).decode(),
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def write_static_image(archive: Path, image: StaticImage, binary: Path) -> None:
    """An OCI archive of one layer: the binary, /tmp, and a passwd file that names the user."""
    layer = archive.with_suffix(".layer")
    with tarfile.open(layer, "w", format=tarfile.PAX_FORMAT) as tar:
        for folder in ("etc", "tmp"):
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            tar.addfile(info)
        passwd = b"root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n"
        info = tarfile.TarInfo("etc/passwd")
        info.size, info.mode = len(passwd), 0o644
        tar.addfile(info, io.BytesIO(passwd))
        info = tarfile.TarInfo(image.path.lstrip("/"))
        info.size, info.mode = binary.stat().st_size, 0o755
        with binary.open("rb") as stream:
            tar.addfile(info, stream)
    write_oci_archive(archive, image.image, layer, entrypoint=[image.path], user=image.user)
    layer.unlink()


def write_oci_archive(
    archive: Path, name: str, layer: Path, *, entrypoint: list[str] | None = None, user: str = ""
) -> None:
    """Wrap one uncompressed layer as an OCI image archive. The same layer gives the same bytes."""
    with layer.open("rb") as stream:
        layer_digest = hashlib.file_digest(stream, "sha256").hexdigest()
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    settings: dict[str, object] = {"Env": [path], "WorkingDir": "/", "User": user}
    if entrypoint:
        settings["Entrypoint"] = entrypoint
    config = _blob(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": settings,
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer_digest}"]},
        }
    )
    oci = "application/vnd.oci.image"
    manifest = _blob(
        {
            "schemaVersion": 2,
            "mediaType": f"{oci}.manifest.v1+json",
            "config": {"mediaType": f"{oci}.config.v1+json", **_descriptor(config)},
            "layers": [
                {
                    "mediaType": f"{oci}.layer.v1.tar",
                    "digest": f"sha256:{layer_digest}",
                    "size": layer.stat().st_size,
                }
            ],
        }
    )
    index = _blob(
        {
            "schemaVersion": 2,
            "mediaType": f"{oci}.index.v1+json",
            "manifests": [
                {
                    "mediaType": f"{oci}.manifest.v1+json",
                    **_descriptor(manifest),
                    "platform": {"architecture": "amd64", "os": "linux"},
                    "annotations": {
                        "io.containerd.image.name": name,
                        "org.opencontainers.image.ref.name": name.rpartition(":")[2],
                    },
                }
            ],
        }
    )
    partial = archive.with_suffix(".partial")
    with tarfile.open(partial, "w") as tar:
        _add(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        _add(tar, "index.json", index)
        for blob in (config, manifest):
            _add(tar, f"blobs/sha256/{hashlib.sha256(blob).hexdigest()}", blob)
        info = tarfile.TarInfo(f"blobs/sha256/{layer_digest}")
        info.size = layer.stat().st_size
        with layer.open("rb") as stream:
            tar.addfile(info, stream)
    shutil.move(partial, archive)


def _blob(content: object) -> bytes:
    return json.dumps(content, separators=(",", ":"), sort_keys=True).encode()


def _descriptor(blob: bytes) -> dict[str, object]:
    return {"digest": f"sha256:{hashlib.sha256(blob).hexdigest()}", "size": len(blob)}


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), 0o644
    tar.addfile(info, io.BytesIO(content))
