"""`holdfast templates` and `clone`: ready-made endpoints."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from holdfast_cli import stackcode
from holdfast_cli.errors import CommandError
from holdfast_cli.exits import Exit
from holdfast_cli.output import note, print_json, print_pairs, print_table, style

if TYPE_CHECKING:
    from pulumi_holdfast.spec.template import Template


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def templates(name: str | None, as_json: bool) -> None:
    """List the catalogue, or describe the template NAME."""
    from pulumi_holdfast.spec.template import catalogue

    if name is not None:
        _describe(find(name), as_json)
        return
    found = [find(one) for one in catalogue().names()]
    if as_json:
        print_json([one.model_dump(mode="json", exclude={"folder"}) for one in found])
        return
    print_table(
        ("name", "version", "hardware", "licence", "title"),
        [(one.name, one.version, one.hardware, one.licence, one.title) for one in found],
    )


def _describe(one: Template, as_json: bool) -> None:
    if as_json:
        print_json(one.model_dump(mode="json", exclude={"folder"}))
        return
    print_pairs(
        [
            ("name", one.name),
            ("version", one.version),
            ("title", one.title),
            ("about", one.description),
            ("licence", one.licence),
            ("model", f"{one.model.name} ({one.model.licence}), {one.model.source}"),
            ("hardware", one.hardware),
            (
                "input",
                f"{one.input_path}, {one.folder / one.input_schema if one.input_schema else 'without a schema'}",
            ),
            ("examples", ", ".join(example.name for example in one.examples) or "none"),
            ("card", one.folder / "README.md"),
        ]
    )
    note(f"make an endpoint of your own from it: holdfast clone {one.name} --name NAME")


@click.command()
@click.argument("template")
@click.option("--name", required=True, help="The new endpoint's name: a DNS label of at most 40 characters.")
@click.option(
    "--file",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("stacks/endpoints.py"),
    show_default=True,
    help="The stack code to add it to.",
)
@click.option(
    "--max-replicas", type=click.IntRange(min=1), help="At most this many replicas; default: the template's."
)
@click.option(
    "--registry-secret",
    metavar="SECRET",
    help="Secrets Manager secret with the registry's credentials; default: the platform's for its templates.",
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
def clone(
    template: str,
    name: str,
    path: Path,
    max_replicas: int | None,
    registry_secret: str | None,
    yes: bool,
    dry_run: bool,
) -> None:
    """Add an endpoint made from TEMPLATE to the stack code.

    It has its own URL, its own scaling, and no shared limit. Shows the change and asks first; `pulumi preview`
    then shows what it will create.
    """
    check_name(name, "--name")
    found = find(template)
    module = stackcode.load(path, "--file")
    args: dict[str, object] = {"template": found.name}
    if max_replicas is not None:
        args["scaling"] = {"max_replicas": max_replicas}
    if registry_secret is not None:
        args["registry_credentials"] = {"secret": registry_secret}
    made = stackcode.with_endpoint(module, name, args)
    for line in stackcode.diff(module, made):
        click.echo(style(line, fg={"+": "green", "-": "red", "@": "cyan"}.get(line[0])))
    if dry_run:
        note("nothing was changed")
        return
    if not yes and not _agreed(path):
        raise CommandError("nothing was changed", exit_code=Exit.FAILED)
    replace(path, made)
    note(f"{path} declares {name}; next: pulumi preview, then pulumi up")


def find(name: str) -> Template:
    """A template. Raises CommandError naming the nearest where there is none."""
    from pulumi_holdfast.spec.problems import SpecError
    from pulumi_holdfast.spec.template import catalogue

    try:
        found = catalogue().find(name)
    except SpecError as error:
        raise CommandError(str(error)) from error
    if found is None:
        raise CommandError(f"no template {name!r}", catalogue().nearest(name), Exit.NOT_FOUND)
    return found


def check_name(name: str, where: str) -> None:
    """Raises CommandError where an endpoint cannot have this name; `where`: the argument that gave it."""
    from holdfast_contract.document import NAME_PATTERN

    if not re.fullmatch(NAME_PATTERN, name):
        raise CommandError(
            f"{where} is {name!r}, not a DNS label of at most 40 characters",
            "begin with a lower-case letter, go on with lower-case letters, digits and single dashes",
            Exit.USAGE,
        )


def _agreed(path: Path) -> bool:
    if not sys.stdin.isatty():
        raise CommandError("nobody is there to agree to the change", "give --yes", Exit.USAGE)
    return click.confirm(f"Write this to {path}?", default=True)


def replace(path: Path, text: str) -> None:
    """All or nothing: a crash leaves the old text or the new one, never half."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8", newline="")
        beside.chmod(path.stat().st_mode & 0o777)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
