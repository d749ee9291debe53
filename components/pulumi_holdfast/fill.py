"""Holes filled with outputs: what is plain stays plain, so that a preview shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi

from pulumi_holdfast.plan.wiring import HOLE

Outputs = Mapping[str, pulumi.Input[Any]]
"""A value for each hole."""


def fill(planned: Any, outputs: Outputs) -> Any:
    """Planned data with every hole replaced by its output. Raises KeyError for a hole that nothing fills."""
    if isinstance(planned, Mapping):
        return {key: fill(value, outputs) for key, value in planned.items()}
    if isinstance(planned, list):
        return [fill(value, outputs) for value in planned]
    if not isinstance(planned, str):
        return planned
    wanted = HOLE.findall(planned)
    if not wanted:
        return planned
    if HOLE.fullmatch(planned):
        return outputs[wanted[0]]
    return _text(planned, {name: outputs[name] for name in wanted})


def _text(planned: str, values: Outputs) -> Any:
    def written(known: Mapping[str, Any]) -> str:
        return HOLE.sub(lambda match: str(known[match[1]]), planned)

    if all(isinstance(value, str) for value in values.values()):
        return written(values)
    return pulumi.Output.all(**values).apply(written)
