"""Assembles the command and turns every error into a message with a remedy and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from holdfast_cli.commands import (
    build,
    calls,
    catalogue,
    cluster,
    completion,
    endpoints,
    init,
    preview,
    prices,
    replay,
    sandbox,
    serve,
    token,
)
from holdfast_cli.errors import CommandError
from holdfast_cli.exits import MEANINGS, Exit

PROGRAM = "holdfast"
EPILOG = "\b\nExit codes:\n" + "\n".join(f"  {code.value:>3}  {text}" for code, text in MEANINGS.items())
DEBUG = "HOLDFAST_DEBUG"
"""Set to 1: unexpected errors show their traceback."""


class _ReaderLeft(Exception):
    """A broken pipe under a name that click does not know: it would end with exit code 1, and say nothing."""


class _InOrder(click.Group):
    """Lists commands in the order of a day's work rather than of the alphabet."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a broken pipe is for `main` to judge."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise _ReaderLeft from error

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_InOrder, context_settings={"help_option_names": ["-h", "--help"]}, epilog=EPILOG)
@click.version_option(package_name="pulumi-holdfast", prog_name=PROGRAM)
def cli() -> None:
    """GPU inference endpoints as code: call them, watch them, and run a platform on this machine."""


COMMANDS = (
    endpoints.list_endpoints,
    endpoints.status,
    endpoints.metrics,
    calls.infer,
    calls.submit,
    calls.result,
    calls.cancel,
    cluster.logs,
    cluster.events,
    catalogue.templates,
    catalogue.clone,
    init.init,
    serve.serve,
    build.build,
    token.token,
    preview.preview_comment,
    replay.replay,
    prices.prices,
    sandbox.sandbox,
    completion.completion,
)
for command in COMMANDS:
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code. The only place that prints errors."""
    try:
        result = cli.main(args=arguments, prog_name=PROGRAM, standalone_mode=False)
    except CommandError as error:
        _complain(error.message, error.remedy)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return Exit.INTERRUPTED
    except _ReaderLeft:
        # The reader of our output left (`holdfast ls | head`): nobody to tell. Python's own flush at exit
        # would complain again, so it gets a place to write to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        if isinstance(error, OSError) and error.filename is not None:
            _complain(
                f"{os.fsdecode(error.filename)}: {error.strerror}",
                "check that the path is what you mean, and that you may read and write there",
            )
            return Exit.FAILED
        _complain(
            f"unexpected {type(error).__name__}: {error}",
            f"this is a fault of holdfast; {DEBUG}=1 shows where it happened",
        )
        return Exit.FAILED
    return result if isinstance(result, int) else Exit.OK


def _complain(message: str, remedy: str) -> None:
    tty = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    click.echo(f"{click.style('error:', fg='red', bold=True) if tty else 'error:'} {message}", err=True)
    if remedy:
        click.echo(f"  next: {remedy}", err=True)


if __name__ == "__main__":
    sys.exit(main())
