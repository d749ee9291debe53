"""`holdfast preview-comment`: a preview as the comment of a pull request."""

from __future__ import annotations

from typing import TextIO

import click

from holdfast_cli.errors import CommandError
from holdfast_cli.exits import Exit


@click.command("preview-comment")
@click.argument("preview", type=click.File("r", encoding="utf-8", errors="replace"), default="-")
@click.option("--commit", default="", help="The commit that was previewed, for the last line.")
@click.option("--time", "when", default="", help="When it was previewed, for the last line.")
@click.option(
    "--warn-above",
    type=float,
    metavar="USD",
    help="Warn when all endpoints' ceiling grows by more dollars a month.",
)
@click.option(
    "--fail-above",
    type=float,
    metavar="USD",
    help="Print the comment and end with exit code 1 when it grows by more.",
)
@click.option(
    "--marker", "marker_only", is_flag=True, help="Print only the line by which a comment is found."
)
def preview_comment(
    preview: TextIO,
    commit: str,
    when: str,
    warn_above: float | None,
    fail_above: float | None,
    marker_only: bool,
) -> int:
    """Write a preview as a comment for a pull request, in Markdown.

    PREVIEW: what `pulumi preview --json` printed; - or nothing: standard input. The summary comes first, then a
    row and a fold for each endpoint, replacements before all else. It shows operations, types, names and what
    endpoints cost; no property of any resource, so no secret. Never above 60,000 bytes.
    """
    from holdfast_cli import comment, previewplan

    try:
        plan = previewplan.read(preview.read())
    except previewplan.PlanError as error:
        message, _, remedy = str(error).partition(": ")
        raise CommandError(message, remedy, Exit.USAGE) from error
    if marker_only:
        click.echo(comment.marker(plan))
        return Exit.OK
    facts = comment.Facts(commit, when, warn_above, fail_above)
    click.echo(comment.comment(plan, facts), nl=False)
    return Exit.FAILED if comment.verdict(plan, facts) is comment.Verdict.FAIL else Exit.OK
