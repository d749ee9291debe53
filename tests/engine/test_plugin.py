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
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc
from pydantic.alias_generators import to_camel

import pulumi_holdfast as holdfast

PLUGIN = Path(__file__).resolve().parents[2] / "components" / "plugin"
ENGINE = "127.0.0.1:9"
"""Nobody: a schema is made without the engine."""
ARGS = {
    "AwsPlatform": holdfast.AwsPlatformArgs,
    "Endpoint": holdfast.EndpointArgs,
    "SharedStack": holdfast.SharedStackArgs,
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
        ("AwsPlatform", {"kubeconfig", "clusterName"}),
        ("Endpoint", {"url"}),
        ("SharedStack", {"platform", "platformKey"}),
    ],
)
def test_a_component_gives_back_what_the_next_one_needs(
    schema: dict[str, Any], name: str, outputs: set[str]
) -> None:
    assert outputs <= set(schema["resources"][f"holdfast:index:{name}"]["properties"])


def test_every_type_that_is_named_is_described(schema: dict[str, Any]) -> None:
    text = json.dumps(schema)
    named = {part.split('"')[0] for part in text.split('"#/types/')[1:]}
    assert named
    assert named <= set(schema["types"])
