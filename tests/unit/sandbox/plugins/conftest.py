"""What the tests of the AWS stand-in's provider share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from aws_in_process import Aws, aws_in_process


@pytest.fixture
def aws() -> Iterator[Aws]:
    """An empty account."""
    with aws_in_process() as account:
        yield account
