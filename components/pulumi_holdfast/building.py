"""Images are built from code with what this machine has: buildah, Docker, or a program of one's own."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from pulumi_holdfast.plan.code import CONTAINERFILE, CodePlan

ENV_BUILDER: Final = "HOLDFAST_BUILDER"
"""A program that builds instead: called as `… build [--push] FOLDER REFERENCE`, and `… digest REFERENCE`; both print
the image's digest as their last line, the second fails where the registry has no such image."""
_SHOWN_LINES: Final = 25
_EPOCH: Final = "0"
"""Every file's time in an image: the same files must give the same digest."""


class BuildError(Exception):
    """An image could not be built or pushed; the text says why and what to do."""


class Tool(StrEnum):
    """What builds."""

    BUILDAH = "buildah"
    DOCKER = "docker"
    PROGRAM = "program"


@dataclass(frozen=True, slots=True)
class Builder:
    """A way to build on this machine."""

    tool: Tool
    words: tuple[str, ...]
    """How its command begins."""


@dataclass(frozen=True, slots=True)
class Built:
    """An image that was built."""

    reference: str
    """Repository and tag; with the digest where it is in a registry."""
    digest: str | None
    """None: it is only on this machine."""


def find_builder(
    environ: Mapping[str, str] = os.environ, which: Callable[[str], str | None] = shutil.which
) -> Builder:
    """The program of HOLDFAST_BUILDER, else buildah, else Docker. Raises BuildError where there is none."""
    if environ.get(ENV_BUILDER):
        return Builder(Tool.PROGRAM, tuple(shlex.split(environ[ENV_BUILDER])))
    for tool in (Tool.BUILDAH, Tool.DOCKER):
        found = which(tool.value)
        if found is not None:
            return Builder(tool, (found,))
    raise BuildError(
        "nothing on this machine builds images: install buildah or Docker with buildx, or set "
        f'{ENV_BUILDER} to a program that does; in a sandbox, run eval "$(holdfast sandbox env)" first'
    )


def steps(builder: Builder, folder: Path, reference: str, *, push: bool, note: Path) -> list[list[str]]:
    """The commands that build, in order. `note`: the file where the tool leaves the digest."""
    words = list(builder.words)
    recipe = str(folder / CONTAINERFILE)
    if builder.tool is Tool.PROGRAM:
        return [[*words, "build", *(["--push"] if push else []), str(folder), reference]]
    if builder.tool is Tool.BUILDAH:
        same = ["--timestamp", _EPOCH, "--identity-label=false", "--layers"]
        build = [*words, "build", *same, "-t", reference, "-f", recipe, str(folder)]
        pushed = [*words, "push", "--digestfile", str(note), reference, f"docker://{reference}"]
        return [build, pushed] if push else [build]
    output = f"type=image,push=true,name={reference},rewrite-timestamp=true" if push else "type=docker"
    same = ["--build-arg", f"SOURCE_DATE_EPOCH={_EPOCH}", "--provenance=false", "--sbom=false"]
    command = [*words, "buildx", "build", *same, "--metadata-file", str(note), "--output", output]
    return [[*command, "-t", reference, "-f", recipe, str(folder)]]


def build(plan: CodePlan, repository: str, *, push: bool, builder: Builder | None = None) -> Built:
    """Build, and push where asked to. Raises BuildError with the end of the tool's own words."""
    builder = builder or find_builder()
    reference = f"{repository}:{plan.tag}"
    with tempfile.TemporaryDirectory(prefix="holdfast-build-") as scratch:
        folder, note = Path(scratch) / "context", Path(scratch) / "digest"
        write(plan, folder)
        said = ""
        for command in steps(builder, folder, reference, push=push, note=note):
            said = _run(command)
        if not push:
            return Built(reference, None)
        digest = _digest(builder, said, note)
    return Built(f"{reference}@{digest}", digest)


def pushed(plan: CodePlan, repository: str, builder: Builder | None = None) -> Built | None:
    """The image of these files where the registry has it already; None where it has not, or nothing here can ask.

    Raises BuildError where nothing on this machine builds.
    """
    builder = builder or find_builder()
    reference = f"{repository}:{plan.tag}"
    question = _question(builder, reference)
    if question is None:
        return None
    try:
        done = subprocess.run(question, capture_output=True, text=True, check=False)
    except OSError as error:
        raise BuildError(f"{question[0]} cannot be run: {error.strerror}") from error
    lines = done.stdout.split()
    if done.returncode != 0 or not lines or not lines[-1].startswith("sha256:"):
        return None
    return Built(f"{reference}@{lines[-1]}", lines[-1])


def _question(builder: Builder, reference: str) -> list[str] | None:
    if builder.tool is Tool.PROGRAM:
        return [*builder.words, "digest", reference]
    if builder.tool is Tool.DOCKER:
        form = ["--format", "{{.Manifest.Digest}}"]
        return [*builder.words, "buildx", "imagetools", "inspect", *form, reference]
    skopeo = shutil.which("skopeo")
    return [skopeo, "inspect", "--format", "{{.Digest}}", f"docker://{reference}"] if skopeo else None


def write(plan: CodePlan, folder: Path) -> None:
    """The files of a plan as a folder to build from, with one mode for all."""
    for path, content in plan.files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        file.chmod(0o644)
    for below in [folder, *(one for one in folder.rglob("*") if one.is_dir())]:
        below.chmod(0o755)


def _run(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
    except OSError as error:
        raise BuildError(f"{command[0]} cannot be run: {error.strerror}") from error
    if done.returncode != 0:
        tail = "\n".join(done.stdout.splitlines()[-_SHOWN_LINES:])
        raise BuildError(f"`{shlex.join(command[:3])} …` ended with {done.returncode}:\n{tail}")
    return done.stdout


def _digest(builder: Builder, said: str, note: Path) -> str:
    if builder.tool is Tool.PROGRAM:
        text = said.split()[-1] if said.split() else ""
    elif builder.tool is Tool.BUILDAH:
        text = note.read_text().strip()
    else:
        text = str(json.loads(note.read_text()).get("containerimage.digest", ""))
    if not text.startswith("sha256:"):
        raise BuildError(f"{builder.words[0]} told no digest of what it pushed, but {text[:80]!r}")
    return text
