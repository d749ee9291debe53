"""Container images without a public registry: made here from static binaries and from the project's Dockerfiles.

What a production cluster pulls under a public name gets that same name here, so manifests stay the same.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import shutil
import tempfile
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from holdfast_sandbox import buildah, oci, registry
from holdfast_sandbox.base import ensure_base, recipe_hash
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
REFERENCES_FILE: Final = "images.json"
"""In the state folder: name → `<registry>/<name>@<digest>` of every image pushed."""
INPUTS_FILE: Final = "images-inputs.json"
"""In the state folder: name → hash of the files that the pushed image was made from."""
PLATFORM_FILE: Final = "platform-images.json"
"""In the state folder: public name → hash of the binary that the node's image was made from."""
CATALOGUE: Final = ("README.md", "*/template.yaml", "*/*.schema.json", "*/README.md", "*/examples")
"""What the services' image has of `templates/`: what people are told, not what the templates' images run."""
IGNORED: Final = frozenset({"__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".DS_Store"})
"""Never in an image, so never a reason to build one anew."""


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
    # Where the official image has it, so that a command of `nats-server` finds it in both.
    StaticImage("nats", "nats-server", NATS_IMAGE, "/usr/local/bin/nats-server"),
)


@dataclass(frozen=True, slots=True)
class ProjectImage:
    """An image that the project builds from a Dockerfile of its own."""

    name: str
    """Repository below the registry."""
    dockerfile: Path
    context: Path
    inputs: tuple[Path, ...]
    """Files and folders that the image is made from: their hash says whether it has to be built anew."""
    version: str | None = None
    """A second tag, by which a template's declaration names its image."""


def project_images(checkout: Path = CHECKOUT) -> list[ProjectImage]:
    """The services' image and one per template that has a Dockerfile and runs on a CPU, as this node does.

    Raises SandboxError where a template's declaration does not name its image.
    """
    services = ProjectImage(
        "holdfast/services",
        checkout / "services" / "Dockerfile",
        checkout,
        (
            checkout / "services" / "Dockerfile",
            checkout / "services" / "requirements.lock",
            checkout / "services" / "holdfast_services",
            checkout / "contract" / "holdfast_contract",
            checkout / "web",
            *(found for told in CATALOGUE for found in sorted((checkout / "templates").glob(told))),
            checkout / ".dockerignore",
        ),
    )
    return [
        services,
        *filter(None, map(_template_image, sorted((checkout / "templates").glob("*/Dockerfile")))),
    ]


def _template_image(dockerfile: Path) -> ProjectImage | None:
    """None for one that needs a GPU: its image is made from others of many GB, and could not run here."""
    folder = dockerfile.parent
    declaration = folder / "template.yaml"
    declared = (yaml.safe_load(declaration.read_text()) or {}) if declaration.is_file() else {}
    if not str(declared.get("hardware", "cpu")).startswith("cpu"):
        return None
    image = declared.get("image")
    name, colon, version = str(image or "").partition(":")
    if not name or not colon or not version:
        raise SandboxError(f'{declaration}: image is {image!r}: write "<repository>:<version>"')
    return ProjectImage(f"holdfast/{name}", dockerfile, folder, (folder,), version)


def support_images(checkout: Path = CHECKOUT) -> list[ProjectImage]:
    """What only tests need: the model stand-in."""
    folder = checkout / "tests" / "support" / "standin"
    return [ProjectImage("holdfast/standin", folder / "Dockerfile", folder, (folder,))]


def ensure_platform_images(paths: Paths, tools: Mapping[str, Built], progress: Progress) -> None:
    """Put the images that the cluster itself needs on the node, under their public names.

    Raises SandboxError where the node refuses one.
    """
    there = set(ctr(paths, "images", "ls", "-q").stdout.split())
    record = paths.state / PLATFORM_FILE
    made = _read(record)
    for one in STATIC_IMAGES:
        binary = tools[one.tool].binaries[one.binary]
        source = hashlib.sha256(f"{one}{tools[one.tool].recipe.key()}".encode()).hexdigest()
        if one.image in there and made.get(one.image) == source:
            continue
        with progress.step(f"image {one.image}"), tempfile.TemporaryDirectory(dir=paths.run) as scratch:
            archive = Path(scratch) / "image.tar"
            oci.write_static_image(archive, one.image, binary, path=one.path, user=one.user)
            import_into_containerd(paths, archive, one.image)
        made[one.image] = source
        _write(record, made)


def import_into_containerd(paths: Paths, archive: Path, name: str) -> None:
    """Put an OCI archive on the node. `name`: the reference inside it, for the message of the SandboxError."""
    done = ctr(paths, "images", "import", archive)
    if done.returncode != 0:
        raise SandboxError(f"{name} cannot be put on the node: {done.stderr.strip()}")


def ensure_project_images(paths: Paths, progress: Progress) -> dict[str, str]:
    """Build what changed, push it to the private registry, and return name → reference with digest.

    The references are also written to `images.json` in the state folder. The registry must be running.
    """
    return _ensure(paths, project_images(), progress)


def ensure_test_images(paths: Paths, progress: Progress) -> dict[str, str]:
    """The same for the images that only tests need."""
    return _ensure(paths, support_images(), progress)


def _ensure(paths: Paths, images: Iterable[ProjectImage], progress: Progress) -> dict[str, str]:
    references: dict[str, str] = {}
    with exclusive(paths, progress):
        files = (paths.state / REFERENCES_FILE, paths.state / INPUTS_FILE)
        pushed, inputs = (_read(file) for file in files)
        for image in images:
            source = content_hash(image)
            known = pushed.get(image.name)
            if known is None or inputs.get(image.name) != source or not _in_registry(paths, known):
                pushed[image.name] = _make(paths, image, source, progress)
                inputs[image.name] = source
                for file, content in zip(files, (pushed, inputs), strict=True):
                    _write(file, content)
            references[image.name] = pushed[image.name]
    return references


def _make(paths: Paths, image: ProjectImage, source: str, progress: Progress) -> str:
    base = ensure_base(paths, progress)
    tag = f"{registry.HOST}/{image.name}:{source}"
    repository = f"{registry.LISTENER}/{image.name}"
    with progress.step(f"image {image.name}", announce=True):
        buildah.ensure_base_in_storage(paths, base)
        buildah.build(paths, image.dockerfile, image.context, tag)
        # The same repository under the address that this machine reaches without a name server.
        digest = buildah.push(paths, tag, f"{repository}:{source}")
        if image.version is not None:
            if buildah.push(paths, tag, f"{repository}:{image.version}") != digest:
                raise SandboxError(
                    f"{image.name} was pushed with two digests: run `holdfast sandbox up` again"
                )
            # A version that is being worked on moves; the node would go on with what it has under the name.
            ctr(paths, "images", "rm", f"{registry.HOST}/{image.name}:{image.version}")
        buildah.forget_others(paths, tag)
    # Without the tag: a new tag on the same content must not look like a change.
    return f"{registry.HOST}/{image.name}@{digest}"


def _read(file: Path) -> dict[str, str]:
    content: dict[str, str] = json.loads(file.read_text()) if file.is_file() else {}
    return content


def _write(file: Path, content: Mapping[str, str]) -> None:
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    partial.replace(file)


def content_hash(image: ProjectImage) -> str:
    """Twelve hex digits that change when any file that the image is made from does, or its base."""
    digest = hashlib.sha256(recipe_hash().encode())
    for top in image.inputs:
        for file in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if IGNORED.isdisjoint(file.parts) and file.is_file():
                digest.update(str(file.relative_to(image.context)).encode() + b"\0")
                digest.update(oct(file.stat().st_mode & 0o111).encode())
                digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:12]


def authorization(paths: Paths) -> str:
    """The header that the registry asks for."""
    credentials = base64.b64encode(f"{registry.USER}:{registry.password(paths)}".encode()).decode()
    return f"Basic {credentials}"


def _in_registry(paths: Paths, reference: str) -> bool:
    target, _, digest = reference.partition("@")
    name = target.partition("/")[2]
    request = urllib.request.Request(
        f"http://{registry.LISTENER}/v2/{name}/manifests/{digest}",
        method="HEAD",
        headers={
            "Accept": "application/vnd.oci.image.manifest.v1+json",
            "Authorization": authorization(paths),
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextmanager
def exclusive(paths: Paths, progress: Progress) -> Iterator[None]:
    """One build at a time on this machine."""
    paths.cache.mkdir(parents=True, exist_ok=True)
    with (paths.cache / "images.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.say("another process is building images; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def forget_cache(paths: Paths) -> None:
    """Remove the base image and the build storage from the cache; the next build makes them again."""
    shutil.rmtree(paths.cache / "images", ignore_errors=True)
    for driver in buildah.DRIVERS:
        shutil.rmtree(paths.cache / f"buildah-{driver}", ignore_errors=True)
