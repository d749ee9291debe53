"""The image of an endpoint's code, inside a Pulumi program: told at preview, built and pushed at `pulumi up`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from functools import partial
from pathlib import Path
from typing import Final

import pulumi

from pulumi_holdfast import building
from pulumi_holdfast.plan.code import CodePlan, plan_code
from pulumi_holdfast.spec.code import CodeSpec

_RECORD: Final = "pushed-code.json"


class ImageError(building.BuildError, pulumi.RunError):
    """A BuildError inside a program; Pulumi prints it as it stands."""


def image_of(name: str, code: CodeSpec, parent: pulumi.Resource) -> pulumi.Output[str]:
    """The image's reference, `repository:tag@digest`, where the tag follows from the code.

    A preview builds nothing: for code that was never pushed it shows the reference without the digest. The spec's
    rules have looked at the folder before.
    """
    plan = plan_code(Path(code.path))

    made = _foretold if pulumi.runtime.is_dry_run() else _built
    return pulumi.Output.from_input(made(name, code, plan, parent))


async def _foretold(name: str, code: CodeSpec, plan: CodePlan, parent: pulumi.Resource) -> str:
    reference = f"{code.repository}:{plan.tag}"
    found = None
    try:
        # Tools are waited for in threads; the engine's log belongs to the loop.
        found = await asyncio.to_thread(building.pushed, plan, code.repository)
    except building.BuildError as error:
        pulumi.log.warn(f'endpoint "{name}": `pulumi up` on this machine would fail: {error}', parent)
    if found is not None:
        return found.reference
    digest = _recorded().get(reference)
    if digest is not None:
        return f"{reference}@{digest}"
    pulumi.log.info(f'endpoint "{name}": `pulumi up` builds and pushes {reference}', parent)
    return reference


async def _built(name: str, code: CodeSpec, plan: CodePlan, parent: pulumi.Resource) -> str:
    try:
        found = await asyncio.to_thread(building.pushed, plan, code.repository)
        if found is None:
            pulumi.log.info(f'endpoint "{name}": building {code.repository}:{plan.tag}', parent)
            found = await asyncio.to_thread(partial(building.build, plan, code.repository, push=True))
    except building.BuildError as error:
        raise ImageError(f'endpoint "{name}": {error}') from None
    assert found.digest is not None  # it was pushed
    _remember(f"{code.repository}:{plan.tag}", found.digest)
    return found.reference


def _record() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "holdfast" / _RECORD


def _recorded() -> dict[str, str]:
    """Digests by reference of what this machine pushed: for previews where no tool can ask the registry."""
    try:
        found: dict[str, str] = json.loads(_record().read_text())
    except (OSError, ValueError):
        return {}
    return found


def _remember(reference: str, digest: str) -> None:
    known = _recorded()
    if known.get(reference) == digest:
        return
    # A record that cannot be kept only makes a later preview say less.
    with contextlib.suppress(OSError):
        file = _record()
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps({**known, reference: digest}, indent=1, sort_keys=True))
        partial.replace(file)
