"""Errors at the border to Pulumi: the engine shows their text alone, without a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager

import pulumi

from pulumi_holdfast.spec.problems import SpecError


class DeclarationError(SpecError, pulumi.RunError):
    """A SpecError raised by a component; Pulumi prints it as it stands."""


@contextmanager
def explained() -> Iterator[None]:
    """Turns the pure SpecError into the one that Pulumi prints as it stands."""
    try:
        yield
    except SpecError as error:
        raise DeclarationError(error.subject, error.problems) from None
