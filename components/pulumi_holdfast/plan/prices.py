"""The price table for the web page: `python -m pulumi_holdfast.plan.prices --write` writes `web/prices.json`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

from pulumi_holdfast.plan.cost import HOURS_PER_MONTH
from pulumi_holdfast.spec.hardware import HardwareTable, hardware_table

PAGE: Final = Path(__file__).resolve().parents[3] / "web" / "prices.json"
"""Where it stands in a checkout."""


def page_prices(table: HardwareTable) -> str:
    """The table with what the page needs to work out an endpoint's floor and ceiling, as JSON text."""
    found = {
        "generated": table.generated,
        "region": table.region,
        "hours_per_month": HOURS_PER_MONTH,
        "instances": {
            name: machine.model_dump(include={"usd_per_hour", "vcpus", "memory_gib", "gpus"})
            for name, machine in table.instances.items()
        },
        "presets": {name: preset.model_dump() for name, preset in table.presets.items()},
    }
    return json.dumps(found, indent=1) + "\n"


def main(arguments: list[str]) -> int:
    """Prints the table, or writes it with `--write`; 2 for anything else."""
    text = page_prices(hardware_table())
    if arguments == ["--write"]:
        PAGE.write_text(text)
    elif arguments:
        print("usage: python -m pulumi_holdfast.plan.prices [--write]", file=sys.stderr)
        return 2
    else:
        print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
