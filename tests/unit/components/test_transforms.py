"""Overrides of planned objects: laid over them, or told with path, value, rule and remedy."""

from __future__ import annotations

from typing import Any

import pytest
from component_programs import shared

from holdfast_contract import names
from pulumi_holdfast import testing
from pulumi_holdfast.plan.endpoint import plan_endpoint
from pulumi_holdfast.plan.manifest import Manifest
from pulumi_holdfast.spec.parse import parse_endpoint
from pulumi_holdfast.spec.problems import SpecError
from pulumi_holdfast.spec.template import catalogue


def _planned(**args: Any) -> dict[str, Manifest]:
    spec = parse_endpoint("chat", {"image": "ghcr.io/acme/chat:1", **args}, catalogue())
    return {manifest.child: manifest for manifest in plan_endpoint(spec)}


@pytest.mark.parametrize("child", ["deployment", "scaledobject", "document", "network", "disruption"])
def test_an_override_is_laid_over_the_planned_object_and_none_removes(child: str) -> None:
    planned = _planned(
        transforms={child: {"metadata": {"labels": {"team": "x", names.LABEL_ENDPOINT: None}}}}
    )
    labels = planned[child].metadata["labels"]
    assert labels["team"] == "x"
    assert names.LABEL_ENDPOINT not in labels


def test_an_override_cannot_rename_an_object() -> None:
    planned = _planned(transforms={"deployment": {"metadata": {"name": "other"}}})
    assert planned["deployment"].name == "chat"


def test_every_override_that_cannot_be_laid_over_anything_is_told() -> None:
    transforms = {
        "deployment": "x",
        "document": {"metadata": None},
        "network": {"metadata": "x"},
        "pull": {"spec": {"refreshInterval": "1m"}},
        "secrets": {},
        "disruption": None,
    }
    with pytest.raises(SpecError) as caught:
        _planned(transforms=transforms)
    assert caught.value.subject == 'endpoint "chat"'
    assert [str(problem) for problem in caught.value.problems] == [
        'transforms.deployment is "x", not a mapping: write {"field": value}',
        "transforms.document.metadata is None, not a mapping: name the field of it that is to change or go",
        'transforms.network.metadata is "x", not a mapping: name the field of it that is to change or go',
        'transforms.pull is "pull", an object that this declaration does not make: '
        "leave it out, or declare what needs it",
        'transforms.secrets is "secrets", an object that this declaration does not make: '
        "leave it out, or declare what needs it",
    ]


def test_an_override_of_an_object_that_is_made_for_a_field_is_laid_over_it() -> None:
    planned = _planned(
        registry_credentials={"secret": "acme/ghcr"}, transforms={"pull": {"spec": {"refreshInterval": "1m"}}}
    )
    assert planned["pull"].body["spec"]["refreshInterval"] == "1m"


def test_an_override_of_a_shared_stack_that_cannot_be_laid_over_an_object_is_told_as_well() -> None:
    with pytest.raises(SpecError) as caught:
        testing.record(shared(transforms={"nats": ["x"], "gateway": {"metadata": None}}))
    assert str(caught.value) == (
        'shared stack "holdfast" has 2 problems:\n'
        "  transforms.nats is ['x'], not a mapping: write {\"field\": value}\n"
        "  transforms.gateway.metadata is None, not a mapping: name the field of it that is to change or go"
    )
