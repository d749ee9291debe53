"""The table: one row for every type, one entry for every function."""

from __future__ import annotations

from typing import Final

from holdfast_sandbox.plugins.aws.model import Row
from holdfast_sandbox.plugins.aws.tables import iam, secrets, storage
from holdfast_sandbox.plugins.aws.tables.functions import FUNCTIONS

ROWS: Final[dict[str, Row]] = {row.token: row for row in (*secrets.ROWS, *iam.ROWS, *storage.ROWS)}
"""Every type, by its token."""

__all__ = ["FUNCTIONS", "ROWS"]
