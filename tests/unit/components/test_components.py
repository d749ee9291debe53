"""The components as a program uses them, through the public test kit."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from importlib import import_module

import pulumi
import pytest
from component_programs import endpoint

import pulumi_holdfast as holdfast
from holdfast_contract.platform import PlatformContract
from pulumi_holdfast import testing
from pulumi_holdfast.plan import identities
from pulumi_holdfast.spec.endpoint import EndpointSpec, SizesSpec
from pulumi_holdfast.spec.scaling import ScalingSpec
from pulumi_holdfast.spec.secrets import RegistryCredentialsSpec
from pulumi_holdfast.spec.shared import GatewaySpec, QueueSpec, ScalerSpec, SharedSpec


def test_public_names_are_listed_and_exist() -> None:
    nodes = [
        node for node in ast.walk(ast.parse(inspect.getsource(holdfast))) if isinstance(node, ast.ImportFrom)
    ]
    places = {
        alias.name: node.module
        for node in nodes
        for alias in node.names
        if (node.module or "").startswith(("holdfast_contract.", "pulumi_holdfast."))
    }
    assert set(holdfast.__all__) == set(places)
    for name, module in places.items():
        assert getattr(holdfast, name) is getattr(import_module(str(module)), name)
    assert set(holdfast.__all__) <= set(dir(holdfast))
    with pytest.raises(AttributeError, match="module 'pulumi_holdfast' has no attribute 'SharedStuck'"):
        holdfast.SharedStuck  # noqa: B018


def test_a_program_of_endpoints_alone_does_not_load_the_shared_layer() -> None:
    program = "import sys, pulumi_holdfast as h; h.Endpoint; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    names = loaded.stdout.split()
    assert "pulumi_holdfast.plan.endpoint" in names
    assert not {"pulumi_holdfast.shared", "pulumi_holdfast.aws", "pulumi_holdfast.addons"} & set(names)


def test_the_list_of_public_names_is_sorted() -> None:
    assert holdfast.__all__ == sorted(holdfast.__all__)


def test_an_endpoint_registers_its_objects_below_it_and_with_its_name_in_front() -> None:
    made = testing.record(endpoint(registry_credentials={"secret": "a"}, secrets={"A": {"secret": "b"}}))
    assert set(made.names) == {
        "chat",
        "chat-document",
        "chat-broker",
        "chat-pull",
        "chat-secrets",
        "chat-deployment",
        "chat-scaledobject",
        "chat-network",
        "chat-disruption",
    }
    made.assert_children_carry_the_name("chat")
    assert {child.parent for child in made if child.name.startswith("chat-")} == {made["chat"].urn}


def test_what_a_replica_needs_is_there_before_it() -> None:
    made = testing.record(endpoint(registry_credentials={"secret": "a"}))
    made.assert_order("chat-pull", "chat-deployment", "chat-scaledobject")
    made.assert_order("chat-document", "chat-deployment")


def test_the_number_of_replicas_is_left_to_the_autoscaler() -> None:
    assert testing.record(endpoint())["chat-deployment"].ignore_changes == ("spec.replicas",)


def test_a_value_of_the_program_is_secret_everywhere_and_its_secret_is_replaced_when_it_changes() -> None:
    made = testing.record(endpoint(secrets=lambda: {"API_KEY": pulumi.Output.secret("hunter2")}))
    made.assert_no_secret("hunter2")
    kept = made["chat-config-secrets"].inputs
    assert kept["stringData"] == testing.Secret({"API_KEY": "hunter2"})
    assert kept["immutable"] is True
    assert "name" not in kept["metadata"]
    model = made["chat-deployment"].inputs["spec"]["template"]["spec"]["containers"][0]
    reference = {"name": "chat-config-secrets-1a2b3c", "key": "API_KEY"}
    assert {"name": "API_KEY", "valueFrom": {"secretKeyRef": reference}} in model["env"]


def test_a_value_of_the_program_can_be_a_file() -> None:
    made = testing.record(
        endpoint(
            secrets=lambda: {"CERT": {"value": pulumi.Output.secret("hunter2"), "file": "/etc/cert.pem"}}
        )
    )
    made.assert_no_secret("hunter2")
    assert made["chat-config-secrets"].inputs["stringData"] == testing.Secret({"CERT": "hunter2"})
    pod = made["chat-deployment"].inputs["spec"]["template"]["spec"]
    (model,) = pod["containers"]
    mount = {"name": "config-secrets", "mountPath": "/etc/cert.pem", "subPath": "CERT", "readOnly": True}
    assert mount in model["volumeMounts"]
    assert {"CERT"}.isdisjoint(setting["name"] for setting in model["env"])


@pytest.mark.parametrize("file", [{}, {"file": "/etc/cert.pem"}])
def test_a_value_that_is_only_promised_is_refused(file: dict[str, str]) -> None:
    with pytest.raises(holdfast.SpecError) as caught:
        testing.record(endpoint(secrets={"CERT": {"value": True, **file}}))
    assert [str(problem) for problem in caught.value.problems] == [
        "secrets.CERT.value is (hidden), neither text nor an output of the program: "
        "give the value itself, or name a secret instead"
    ]


def test_settings_take_outputs_of_other_resources() -> None:
    made = testing.record(
        endpoint(env=lambda: {"BUCKET": pulumi.Output.from_input("weights"), "MODE": "fast"})
    )
    (model,) = made["chat-deployment"].inputs["spec"]["template"]["spec"]["containers"]
    assert {"name": "BUCKET", "value": "weights"} in model["env"]
    assert {"name": "MODE", "value": "fast"} in model["env"]


def test_a_setting_that_sounds_like_a_secret_is_refused_as_an_output_too() -> None:
    with pytest.raises(holdfast.SpecError, match=r"env.API_KEY is \(hidden\), what looks like a secret"):
        testing.record(endpoint(env=lambda: {"API_KEY": pulumi.Output.secret("hunter2")}))


def test_an_output_where_only_plain_values_are_taken_is_told() -> None:
    remedy = "write one that is known before the update: few fields take outputs, and say so"

    def given() -> pulumi.Output[str]:
        return pulumi.Output.from_input("8000")

    with pytest.raises(holdfast.SpecError) as caught:
        testing.record(
            endpoint(
                port=given,
                hardware=given,
                tokens=given,
                visibility=given,
                labels=lambda: {"team": given()},
                args=lambda: ["--bucket", given()],
                scaling=lambda: {"max_replicas": given()},
                transforms=lambda: {"deployment": {"spec": given()}},
            )
        )
    told = {problem.path: str(problem) for problem in caught.value.problems}
    assert told["port"] == f"port is of type Output, no plain value: {remedy}"
    assert {
        "port",
        "hardware",
        "tokens",
        "visibility",
        "labels.team",
        "args[1]",
        "scaling.max_replicas",
    } <= set(told)
    assert all(text.endswith(f"of type Output, no plain value: {remedy}") for text in told.values())


def test_the_test_kit_finds_a_leaked_secret() -> None:
    made = testing.record(endpoint(description="the key is hunter2"))
    with pytest.raises(AssertionError, match="a secret stands in plain text in chat-document"):
        made.assert_no_secret("hunter2")


def test_an_image_that_another_resource_makes_leaves_the_rest_of_the_preview_readable() -> None:
    def program() -> None:
        unknown: pulumi.Output[str] = pulumi.Output.from_input(pulumi.UNKNOWN)
        holdfast.Endpoint("chat", {"platform": testing.platform(), "image": unknown})

    spec = testing.record(program, preview=True)["chat-deployment"].inputs["spec"]["template"]["spec"]
    assert spec["containers"][0]["image"] == testing.UNKNOWN
    assert spec["containers"][0]["name"] == "model"
    assert spec["terminationGracePeriodSeconds"] == 930


def test_the_summary_of_every_endpoint_is_for_the_stacks_outputs() -> None:
    found = testing.record(endpoint(hardware="a10g", scaling={"max_replicas": 2})).exports["endpoints"][
        "chat"
    ]
    assert found["url"] == "https://gpu.example/e/chat"
    assert (found["visibility"], found["min"], found["max"]) == ("private", 0, 2)
    assert found["cost"]["ceiling_usd_month"] == 1468.76


def test_a_domain_gives_every_endpoint_a_host_of_its_own() -> None:
    def program() -> None:
        platform = testing.platform(domain="gpu.example")
        made = holdfast.Endpoint("chat", {"platform": platform, "image": "a:1"})
        pulumi.export("url", made.url)

    assert testing.record(program).exports["url"] == "https://chat.gpu.example"


def test_tokens_of_the_platform_open_private_endpoints_and_are_no_part_of_public_ones() -> None:
    token = "sha256:abcd:" + "0" * 64

    def program() -> None:
        platform = holdfast.Platform.from_contract(
            testing.platform_contract(), tokens=[token], key=testing.PLATFORM_KEY
        )
        holdfast.Endpoint("chat", {"platform": platform, "image": "a:1"})
        holdfast.Endpoint(
            "open", {"platform": platform, "image": "a:1", "visibility": holdfast.Visibility.PUBLIC}
        )

    made = testing.record(program)
    assert "0" * 64 in made["chat-document"].inputs["data"]["endpoint.json"]
    assert "0" * 64 not in made["open-document"].inputs["data"]["endpoint.json"]


def test_the_platform_is_read_from_the_shared_stack() -> None:
    def program() -> None:
        platform = holdfast.Platform.from_stack("prod-shared")
        holdfast.Endpoint("chat", {"platform": platform, "image": "a:1"})

    made = testing.record(program, shared=testing.platform_contract(namespace="gpu"))
    assert made["chat-deployment"].inputs["metadata"]["namespace"] == "gpu"


def test_a_shared_stack_of_another_version_is_refused_with_the_remedy() -> None:
    newer = PlatformContract(**{**testing.platform_contract().model_dump(), "version": 2})
    expected = (
        'stack "prod-shared" exports a platform of version 2, and this library knows 1: '
        "update the older of the two, then run `pulumi up` on the shared stack first"
    )
    with pytest.raises(ValueError, match=re.escape(expected)):
        testing.record(
            lambda: holdfast.Endpoint(
                "chat", {"platform": holdfast.Platform.from_stack("prod-shared"), "image": "a:1"}
            ),
            shared=newer,
        )


def test_a_stack_that_exports_no_platform_is_an_error() -> None:
    with pytest.raises(KeyError, match="platform"):
        testing.record(
            lambda: holdfast.Endpoint(
                "chat", {"platform": holdfast.Platform.from_stack("other"), "image": "a:1"}
            )
        )


def test_a_shared_stack_that_exports_no_key_is_told_what_to_export() -> None:
    def program() -> None:
        contract = pulumi.Output.from_input(testing.platform_contract().model_dump(mode="json"))
        holdfast.Endpoint("chat", {"platform": contract, "image": "a:1"})

    expected = (
        "`platform_key` exports no platform_key, or one that is none: export the shared stack's platform_key"
    )
    with pytest.raises(ValueError, match=re.escape(expected)):
        testing.record(program)


def test_an_endpoints_workers_have_credentials_of_their_own_which_are_secret() -> None:
    made = testing.record(endpoint())
    held = made["chat-broker"].inputs["stringData"].value["user.creds"]
    assert held == identities.credentials(testing.PLATFORM_KEY, "chat")
    made.assert_no_secret(held, testing.PLATFORM_KEY)
    (volume,) = (
        volume
        for volume in made["chat-deployment"].inputs["spec"]["template"]["spec"]["volumes"]
        if volume["name"] == "broker"
    )
    assert volume["secret"]["secretName"] == "chat-broker-1a2b3c"


def test_more_endpoints_than_the_brokers_have_room_for_are_refused_in_the_preview() -> None:
    def program(count: int) -> None:
        platform = testing.platform(max_endpoints=2)
        for number in range(count):
            holdfast.Endpoint(f"chat-{number}", {"platform": platform, "image": "a:1"})

    testing.record(lambda: program(2))
    expected = (
        "this program declares 3 endpoints, above the 2 that the platform's brokers have room for: "
        "raise queue.max_ha_assets of the shared stack (two for each endpoint), or take a second platform"
    )
    with pytest.raises(ValueError, match=re.escape(expected)):
        testing.record(lambda: program(3))


def test_a_new_key_replaces_the_credentials_and_so_rolls_the_replicas() -> None:
    """A Secret that Pulumi names and that cannot change is replaced by one with another name."""
    inputs = testing.record(endpoint())["chat-broker"].inputs
    assert inputs["immutable"] is True
    assert "name" not in inputs["metadata"]


def test_the_same_program_registers_the_same_resources() -> None:
    first, second = testing.record(endpoint()), testing.record(endpoint())
    assert {r.name: r.inputs for r in first} == {r.name: r.inputs for r in second}


def test_the_components_can_be_offered_to_other_languages_with_every_field_described() -> None:
    analyzer = import_module("pulumi.provider.experimental.analyzer")
    found = analyzer.Analyzer("holdfast").analyze([holdfast.Endpoint, holdfast.SharedStack])
    components = found["component_definitions"]
    assert set(components) == {"Endpoint", "SharedStack"}
    nameless = [
        f"{component}.{field}"
        for component, definition in components.items()
        for field, described in definition.inputs.items()
        if not described.description
    ]
    assert nameless == []


def test_the_arguments_and_the_specs_have_the_same_fields() -> None:
    pairs = [
        (holdfast.EndpointArgs, EndpointSpec, {"platform", "platform_key"}, {"name", "template_ref"}),
        (holdfast.ScalingArgs, ScalingSpec, set(), set()),
        (holdfast.SizesArgs, SizesSpec, set(), set()),
        (holdfast.SharedStackArgs, SharedSpec, {"broker_secret", "previous_broker_secret"}, {"name"}),
        (holdfast.QueueArgs, QueueSpec, set(), set()),
        (holdfast.GatewayArgs, GatewaySpec, set(), set()),
        (holdfast.ScalerArgs, ScalerSpec, set(), set()),
        (holdfast.RegistryCredentialsArgs, RegistryCredentialsSpec, set(), set()),
    ]
    for args, spec, only_args, only_spec in pairs:
        assert set(args.__annotations__) - only_args == set(spec.model_fields) - only_spec


def test_a_transform_that_cannot_be_laid_over_anything_is_told_by_the_engine_without_a_traceback() -> None:
    with pytest.raises(pulumi.RunError) as caught:
        testing.record(endpoint(transforms={"deployment": "x"}))
    assert str(caught.value) == (
        'endpoint "chat" has 1 problem:\n'
        '  transforms.deployment is "x", not a mapping: write {"field": value}'
    )
