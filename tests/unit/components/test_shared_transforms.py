"""Overrides of a shared stack's objects."""

from __future__ import annotations

import pytest
from component_programs import shared

import pulumi_holdfast as holdfast
from pulumi_holdfast import testing


def test_an_override_that_cannot_be_laid_over_an_object_is_told_with_path_value_rule_and_remedy() -> None:
    with pytest.raises(holdfast.SpecError) as caught:
        testing.record(shared(transforms={"nats": ["x"], "gateway": {"metadata": None}}))
    assert str(caught.value) == (
        'shared stack "holdfast" has 2 problems:\n'
        "  transforms.nats is ['x'], not a mapping: write {\"field\": value}\n"
        "  transforms.gateway.metadata is None, not a mapping: name the field of it that is to change or go"
    )
