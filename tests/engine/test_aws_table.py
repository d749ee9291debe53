"""The table of types against the SDK: a property that the SDK does not have would be a typing mistake."""

from __future__ import annotations

import importlib
import inspect
import re
from typing import Any

import pytest

from holdfast_sandbox.plugins.aws.model import Row
from holdfast_sandbox.plugins.aws.tables import FUNCTIONS, ROWS

# The SDK warns about its own old names when its classes are looked at.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def _resource_class(token: str) -> Any:
    _, module, name = token.split(":")
    package = module.partition("/")[0]
    return getattr(importlib.import_module(f"pulumi_aws.{package}"), name)


def _properties(resource: Any) -> set[str]:
    """Pulumi's own names, from the getters of the SDK."""
    source = inspect.getsource(resource)
    named = set(re.findall(r'@pulumi\.getter\(name="(\w+)"\)', source))
    return named | set(re.findall(r"@pulumi\.getter\n\s+def (\w+)\(", source))


@pytest.mark.parametrize("row", ROWS.values(), ids=lambda row: row.token)
def test_every_property_of_a_row_is_one_of_the_sdk(row: Row) -> None:
    known = _properties(_resource_class(row.token)) | {"arn", "region"}
    names = {*row.outputs, *row.required, *row.inputs, *row.local, *row.json, *row.unique, *row.unsure}
    names |= {name for update in row.updates for name in update.properties}
    assert names - known == set()


@pytest.mark.parametrize("row", ROWS.values(), ids=lambda row: row.token)
def test_every_required_input_of_the_sdk_is_known(row: Row) -> None:
    signature = inspect.signature(_resource_class(row.token)._internal_init)
    assert signature is not None
    source = inspect.getsource(_resource_class(row.token)._internal_init)
    for name in re.findall(r"Missing required property '(\w+)'", source):
        camel = re.sub(r"_([a-z0-9])", lambda match: match[1].upper(), name)
        assert camel in row.known_inputs(), f"{row.token} cannot be declared without {camel}"


@pytest.mark.parametrize("token", FUNCTIONS)
def test_every_function_is_one_of_the_sdk(token: str) -> None:
    _, module, name = token.split(":")
    package = module.partition("/")[0]
    found = importlib.import_module("pulumi_aws" if package == "index" else f"pulumi_aws.{package}")
    assert hasattr(found, re.sub(r"([A-Z])", lambda match: f"_{match[1].lower()}", name))
