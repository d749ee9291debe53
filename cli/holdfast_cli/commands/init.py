"""`holdfast init`: from nothing to a service class of one's own, and the code that declares it."""

from __future__ import annotations

import os
from pathlib import Path

import click

from holdfast_cli import scaffold, stackcode
from holdfast_cli.commands.catalogue import check_name, replace
from holdfast_cli.errors import CommandError
from holdfast_cli.exits import Exit
from holdfast_cli.output import note

ENV_REGISTRY = "HOLDFAST_REGISTRY"
"""Where images of one's own code go, without a trailing slash: `registry.example.com/team`."""
ENV_REGISTRY_SECRET = "HOLDFAST_REGISTRY_SECRET"
"""The Secrets Manager secret with which clusters pull from there."""
PLACEHOLDER = "registry.example.com/team"


@click.command()
@click.argument("name")
@click.option(
    "--folder", type=click.Path(path_type=Path, file_okay=False), help="Where; default: ./NAME, made new."
)
@click.option(
    "--stacks",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also add the endpoint to this stack code, for instance stacks/endpoints.py.",
)
@click.option("--repository", help=f"Where its image goes, without a tag; default: ${ENV_REGISTRY}/NAME.")
@click.option(
    "--registry-secret",
    metavar="SECRET",
    help=f"Secrets Manager secret with the registry's credentials; default: ${ENV_REGISTRY_SECRET}, or none.",
)
def init(
    name: str, folder: Path | None, stacks: Path | None, repository: str | None, registry_secret: str | None
) -> None:
    """Write a folder with a service class, its requirements, a test request and a README.

    The endpoint's stack code stands in the README, and in the file of --stacks. Nothing that is there is overwritten.
    """
    from pulumi_holdfast.plan.code import runtime_folder
    from pulumi_holdfast.spec.code import LOCK

    check_name(name, "NAME")
    folder = folder or Path(name)
    if folder.exists() and any(folder.iterdir()):
        raise CommandError(
            f"{folder} is there and not empty; nothing was written",
            "choose another NAME or --folder, or edit what is there",
            Exit.EXISTS,
        )
    registry = os.environ.get(ENV_REGISTRY)
    if stacks is not None and repository is None and registry is None:
        raise CommandError(
            "nothing says where the image goes; nothing was written",
            f"give --repository, or set {ENV_REGISTRY} to where your images go, such as {PLACEHOLDER}",
            Exit.USAGE,
        )
    target = repository or f"{registry or PLACEHOLDER}/{name}"
    secret = registry_secret or os.environ.get(ENV_REGISTRY_SECRET)
    root = stacks.parent if stacks is not None else Path()
    args: dict[str, object] = {
        "code": {"path": os.path.relpath(folder, root), "repository": target},
        "hardware": {"preset": "cpu", "cpu": 0.25, "memory_mib": 512},
    }
    if secret is not None:
        args["registry_credentials"] = {"secret": secret}
    # Found out before anything is written.
    made = stackcode.with_endpoint(stackcode.load(stacks, "--stacks"), name, args) if stacks else None
    lock = (runtime_folder() / LOCK).read_text()
    texts = scaffold.files(name, folder, stackcode.call("holdfast.", "platform", name, args), lock)
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in texts.items():
        (folder / file).write_text(text)
    if stacks is not None and made is not None:
        replace(stacks, made)
    _tell(folder, stacks)


def _tell(folder: Path, stacks: Path | None) -> None:
    note(f"{folder}: a service class, its requirements, a test request, a README")
    if stacks is not None:
        note(f"{stacks} declares it; next: pulumi up, or first holdfast serve {folder}")
    else:
        note(f"next: holdfast serve {folder}, and paste the stack code of {folder / 'README.md'}")
