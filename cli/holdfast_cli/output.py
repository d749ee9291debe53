"""How results are shown: aligned columns for people, JSON for machines, colours on a terminal only."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import click


def colours() -> bool:
    """Whether to colour: standard output is a terminal and NO_COLOR is not set (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def style(text: str, **how: Any) -> str:
    """`click.style`, on a terminal only."""
    return click.style(text, **how) if colours() else text


def print_json(value: Any) -> None:
    """One JSON document on standard output; secrets never go through here."""
    click.echo(json.dumps(value, indent=1, ensure_ascii=False, default=str))


def print_table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Columns two spaces apart, as wide as their widest cell; cells are never cut: they can be parsed."""
    texts = [["-" if cell is None else str(cell) for cell in row] for row in rows]
    widths = [max(len(line[column]) for line in (headings, *texts)) for column in range(len(headings))]
    click.echo(style(_line([heading.upper() for heading in headings], widths), bold=True))
    for row in texts:
        click.echo(_line(row, widths))


def print_pairs(pairs: Sequence[tuple[str, object]]) -> None:
    """A name and a value per line, values aligned."""
    width = max((len(name) for name, _ in pairs), default=0)
    for name, value in pairs:
        click.echo(f"{style(name.ljust(width), bold=True)}  {'-' if value is None else value}")


def note(text: str) -> None:
    """A line for the person at the terminal, on standard error, so that pipes get results alone."""
    click.echo(text, err=True)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
