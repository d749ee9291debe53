"""The shared stack as a program uses it, through the public test kit."""

from __future__ import annotations

from typing import Any

import pulumi
import pytest
from component_programs import SECRET, endpoint, shared

import pulumi_holdfast as holdfast
from holdfast_contract import names, tokens
from holdfast_contract.platform import PlatformContract
from pulumi_holdfast import testing
from pulumi_holdfast.plan import identities
from pulumi_holdfast.shared import password
from pulumi_holdfast.spec.shared import parse_shared


def test_the_shared_stack_keeps_the_brokers_secrets_secret() -> None:
    made = testing.record(shared(registry_credentials={"secret": "acme/registry"}))
    made.assert_children_carry_the_name("holdfast")
    held = made["holdfast-broker"].inputs["stringData"].value
    seeds = [identities.signing_key(SECRET, part).seed for part in identities.PARTS]
    made.assert_no_secret(SECRET, password(SECRET), *seeds, held["gateway.creds"], held["scaler.creds"])
    assert not any(seed in text for seed in seeds for text in held.values())


def test_a_bucket_is_the_gateways_alone_and_workers_go_by_way_of_it() -> None:
    made = testing.record(shared(bodies_bucket="acme-bodies", aws_region="eu-west-1"))
    contract = PlatformContract.model_validate(made.exports["platform"])
    assert contract.bodies_url == "http://holdfast-gateway-internal.holdfast-system:8081"
    assert made["holdfast-gateway-internal"].inputs["metadata"]["name"] == "holdfast-gateway-internal"
    pod = made["holdfast-gateway"].inputs["spec"]["template"]["spec"]
    env = {item["name"]: item.get("value") for item in pod["containers"][0]["env"]}
    assert env["HOLDFAST_BODIES_BUCKET"] == "acme-bodies"
    assert env["AWS_REGION"] == "eu-west-1"
    root = made["holdfast-broker"].inputs["stringData"].value["bodies.key"]
    worker = testing.record(endpoint())["chat-broker"].inputs["stringData"].value["bodies.key"]
    assert root == identities.bodies_root(identities.worker_key(SECRET))
    assert worker == tokens.body_key(identities.bodies_root(testing.PLATFORM_KEY), "chat")
    made.assert_no_secret(root)


def test_a_gateway_with_a_tls_secret_ends_tls_and_is_probed_at_its_plain_port() -> None:
    made = testing.record(shared(gateway={"tls_secret": "gpu-tls", "ingress": "node-port"}))
    pod = made["holdfast-gateway"].inputs["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    env = {item["name"]: item.get("value") for item in container["env"]}
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == "tls"]
    (mount,) = [mount for mount in container["volumeMounts"] if mount["name"] == "tls"]
    assert volume["secret"] == {"secretName": "gpu-tls", "defaultMode": 0o444}
    assert mount == {"name": "tls", "mountPath": "/etc/holdfast/tls", "readOnly": True}
    assert env[names.ENV_TLS_CERTIFICATE_FILE] == "/etc/holdfast/tls/tls.crt"
    assert env[names.ENV_TLS_KEY_FILE] == "/etc/holdfast/tls/tls.key"
    assert container["ports"][0] == {"name": "https", "containerPort": names.GATEWAY_PORT}
    for probe in ("readinessProbe", "startupProbe", "livenessProbe"):
        asked = container[probe]["httpGet"]
        assert (asked["port"], asked.get("scheme", "HTTP")) == (names.GATEWAY_INTERNAL_PORT, "HTTP")
    (port,) = made["holdfast-gateway-service"].inputs["spec"]["ports"]
    assert port == {"name": "https", "port": 443, "targetPort": names.GATEWAY_PORT, "nodePort": 30080}


@pytest.mark.parametrize(
    ("gateway", "expected"),
    [({}, 8192), ({"memory_mib": 1024}, 16_384), ({"ingress": "node-port", "tls_secret": "gpu-tls"}, 4096)],
)
def test_a_gateway_takes_as_many_connections_as_half_its_memory_holds(
    gateway: dict[str, Any], expected: int
) -> None:
    made = testing.record(shared(gateway=gateway))
    (container,) = made["holdfast-gateway"].inputs["spec"]["template"]["spec"]["containers"]
    env = {item["name"]: item.get("value") for item in container["env"]}
    assert env[names.ENV_MAX_CONNECTIONS] == str(expected)


def test_a_gateway_without_a_tls_secret_speaks_plain_http() -> None:
    made = testing.record(shared())
    pod = made["holdfast-gateway"].inputs["spec"]["template"]["spec"]
    assert "tls" not in {volume["name"] for volume in pod["volumes"]}
    assert names.ENV_TLS_CERTIFICATE_FILE not in {item["name"] for item in pod["containers"][0]["env"]}
    (port,) = made["holdfast-gateway-service"].inputs["spec"]["ports"]
    assert port == {"name": "http", "port": 80, "targetPort": names.GATEWAY_PORT}


@pytest.mark.parametrize(("queue", "most"), [({"max_ha_assets": 116}, 50), ({"servers": 1}, None), ({}, 992)])
def test_how_many_endpoints_fit_follows_from_the_brokers(queue: dict[str, Any], most: int | None) -> None:
    exported = testing.record(shared(queue=queue)).exports["platform"]
    assert PlatformContract.model_validate(exported).max_endpoints == most


def test_without_a_bucket_there_is_no_way_to_one() -> None:
    made = testing.record(shared())
    assert "holdfast-gateway-internal" not in made.names
    assert PlatformContract.model_validate(made.exports["platform"]).bodies_url is None


def test_an_endpoint_of_the_same_program_takes_the_key_of_its_shared_stack() -> None:
    def program() -> None:
        args: Any = {
            "services_image": "ghcr.io/acme/services:1",
            "base_url": "https://gpu.example",
            "broker_secret": pulumi.Output.secret(SECRET),
        }
        stack = holdfast.SharedStack("holdfast", args)
        holdfast.Endpoint("chat", {"platform": holdfast.Platform.of(stack), "image": "a:1"})

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
    made = testing.record(shared(services_image=image, registry_credentials={"secret": "acme/registry"}))
    template = made["holdfast-endpoints-pull"].inputs["spec"]["target"]["template"]["data"][
        ".dockerconfigjson"
    ]
    assert "{{ else }}" + key + "{{ end }}" in template


def test_the_shared_stack_exports_what_endpoint_stacks_read() -> None:
    exported = testing.record(shared(registry_credentials={"secret": "acme/registry"})).exports["platform"]
    contract = PlatformContract.model_validate(exported)
    assert contract.scaler_address == "holdfast-scaler.holdfast-system:8090"
    assert contract.pull_secret == "holdfast-services-pull"


def test_namespaces_come_first_and_the_queue_before_those_who_need_it() -> None:
    made = testing.record(shared())
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
    made = testing.record(shared())
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
        (
            {"base_url": "https://:443"},
            'base_url is "https://:443", not a whole URL: write its host too, and a port from 1 to 65535 if any',
        ),
        (
            {"base_url": "https://gpu.example:https"},
            'base_url is "https://gpu.example:https", not a whole URL: '
            "write its host too, and a port from 1 to 65535 if any",
        ),
        (
            {"base_url": "https://u:hunter2@gpu.example"},
            "base_url is (hidden), a URL with more than callers need: "
            "leave password, ? and # out: everybody reads it",
        ),
        (
            {"base_url": "https://gpu.example?a=1"},
            'base_url is "https://gpu.example?a=1", a URL with more than callers need: '
            "leave password, ? and # out: everybody reads it",
        ),
        (
            {"domain": "https://gpu.example"},
            'domain is "https://gpu.example", not a domain name: '
            "write it in lower case without https:// and without a trailing dot",
        ),
        (
            {"namespace": "Models"},
            'namespace is "Models", not a DNS label of at most 63 characters: '
            "use lower-case letters, digits and - inside it",
        ),
        (
            {"system_namespace": "a.b"},
            'system_namespace is "a.b", not a DNS label of at most 63 characters: '
            "use lower-case letters, digits and - inside it",
        ),
        ({"gateway": {"cpu": "1"}}, 'gateway.cpu is "1", not a number: write it without quotes'),
        ({"base_url": None}, "base_url is missing, required: declare the gateway's URL as callers see it"),
        (
            {"broker_secret": "short"},
            "broker_secret is (hidden), shorter than 24 characters: "
            "make one with `openssl rand -hex 32` and keep it with `pulumi config set --secret`",
        ),
        (
            {"gateway": {"tls_secret": "holdfast-system/Gpu"}},
            'gateway.tls_secret is "holdfast-system/Gpu", not the name of a Kubernetes Secret: '
            "take lower-case letters, digits, hyphens and dots, without a namespace",
        ),
        (
            {"gateway": {"tls_secret": "gpu-tls"}, "base_url": "http://gpu.example"},
            'base_url is "http://gpu.example", plain HTTP beside gateway.tls_secret: '
            "start it with https://, or leave tls_secret out",
        ),
        ({"gateway": {"node_port": 80}}, "gateway.node_port is 80, below 30000: use 30000 or more"),
        (
            {"namespace": "holdfast-system"},
            'namespace is "holdfast-system", also system_namespace: keep replicas apart from the system',
        ),
        ({"transforms": {"natz": {}}}, 'transforms.natz is "natz", not a child: did you mean nats?'),
        ({"service_image": "a"}, "service_image is (hidden), an unknown field: did you mean services_image?"),
    ],
)
def test_a_wrong_shared_stack_is_told_with_path_value_rule_and_remedy(
    args: dict[str, Any], expected: str
) -> None:
    with pytest.raises(holdfast.SpecError) as caught:
        testing.record(shared(**args))
    assert [str(problem) for problem in caught.value.problems] == [expected]


def test_a_wrong_field_of_a_shared_stack_hides_no_rule_between_others() -> None:
    with pytest.raises(holdfast.SpecError) as caught:
        parse_shared(
            "My_Shared", {"gateway": {"replicas": 0}, "queue": {"servers": 2}, "transforms": {"natz": {}}}
        )
    assert [str(problem) for problem in caught.value.problems] == [
        'name is "My_Shared", not a DNS label of at most 63 characters: '
        "use lower-case letters, digits and - inside it",
        "services_image is missing, required: declare it",
        "gateway.replicas is 0, below 1: use 1 or more",
        "queue.servers is 2, neither 1 nor 3: take 3; 1 keeps no second copy",
        'transforms.natz is "natz", not a child: did you mean nats?',
    ]


def test_a_short_broker_secret_is_found_when_it_is_an_output_as_well() -> None:
    with pytest.raises(ValueError, match=r"broker_secret is \(hidden\), shorter than 24 characters"):
        testing.record(shared(broker_secret=lambda: pulumi.Output.secret("short")))
