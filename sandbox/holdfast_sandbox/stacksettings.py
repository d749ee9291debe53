"""The stacks that `make up` declares, and their settings: files in the checkout, for there `pulumi` looks for them,
that hold references and a salt of one sandbox alone."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from holdfast_sandbox.paths import CHECKOUT

SHARED_STACK: Final = "sandbox-shared"
ENDPOINTS_STACK: Final = "sandbox"


def file(stack: str) -> Path:
    """Where a stack's settings are."""
    return CHECKOUT / "stacks" / f"Pulumi.{stack}.yaml"


def is_in(backend: Path, stack: str) -> bool:
    """Whether Pulumi's state in that folder holds the stack."""
    return any(backend.glob(f".pulumi/stacks/*/{stack}.json*"))


def forget(backend: Path) -> None:
    """Remove the settings of those of the two stacks that Pulumi's state in that folder holds."""
    for stack in (SHARED_STACK, ENDPOINTS_STACK):
        if is_in(backend, stack):
            file(stack).unlink(missing_ok=True)
