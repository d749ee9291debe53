"""`holdfast build`: the image of one's own code, as `pulumi up` would build it."""

from __future__ import annotations

import os
from pathlib import Path

import click

from holdfast_cli.commands.init import ENV_REGISTRY
from holdfast_cli.errors import CommandError
from holdfast_cli.exits import Exit
from holdfast_cli.output import note, print_json


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--repository",
    help=f"Names the image, with its registry; default: ${ENV_REGISTRY}/<folder>, else localhost/<folder>.",
)
@click.option("--push", is_flag=True, help="Push it; this machine must be logged in there.")
@click.option("--json", "as_json", is_flag=True, help="As JSON: reference, digest.")
def build(folder: Path, repository: str | None, push: bool, as_json: bool) -> None:
    """Build the image of FOLDER, with buildah or Docker; the same files give the same digest.

    Prints its reference, with the digest where it was pushed. `Endpoint(code=…)` does this by itself at `pulumi up`.
    """
    from pulumi_holdfast import building
    from pulumi_holdfast.plan.code import plan_code

    target = repository or f"{os.environ.get(ENV_REGISTRY) or 'localhost'}/{folder.resolve().name}"
    _check(folder, target)
    if push and repository is None and not os.environ.get(ENV_REGISTRY):
        raise CommandError("nothing says where to push", "give --repository", Exit.USAGE)
    try:
        builder = building.find_builder()
        plan = plan_code(folder)
        note(f"building {target}:{plan.tag} with {builder.words[0]}")
        built = building.build(plan, target, push=push, builder=builder)
    except building.BuildError as error:
        raise CommandError(str(error)) from error
    if as_json:
        print_json({"reference": built.reference, "digest": built.digest})
    else:
        click.echo(built.reference)


def _check(folder: Path, repository: str) -> None:
    """Raises CommandError with everything that would stop the build or the server."""
    from pydantic import ValidationError

    from pulumi_holdfast.spec.code import CodeSpec, problems_of
    from pulumi_holdfast.spec.problems import translate

    try:
        code = CodeSpec(path=str(folder), repository=repository)
    except ValidationError as error:
        wrong = translate(error.errors(include_url=False), {"": frozenset(CodeSpec.model_fields)})
        raise CommandError("\n".join(map(str, wrong)), exit_code=Exit.USAGE) from error
    found = [str(one).removeprefix("code.") for one in problems_of(code, 1)]
    if found:
        raise CommandError("\n  ".join([f"{folder} cannot be built:", *found]), exit_code=Exit.USAGE)
