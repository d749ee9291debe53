"""The components as other languages see them: the plugin's own process, asked as `pulumi package add` asks it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from aws_args import aws_args
from pulumi.provider.experimental.component import ComponentProvider
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc
from pydantic.alias_generators import to_camel

import pulumi_holdfast as holdfast
from pulumi_holdfast import testing

PLUGIN = Path(__file__).resolve().parents[2] / "components" / "plugin"
ENGINE = "127.0.0.1:9"
"""Nobody: a schema is made without the engine."""
ARGS = {
    "AwsPlatform": holdfast.AwsPlatformArgs,
    "Endpoint": holdfast.EndpointArgs,
    "SharedStack": holdfast.SharedStackArgs,
}
AWS_OUTPUTS = {
    "atRest",
    "baseUrl",
    "bodiesBucket",
    "clusterName",
    "gpuNodeSelector",
    "identifier",
    "kubeconfig",
    "loadBalancerIdleS",
    "tlsSecret",
    "weightsBucket",
}
pytestmark = pytest.mark.timeout(100)


@pytest.fixture(scope="module")
def schema() -> Iterator[dict[str, Any]]:
    """What the plugin says of itself."""
    process = subprocess.Popen([sys.executable, PLUGIN, ENGINE], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            provider = provider_pb2_grpc.ResourceProviderStub(channel)
            answer = provider.GetSchema(provider_pb2.GetSchemaRequest(version=0), timeout=30)
        yield json.loads(answer.schema)
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_the_plugin_offers_the_three_components(schema: dict[str, Any]) -> None:
    assert schema["name"] == "holdfast"
    assert set(schema["resources"]) == {f"holdfast:index:{name}" for name in ARGS}
    assert all(one["isComponent"] for one in schema["resources"].values())


@pytest.mark.parametrize("name", sorted(ARGS))
def test_a_components_inputs_are_those_of_the_library_with_the_same_ones_required(
    schema: dict[str, Any], name: str
) -> None:
    resource = schema["resources"][f"holdfast:index:{name}"]
    args = ARGS[name]
    required, optional = args.__required_keys__, args.__optional_keys__
    assert set(resource["requiredInputs"]) == {to_camel(field) for field in required}
    assert set(resource["inputProperties"]) == {to_camel(field) for field in required | optional}


@pytest.mark.parametrize(
    ("name", "outputs"),
    [
        ("AwsPlatform", AWS_OUTPUTS),
        ("Endpoint", {"url"}),
        ("SharedStack", {"platform", "platformKey"}),
    ],
)
def test_a_component_gives_back_what_the_next_one_needs(
    schema: dict[str, Any], name: str, outputs: set[str]
) -> None:
    properties = schema["resources"][f"holdfast:index:{name}"]["properties"]
    assert outputs <= set(properties)
    assert all(properties[output]["description"] for output in outputs)


def test_what_a_platform_on_aws_may_lack_is_optional_and_the_rest_is_not(schema: dict[str, Any]) -> None:
    resource = schema["resources"]["holdfast:index:AwsPlatform"]
    assert set(resource["properties"]) == AWS_OUTPUTS
    assert AWS_OUTPUTS - set(resource["required"]) == {"baseUrl", "loadBalancerIdleS", "tlsSecret"}
    assert resource["properties"]["loadBalancerIdleS"]["type"] == "integer"


@pytest.mark.parametrize(
    ("way_in", "lacking"),
    [
        ({"kind": "nlb", "domain": "gpu.example.com", "tls_secret": "gpu-tls"}, set()),
        ({"kind": "none"}, {"baseUrl", "loadBalancerIdleS", "tlsSecret"}),
    ],
)
def test_a_platform_on_aws_gives_other_languages_every_output_that_it_has(
    way_in: dict[str, Any], lacking: set[str]
) -> None:
    offered = ComponentProvider([holdfast.AwsPlatform], "holdfast")
    given: dict[str, Any] = {}

    def program() -> None:
        made = holdfast.AwsPlatform("gpu", aws_args(ingress=way_in))  # type: ignore[arg-type]
        (definition,) = offered._component_defs.values()
        given.update(offered.get_state(made, definition))

    testing.record(program)
    assert set(given) == AWS_OUTPUTS - lacking
    assert given["gpuNodeSelector"] == {"holdfast.dev/gpu": "true"}
    assert given["atRest"][0] == {"what": "control plane", "count": 1, "usd_month": 73.0, "note": ""}


def test_every_type_that_is_named_is_described(schema: dict[str, Any]) -> None:
    text = json.dumps(schema)
    named = {part.split('"')[0] for part in text.split('"#/types/')[1:]}
    assert named
    assert named <= set(schema["types"])
