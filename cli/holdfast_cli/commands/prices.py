"""`holdfast prices`: what machines cost, and bringing the table up to date."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import click

from holdfast_cli.errors import CommandError
from holdfast_cli.exits import Exit
from holdfast_cli.output import note, print_json, print_table

_MAX_LIST_BYTES: Final = 4 * 1024 * 1024
_FETCH_TIMEOUT_S: Final = 30


@click.group()
def prices() -> None:
    """What hardware costs: the table that previews, page and policies work with."""


@prices.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def show(as_json: bool) -> None:
    """List the hardware presets with the price of their preferred machine."""
    from pulumi_holdfast.spec.hardware import hardware_table

    table = hardware_table()
    if as_json:
        print_json(json.loads(_table().read_text()))
        return
    rows = [
        (name, one.gpus, one.instance_types[0], f"{table.instances[one.instance_types[0]].usd_per_hour:g}")
        for name, one in table.presets.items()
    ]
    print_table(("preset", "gpus", "machine", "usd/hour"), rows)
    note(f"{table.system}; {table.region}, {table.generated}")


@prices.command()
@click.option(
    "--from", "source", metavar="FILE|URL", help="The list of prices; default: Karpenter's, from GitHub."
)
@click.option(
    "--table",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="The table to bring up to date; default: this checkout's.",
)
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="The changes as JSON.")
def refresh(source: str | None, table: Path | None, dry_run: bool, as_json: bool) -> None:
    """Bring the table of prices up to date with AWS's list prices.

    Review and commit what changed; the next preview works with it.
    """
    from pulumi_holdfast.plan.prices import PAGE, page_prices
    from pulumi_holdfast.plan.refresh import SOURCE, PriceError, refreshed
    from pulumi_holdfast.spec.hardware import HardwareTable

    path = table or _table()
    try:
        before = path.read_text()
        region = HardwareTable.model_validate_json(before).region
        text, changes = refreshed(before, region, _read(source or SOURCE))
    except PriceError as error:
        raise CommandError(str(error), "give another list with --from", Exit.USAGE) from error
    if as_json:
        print_json([{"machine": one.machine, "before": one.before, "after": one.after} for one in changes])
    elif changes:
        rows = [
            (one.machine, f"{one.before:g}", "no price" if one.after is None else f"{one.after:g}")
            for one in changes
        ]
        print_table(("machine", "before", "now"), rows)
    else:
        note("no price changed")
    if dry_run:
        note("nothing was changed")
        return
    path.write_text(text)
    if table is None and PAGE.is_file():
        PAGE.write_text(page_prices(HardwareTable.model_validate_json(text)))
    note(
        f"{path} is up to date; next: look at git diff, then python -m pulumi_holdfast.spec.reference --write"
    )


def _table() -> Path:
    from importlib import resources

    return Path(str(resources.files("pulumi_holdfast.spec").joinpath("hardware.json")))


def _read(source: str) -> str:
    """A file's or a page's text. Raises CommandError where it cannot be had."""
    import urllib.error
    import urllib.request

    try:
        if "://" not in source:
            return Path(source).read_text()
        with urllib.request.urlopen(source, timeout=_FETCH_TIMEOUT_S) as answer:
            body: bytes = answer.read(_MAX_LIST_BYTES + 1)
        if len(body) > _MAX_LIST_BYTES:
            raise ValueError(f"it is larger than {_MAX_LIST_BYTES // 2**20} MiB")
        return body.decode()
    except (OSError, ValueError, urllib.error.URLError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise CommandError(
            f"{source} cannot be read: {reason}",
            "without the internet, download zz_generated.pricing_aws.go elsewhere and give it with --from",
            Exit.FAILED,
        ) from error
