"""The components as a program uses them, through the public test kit."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pulumi
import pytest

import pulumi_holdfast as holdfast
from holdfast_contract import tokens
from holdfast_contract.platform import PlatformContract
from pulumi_holdfast import testing
from pulumi_holdfast.plan import identities
from pulumi_holdfast.shared import password
from pulumi_holdfast.spec.endpoint import EndpointSpec
from pulumi_holdfast.spec.scaling import ScalingSpec
from pulumi_holdfast.spec.secrets import RegistryCredentialsSpec
from pulumi_holdfast.spec.shared import GatewaySpec, QueueSpec, ScalerSpec, SharedSpec

SECRET = "correct horse battery staple"


def _made(args: dict[str, Any]) -> dict[str, Any]:
    """Outputs are made inside the program: a function among the arguments gives one."""
    return {key: value() if callable(value) else value for key, value in args.items()}


def _endpoint(**args: Any) -> Callable[[], None]:
    def program() -> None:
        platform = testing.platform()
        holdfast.Endpoint("chat", {"platform": platform, "image": "ghcr.io/acme/chat:1", **_made(args)})  # type: ignore[typeddict-item]
        pulumi.export("endpoints", dict(platform.endpoints))

    return program


def _shared(**args: Any) -> Callable[[], None]:
    def program() -> None:
        given: dict[str, Any] = {
            "services_image": "ghcr.io/acme/services:1",
            "base_url": "https://gpu.example",
            "broker_secret": pulumi.Output.secret(SECRET),
            **_made(args),
        }
        shared = holdfast.SharedStack("holdfast", given)  # type: ignore[arg-type]
        pulumi.export("platform", shared.platform)
        pulumi.export("platform_key", shared.platform_key)

    return program


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
    made = testing.record(_endpoint(registry_credentials={"secret": "a"}, secrets={"A": {"secret": "b"}}))
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
    made = testing.record(_endpoint(registry_credentials={"secret": "a"}))
    made.assert_order("chat-pull", "chat-deployment", "chat-scaledobject")
    made.assert_order("chat-document", "chat-deployment")


def test_the_number_of_replicas_is_left_to_the_autoscaler() -> None:
    assert testing.record(_endpoint())["chat-deployment"].ignore_changes == ("spec.replicas",)


def test_a_value_of_the_program_is_secret_everywhere_and_its_secret_is_replaced_when_it_changes() -> None:
    made = testing.record(_endpoint(secrets=lambda: {"API_KEY": pulumi.Output.secret("hunter2")}))
    made.assert_no_secret("hunter2")
    kept = made["chat-config-secrets"].inputs
    assert kept["stringData"] == testing.Secret({"API_KEY": "hunter2"})
    assert kept["immutable"] is True
    assert "name" not in kept["metadata"]
    model = made["chat-deployment"].inputs["spec"]["template"]["spec"]["containers"][0]
    reference = {"name": "chat-config-secrets-1a2b3c", "key": "API_KEY"}
    assert {"name": "API_KEY", "valueFrom": {"secretKeyRef": reference}} in model["env"]


def test_the_test_kit_finds_a_leaked_secret() -> None:
    made = testing.record(_endpoint(description="the key is hunter2"))
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
    found = testing.record(_endpoint(hardware="a10g", scaling={"max_replicas": 2})).exports["endpoints"][
        "chat"
    ]
    assert found["url"] == "https://gpu.example/e/chat"
    assert (found["visibility"], found["min"], found["max"]) == ("private", 0, 2)
    assert found["cost"]["ceiling_usd_month"] == 1468.76


def test_a_domain_gives_every_endpoint_a_host_of_its_own() -> None:
    def program() -> None:
        platform = testing.platform(domain="gpu.example")
        endpoint = holdfast.Endpoint("chat", {"platform": platform, "image": "a:1"})
        pulumi.export("url", endpoint.url)

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


def test_the_shared_stack_keeps_the_brokers_secrets_secret() -> None:
    made = testing.record(_shared(registry_credentials={"secret": "acme/registry"}))
    made.assert_children_carry_the_name("holdfast")
    held = made["holdfast-broker"].inputs["stringData"].value
    seeds = [identities.signing_key(SECRET, part).seed for part in identities.PARTS]
    made.assert_no_secret(SECRET, password(SECRET), *seeds, held["gateway.creds"], held["scaler.creds"])
    assert not any(seed in text for seed in seeds for text in held.values())


def test_an_endpoints_workers_have_credentials_of_their_own_which_are_secret() -> None:
    made = testing.record(_endpoint())
    held = made["chat-broker"].inputs["stringData"].value["user.creds"]
    assert held == identities.credentials(testing.PLATFORM_KEY, "chat")
    made.assert_no_secret(held, testing.PLATFORM_KEY)
    (volume,) = (
        volume
        for volume in made["chat-deployment"].inputs["spec"]["template"]["spec"]["volumes"]
        if volume["name"] == "broker"
    )
    assert volume["secret"]["secretName"] == "chat-broker-1a2b3c"


def test_a_bucket_is_the_gateways_alone_and_workers_go_by_way_of_it() -> None:
    made = testing.record(_shared(bodies_bucket="acme-bodies", aws_region="eu-west-1"))
    contract = PlatformContract.model_validate(made.exports["platform"])
    assert contract.bodies_url == "http://holdfast-gateway-internal.holdfast-system:8081"
    assert made["holdfast-gateway-internal"].inputs["metadata"]["name"] == "holdfast-gateway-internal"
    pod = made["holdfast-gateway"].inputs["spec"]["template"]["spec"]
    env = {item["name"]: item.get("value") for item in pod["containers"][0]["env"]}
    assert env["HOLDFAST_BODIES_BUCKET"] == "acme-bodies"
    assert env["AWS_REGION"] == "eu-west-1"
    root = made["holdfast-broker"].inputs["stringData"].value["bodies.key"]
    worker = testing.record(_endpoint())["chat-broker"].inputs["stringData"].value["bodies.key"]
    assert root == identities.bodies_root(identities.worker_key(SECRET))
    assert worker == tokens.body_key(identities.bodies_root(testing.PLATFORM_KEY), "chat")
    made.assert_no_secret(root)


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


@pytest.mark.parametrize(("queue", "most"), [({"max_ha_assets": 116}, 50), ({"servers": 1}, None), ({}, 992)])
def test_how_many_endpoints_fit_follows_from_the_brokers(queue: dict[str, Any], most: int | None) -> None:
    exported = testing.record(_shared(queue=queue)).exports["platform"]
    assert PlatformContract.model_validate(exported).max_endpoints == most


def test_without_a_bucket_there_is_no_way_to_one() -> None:
    made = testing.record(_shared())
    assert "holdfast-gateway-internal" not in made.names
    assert PlatformContract.model_validate(made.exports["platform"]).bodies_url is None


def test_a_new_key_replaces_the_credentials_and_so_rolls_the_replicas() -> None:
    """A Secret that Pulumi names and that cannot change is replaced by one with another name."""
    inputs = testing.record(_endpoint())["chat-broker"].inputs
    assert inputs["immutable"] is True
    assert "name" not in inputs["metadata"]


def test_an_endpoint_of_the_same_program_takes_the_key_of_its_shared_stack() -> None:
    def program() -> None:
        args: Any = {
            "services_image": "ghcr.io/acme/services:1",
            "base_url": "https://gpu.example",
            "broker_secret": pulumi.Output.secret(SECRET),
        }
        shared = holdfast.SharedStack("holdfast", args)
        holdfast.Endpoint("chat", {"platform": holdfast.Platform.of(shared), "image": "a:1"})

    held = testing.record(program)["chat-broker"].inputs["stringData"].value["user.creds"]
    assert held == identities.credentials(identities.worker_key(SECRET), "chat")


@pytest.mark.parametrize(
    ("image", "key"),
    [
        ("registry.example:5000/holdfast/services:1.0", "registry.example:5000/holdfast/services"),
        ("ghcr.io/acme/services@sha256:" + "0" * 64, "ghcr.io/acme/services"),
        ("acme/services:1", "https://index.docker.io/v1/"),
    ],
)
def test_the_platforms_credentials_open_the_services_repository_alone(image: str, key: str) -> None:
    made = testing.record(_shared(services_image=image, registry_credentials={"secret": "acme/registry"}))
    template = made["holdfast-endpoints-pull"].inputs["spec"]["target"]["template"]["data"][
        ".dockerconfigjson"
    ]
    assert "{{ else }}" + key + "{{ end }}" in template


def test_the_shared_stack_exports_what_endpoint_stacks_read() -> None:
    exported = testing.record(_shared(registry_credentials={"secret": "acme/registry"})).exports["platform"]
    contract = PlatformContract.model_validate(exported)
    assert contract.scaler_address == "holdfast-scaler.holdfast-system:8090"
    assert contract.pull_secret == "holdfast-services-pull"


def test_namespaces_come_first_and_the_queue_before_those_who_need_it() -> None:
    made = testing.record(_shared())
    made.assert_order(
        "holdfast-system-namespace", "holdfast-nats-config", "holdfast-nats", "holdfast-gateway"
    )
    made.assert_order("holdfast-nats", "holdfast-scaler")
    needy = [
        resource.name
        for resource in made
        if "namespace" in resource.inputs.get("metadata", {}) and not resource.depends_on
    ]
    assert needy == [], "objects in a namespace that does not exist yet"


def test_three_servers_know_each_other_by_a_secret_and_stand_apart() -> None:
    made = testing.record(_shared())
    routes = made["holdfast-broker"].inputs["stringData"].value["routes"]
    assert routes.count("nats-route://cluster:") == 3
    spec = made["holdfast-nats"].inputs["spec"]
    assert spec["replicas"] == 3
    assert "podAntiAffinity" in spec["template"]["spec"]["affinity"]
    assert "$ROUTES" in made["holdfast-nats-config"].inputs["data"]["nats.conf"]


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (
            {"bodies_bucket": "s3://acme"},
            'bodies_bucket is "s3://acme", not a bucket\'s name: '
            "take 3 to 63 lower-case letters, digits, dots and hyphens, without s3://",
        ),
        ({"queue": {"servers": 2}}, "queue.servers is 2, neither 1 nor 3: take 3; 1 keeps no second copy"),
        (
            {"queue": {"host_path": "/data"}},
            'queue.host_path is "/data", one node\'s directory for 3 servers: '
            "declare servers=1, or leave it out and use a storage class",
        ),
        (
            {"base_url": "gpu.example"},
            'base_url is "gpu.example", not a URL: start it with https:// (http:// for a sandbox)',
        ),
        (
            {"base_url": "https://a/"},
            'base_url is "https://a/", a URL that ends with /: leave the last / out',
        ),
        ({"base_url": None}, "base_url is missing, required: declare the gateway's URL as callers see it"),
        (
            {"broker_secret": "short"},
            "broker_secret is (hidden), shorter than 24 characters: "
            "make one with `openssl rand -hex 32` and keep it with `pulumi config set --secret`",
        ),
        ({"gateway": {"node_port": 80}}, "gateway.node_port is 80, below 30000: use 30000 or more"),
        (
            {"namespace": "holdfast-system"},
            'namespace is "holdfast-system", also system_namespace: keep replicas apart from the system',
        ),
        ({"transforms": {"natz": {}}}, 'transforms.natz is "natz", not a child: did you mean nats?'),
        ({"service_image": "a"}, 'service_image is "a", an unknown field: did you mean services_image?'),
    ],
)
def test_a_wrong_shared_stack_is_told_with_path_value_rule_and_remedy(
    args: dict[str, Any], expected: str
) -> None:
    with pytest.raises(holdfast.SpecError) as caught:
        testing.record(_shared(**args))
    assert [str(problem) for problem in caught.value.problems] == [expected]


def test_a_short_broker_secret_is_found_when_it_is_an_output_as_well() -> None:
    with pytest.raises(ValueError, match=r"broker_secret is \(hidden\), shorter than 24 characters"):
        testing.record(_shared(broker_secret=lambda: pulumi.Output.secret("short")))


def test_the_same_program_registers_the_same_resources() -> None:
    first, second = testing.record(_endpoint()), testing.record(_endpoint())
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
        (holdfast.SharedStackArgs, SharedSpec, {"broker_secret", "previous_broker_secret"}, {"name"}),
        (holdfast.QueueArgs, QueueSpec, set(), set()),
        (holdfast.GatewayArgs, GatewaySpec, set(), set()),
        (holdfast.ScalerArgs, ScalerSpec, set(), set()),
        (holdfast.RegistryCredentialsArgs, RegistryCredentialsSpec, set(), set()),
    ]
    for args, spec, only_args, only_spec in pairs:
        assert set(args.__annotations__) - only_args == set(spec.model_fields) - only_spec
