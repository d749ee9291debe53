"""New prices into the hardware table, from the list that Karpenter's provider for AWS generates. Pure text to text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["SOURCE", "PriceChange", "PriceError", "refreshed"]

SOURCE: Final = (
    "https://raw.githubusercontent.com/aws/karpenter-provider-aws/main/"
    "pkg/providers/pricing/zz_generated.pricing_aws.go"
)
"""On demand, Linux, no credentials needed; generated from the AWS Pricing API."""
_DATE: Final = re.compile(r"^// generated at (\d{4}-\d{2}-\d{2})T", re.MULTILINE)
_PRICE: Final = re.compile(r'"([a-z0-9-]+\.[a-z0-9-]+)":\s*([0-9]+\.[0-9]+)')
_ROW: Final = re.compile(r'("(?P<name>[a-z0-9-]+\.[a-z0-9-]+)":\s*\{"usd_per_hour": )(?P<price>[0-9.]+)')


class PriceError(ValueError):
    """A list of prices that cannot be used; says what is missing and what to do."""


@dataclass(frozen=True, slots=True)
class PriceChange:
    """A machine whose price is another one now."""

    machine: str
    before: float
    after: float | None
    """None: the list has no price for it, and the table keeps its own."""


def refreshed(table: str, region: str, listed: str) -> tuple[str, tuple[PriceChange, ...]]:
    """The text of `hardware.json` with the list's prices and date, and what changed.

    Everything else of the text stays as it is. Raises PriceError where `listed` has no date or no such region.
    """
    date = _DATE.search(listed)
    if date is None:
        raise PriceError(
            "the list has no line `// generated at <date>`: take zz_generated.pricing_aws.go as it is"
        )
    start = listed.find(f'"{region}": {{')
    if start < 0:
        raise PriceError(f"the list has no prices for {region}: choose a region that it has")
    prices = {
        name: float(price) for name, price in _PRICE.findall(listed[start : listed.find("\n\t}", start)])
    }
    changes: list[PriceChange] = []

    def replaced(row: re.Match[str]) -> str:
        before, after = float(row["price"]), prices.get(row["name"])
        if after is None or after != before:
            changes.append(PriceChange(row["name"], before, after))
        return row[0] if after is None else f"{row[1]}{after:g}" if after != before else row[0]

    text = _ROW.sub(replaced, table)
    text = re.sub(r'("generated": )"[^"]*"', rf'\g<1>"{date[1]}"', text, count=1)
    return text, tuple(changes)
