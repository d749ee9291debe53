"""Tables of figures, for people and as JSON. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Cell", "Table"]

Cell = str | int | float | None


@dataclass(frozen=True, slots=True)
class Table:
    """The figures of one case."""

    key: str
    """Short name: in the JSON file, and to choose the case by."""
    title: str
    columns: tuple[str, ...]
    """Each with its unit."""
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    """What must be known to read it."""
    seconds: float = 0.0
    """How long the case took."""
    details: tuple[Mapping[str, Cell], ...] = ()
    """More figures than a table can show; only in the JSON file."""

    def text(self) -> str:
        """Aligned columns."""
        lines = [self.columns, *(tuple(_show(cell) for cell in row) for row in self.rows)]
        widths = [max(len(line[index]) for line in lines) for index in range(len(self.columns))]
        shown = [
            "  ".join(
                cell.ljust(width) if index == 0 else cell.rjust(width)
                for index, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        rule = "-" * max(len(line) for line in shown)
        head = f"{self.title} ({self.key}; {self.seconds:.0f} s)"
        return "\n".join([head, shown[0], rule, *shown[1:], *self.notes])

    def data(self) -> dict[str, object]:
        """As JSON: every row an object by column."""
        data: dict[str, object] = {
            "title": self.title,
            "seconds": round(self.seconds, 1),
            "notes": list(self.notes),
            "rows": [_finite(dict(zip(self.columns, row, strict=True))) for row in self.rows],
        }
        if self.details:
            data["details"] = [_finite(detail) for detail in self.details]
        return data


def _finite(row: Mapping[str, Cell]) -> dict[str, Cell]:
    return {
        column: None if isinstance(cell, float) and not math.isfinite(cell) else cell
        for column, cell in row.items()
    }


def _show(cell: Cell) -> str:
    if cell is None:
        return "–"
    if isinstance(cell, float):
        if not math.isfinite(cell):
            return "–"
        return f"{cell:.0f}" if abs(cell) >= 1000 else f"{cell:.3g}" if abs(cell) < 1 else f"{cell:.2f}"
    return str(cell)
