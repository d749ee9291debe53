"""The table: one row for every type, one entry for every function."""

from __future__ import annotations

from typing import Final

from holdfast_sandbox.plugins.aws.model import Row
from holdfast_sandbox.plugins.aws.tables import (
    balancing,
    compute,
    domains,
    eks,
    firewall,
    iam,
    messages,
    network,
    routes,
    secrets,
    storage,
)
from holdfast_sandbox.plugins.aws.tables.functions import FUNCTIONS

_TABLES: Final = (
    secrets,
    iam,
    storage,
    network,
    routes,
    firewall,
    compute,
    eks,
    balancing,
    domains,
    messages,
)
ROWS: Final[dict[str, Row]] = {row.token: row for table in _TABLES for row in table.ROWS}
"""Every type, by its token."""

__all__ = ["FUNCTIONS", "ROWS"]
