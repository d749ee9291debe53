"""`holdfast sandbox`: a whole platform on this machine."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager

import click

from holdfast_cli.errors import CommandError
from holdfast_cli.exits import Exit


@contextmanager
def _told_plainly() -> Iterator[None]:
    """The sandbox's own errors already say what to do: show them as they are."""
    from holdfast_sandbox.errors import SandboxError

    try:
        yield
    except SandboxError as error:
        raise CommandError(str(error)) from error


@click.group()
def sandbox() -> None:
    """Run a whole platform on this machine.

    Kubernetes, KEDA, NATS, a private registry and an AWS stand-in, without any account.
    """


@sandbox.command()
@click.argument("tools", nargs=-1)
def build(tools: tuple[str, ...]) -> None:
    """Build the tools into the cache: TOOLS, or all of them."""
    with _told_plainly():
        from holdfast_sandbox import lifecycle

        lifecycle.build(list(tools) or None)


@sandbox.command()
@click.option("--no-images", is_flag=True, help="Do not build the images of services and templates.")
def up(no_images: bool) -> None:
    """Bring the platform up; does nothing that is already done, and heals what a crash left."""
    with _told_plainly():
        from holdfast_sandbox import lifecycle

        lifecycle.up(project_images=not no_images)
    click.echo('next: eval "$(holdfast sandbox env)"', err=True)


@sandbox.command()
@click.option("--purge", is_flag=True, help="Also forget its state: cluster, Pulumi stacks, passwords.")
@click.option("--cache", is_flag=True, help="Also remove the built tools (about 20 minutes to build again).")
def down(purge: bool, cache: bool) -> None:
    """Stop everything, and remove what it put into the machine."""
    with _told_plainly():
        from holdfast_sandbox import lifecycle

        lifecycle.down(purge=purge, cache=cache)


@sandbox.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def status(as_json: bool) -> None:
    """What runs, and what does not; exit code 3 where the sandbox is not up."""
    with _told_plainly():
        from holdfast_sandbox import lifecycle
        from holdfast_sandbox.__main__ import describe

        current = lifecycle.status()
        click.echo(lifecycle.status_json(current) if as_json else describe(current))
    if not current.up:
        raise click.exceptions.Exit(Exit.NOT_UP)


@sandbox.command()
def env() -> None:
    """The variables that make plain pulumi, kubectl and holdfast use it: eval "$(holdfast sandbox env)"."""
    with _told_plainly():
        from holdfast_sandbox import lifecycle

        for name, value in lifecycle.environment().items():
            click.echo(f"export {name}={shlex.quote(value)}")


@sandbox.command()
@click.argument("name")
@click.option("-n", "--lines", type=click.IntRange(min=0), default=50, show_default=True, help="Last lines.")
@click.option("-f", "--follow", is_flag=True, help="Go on until Ctrl-C.")
def logs(name: str, lines: int, follow: bool) -> None:
    """The log of the sandbox's process NAME, for instance kubelet."""
    from holdfast_sandbox.paths import default_paths

    folder = default_paths().log
    known = sorted(file.stem for file in folder.glob("*.log")) if folder.is_dir() else []
    if not known:
        raise CommandError(
            f"{folder} holds no logs: the sandbox was not up yet", "run `holdfast sandbox up`", Exit.NOT_UP
        )
    if name not in known:
        raise CommandError(
            f"{name!r} is not a process of the sandbox", f"name one of {', '.join(known)}", Exit.NOT_FOUND
        )
    words = ["tail", "-n", str(lines), *(["-F"] if follow else []), str(folder / f"{name}.log")]
    os.execvp(words[0], words)
