"""`holdfast completion`: click's own shell completion."""

from __future__ import annotations

import click


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of SHELL.

    For bash: eval "$(holdfast completion bash)".
    """
    from click.shell_completion import get_completion_class

    maker = get_completion_class(shell)
    assert maker is not None  # one of the three that click has
    root = context.find_root()
    click.echo(maker(root.command, {}, "holdfast", "_HOLDFAST_COMPLETE").source())
