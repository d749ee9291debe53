"""`holdfast token`: tokens open endpoints; only their hash is declared."""

from __future__ import annotations

import sys

import click

from holdfast_cli.errors import CommandError
from holdfast_cli.exits import Exit
from holdfast_cli.output import note, print_json


@click.group()
def token() -> None:
    """Make a token, or the line that declares one."""


@token.command()
@click.option(
    "--id", "token_id", help="4 to 16 lower-case letters and digits, to tell tokens apart; default: random."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object: token and declaration.")
def new(token_id: str | None, as_json: bool) -> None:
    """Make a fresh token and print it, once: it is stored nowhere.

    Standard output gets the token alone; the line to paste into the stack code goes to standard error.
    """
    from holdfast_contract import tokens

    try:
        made = tokens.new_token(token_id)
    except ValueError as error:
        raise CommandError(str(error), exit_code=Exit.USAGE) from error
    if as_json:
        print_json({"token": made, "declare": tokens.declare(made)})
        return
    click.echo(made)
    note("Keep it now: it is shown once and stored nowhere. To let it open an endpoint, declare its hash:")
    note(f'    "tokens": ["{tokens.declare(made)}"],')


@token.command(name="hash")
def hash_() -> None:
    """Read a token from standard input and print what to declare of it."""
    from holdfast_contract import tokens

    text = click.prompt("token", hide_input=True) if sys.stdin.isatty() else sys.stdin.read()
    try:
        click.echo(tokens.declare(text.strip()))
    except ValueError as error:
        raise CommandError(f"standard input is {error}", exit_code=Exit.USAGE) from error
