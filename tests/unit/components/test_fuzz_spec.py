"""Whatever stands in a declaration or a template: a spec, or every problem of it, and no other error."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from aws_args import aws_args
from hypothesis import given, settings
from hypothesis import strategies as st

from pulumi_holdfast.spec.aws import AwsSpec, parse_aws
from pulumi_holdfast.spec.endpoint import EndpointSpec
from pulumi_holdfast.spec.parse import parse_endpoint
from pulumi_holdfast.spec.problems import SpecError
from pulumi_holdfast.spec.shared import SharedSpec, parse_shared
from pulumi_holdfast.spec.template import Catalogue

NONE = Catalogue(Path("/nonexistent"))
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = sorted(EndpointSpec.model_fields)
SHARED = sorted(set(SharedSpec.model_fields) - {"name"})
AWS = sorted(set(AwsSpec.model_fields) - {"name"})
WORDS = [
    "kind",
    "existing",
    "capacity",
    "instance_types",
    "zones",
    "vpc_id",
    "system",
    "keda",
    "managed",
    "karpenter",
]
SECTION = st.recursive(
    ANY | st.sampled_from(WORDS),
    lambda inner: st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=8,
)


@given(st.text(max_size=45), st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=6), ANY, max_size=5))
def test_any_declaration_is_a_spec_or_a_list_of_problems(name: str, args: dict[str, Any]) -> None:
    try:
        parse_endpoint(name, {"image": "docker.io/library/x:1", **args}, NONE)
    except SpecError:
        return


@given(
    st.just("gpu") | st.text(max_size=45),
    st.dictionaries(st.sampled_from(SHARED) | st.text(max_size=6), ANY, max_size=5),
)
def test_any_declaration_of_a_shared_stack_is_a_spec_or_a_list_of_problems(
    name: str, args: dict[str, Any]
) -> None:
    try:
        parse_shared(name, {"services_image": "acme/services:1", **args})
    except SpecError:
        return


@given(
    st.just("gpu") | st.text(max_size=45), st.dictionaries(st.sampled_from(AWS), ANY | SECTION, max_size=5)
)
def test_any_declaration_of_a_platform_is_a_spec_or_a_list_of_problems(
    name: str, args: dict[str, Any]
) -> None:
    try:
        parse_aws(name, aws_args(**args))
    except SpecError:
        return


@settings(max_examples=60)
@given(
    st.binary(max_size=200) | st.text(max_size=80).map(lambda text: f"name: chat\nversion: {text}".encode())
)
def test_any_template_is_one_or_a_list_of_problems(raw: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "chat").mkdir()
        (Path(folder) / "chat" / "template.yaml").write_bytes(raw)
        try:
            Catalogue(Path(folder)).find("chat")
        except SpecError:
            return


def test_a_template_that_is_no_yaml_says_so(tmp_path: Path) -> None:
    (tmp_path / "chat").mkdir()
    (tmp_path / "chat" / "template.yaml").write_text("- a list")
    with pytest.raises(
        SpecError, match=r"template\.yaml is .*, is not a mapping in YAML: see templates/README.md"
    ):
        Catalogue(tmp_path).find("chat")


def test_a_template_is_told_all_that_is_wrong_with_it(tmp_path: Path) -> None:
    (tmp_path / "chat").mkdir()
    (tmp_path / "chat" / "template.yaml").write_text(
        "name: chat\nversion: '1'\ntitle: Chat\nlicence: MIT\nimage: chat:1\nhardware: cpu\n"
        "model: {name: a, source: b, licence: MIT, sorce: c}\ncommand: vllm serve\nargs: 5\n"
    )
    with pytest.raises(SpecError) as caught:
        Catalogue(tmp_path).find("chat")
    assert sorted(str(problem) for problem in caught.value.problems) == [
        "args is 5, not a list: write [value, …]",
        'command is "vllm serve", not a list: write [value, …]',
        "model.sorce is (hidden), an unknown field: did you mean source?",
    ]
