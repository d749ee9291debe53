"""A platform on AWS as a program composes it, through the public test kit."""

from __future__ import annotations

import json
from typing import Any

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes
import pytest
from aws_args import aws_args
from pulumi_kubernetes.core.v1 import ConfigMap

import pulumi_holdfast as holdfast
from holdfast_contract.platform import PlatformContract
from pulumi_holdfast import testing
from pulumi_holdfast.aws.create import snake

SECRET = "correct horse battery staple"
POOLS = {
    "l4": {"kind": "managed", "instance_types": ("g6.xlarge",)},
    "many": {"kind": "karpenter", "instance_types": ("g6.xlarge",), "ami_alias": "al2023@v20251120"},
    "auto": {"kind": "auto", "instance_types": ("g6e.xlarge",), "warm_spare": 1},
}


def program(**changes: Any) -> None:
    """What `stacks/` does on AWS."""
    platform = holdfast.AwsPlatform("gpu", aws_args(**changes))  # type: ignore[arg-type]
    provider = kubernetes.Provider("cluster", kubeconfig=platform.kubeconfig)
    opts = pulumi.ResourceOptions(providers=[provider])
    addons = holdfast.AwsAddons("addons", {"platform": platform}, opts)
    shared = holdfast.SharedStack(
        "holdfast",
        {
            "kind": holdfast.PlatformKind.AWS,
            "services_image": "ghcr.io/acme/services:1",
            "broker_secret": pulumi.Output.secret(SECRET),
            "base_url": platform.base_url or "",
            "load_balancer_idle_s": platform.load_balancer_idle_s or 0,
            "gpu_node_selector": platform.gpu_node_selector,
            "queue": {"storage_class": addons.storage_class},
        },
        opts,
    )
    pulumi.export("platform", shared.platform)
    pulumi.export("kubeconfig", platform.kubeconfig)
    pulumi.export("at_rest", platform.at_rest)


def passed_through() -> None:
    """A network load balancer before a gateway that ends TLS."""
    way_in = {"kind": "nlb", "domain": "gpu.example.com", "tls_secret": "gpu-tls"}
    platform = holdfast.AwsPlatform("gpu", aws_args(ingress=way_in))  # type: ignore[arg-type]
    args: holdfast.SharedStackArgs = {
        "kind": holdfast.PlatformKind.AWS,
        "services_image": "ghcr.io/acme/services:1",
        "broker_secret": pulumi.Output.secret(SECRET),
        "base_url": platform.base_url or "",
        "gateway": {"ingress": holdfast.Ingress.NODE_PORT, "tls_secret": platform.tls_secret or ""},
    }
    holdfast.SharedStack("holdfast", args)


def test_a_network_load_balancer_forwards_443_to_the_node_port_of_a_gateway_that_ends_tls() -> None:
    made = testing.record(passed_through)
    listener, targets = made["gpu-listener"].inputs, made["gpu-targets"].inputs
    assert (listener["port"], listener["protocol"], listener["tcpIdleTimeoutSeconds"]) == (443, "TCP", 930)
    (port,) = made["holdfast-gateway-service"].inputs["spec"]["ports"]
    assert (port["name"], port["nodePort"]) == ("https", targets["port"])
    assert targets["healthCheck"]["protocol"] == "HTTPS"


@pytest.fixture(scope="module")
def made() -> testing.Recording:
    """The program, registered once: it takes a second."""
    return testing.record(program)


def test_children_carry_the_name_of_their_component(made: testing.Recording) -> None:
    made.assert_children_carry_the_name("gpu")
    made.assert_children_carry_the_name("addons")
    made.assert_no_secret(SECRET)


def test_the_contract_says_what_endpoints_need_to_know_of_aws(made: testing.Recording) -> None:
    contract = PlatformContract.model_validate(made.exports["platform"])
    assert contract.kind is holdfast.PlatformKind.AWS
    assert contract.base_url == "https://gpu.example.com"
    assert contract.load_balancer_idle_s == 930
    assert contract.gpu_node_selector == {"holdfast.dev/gpu": "true"}


def test_the_kubeconfig_holds_no_credential_and_asks_for_a_token(made: testing.Recording) -> None:
    shown = json.loads(made.exports["kubeconfig"])
    assert shown["clusters"][0]["cluster"]["server"] == "https://cluster.test"
    asked = shown["users"][0]["user"]["exec"]
    assert [asked["command"], *asked["args"][:2]] == ["aws", "eks", "get-token"]


def test_outputs_of_one_resource_are_inputs_of_the_next(made: testing.Recording) -> None:
    group = made["gpu-pool-l4"].inputs
    assert group["launchTemplate"] == {"id": "gpu-pool-l4-template-id", "version": "1"}
    assert made["gpu-nodes-from-balancer"].inputs["securityGroupId"] == "gpu-cluster-group"
    assert made["gpu-targets-0"].inputs["autoscalingGroupName"] == "eks-gpu-system"
    made.assert_order("gpu-vpc", "gpu-internet", "gpu-public-internet", "gpu-nat-us-east-1a")
    made.assert_order("gpu-addon-vpc-cni", "gpu-system", "gpu-pool-l4")


def test_how_many_nodes_there_are_belongs_to_the_autoscaler(made: testing.Recording) -> None:
    for name in ("gpu-pool-l4", "gpu-system"):
        assert made[name].ignore_changes == ("scalingConfig.desiredSize",)


def test_what_is_paid_for_at_rest_is_an_output_of_the_stack(made: testing.Recording) -> None:
    lines = {line["what"]: line["usd_month"] for line in made.exports["at_rest"]}
    assert lines["control plane"] == 73


def test_the_same_program_registers_the_same_resources(made: testing.Recording) -> None:
    again = testing.record(program)
    assert sorted(again.names) == sorted(made.names)
    assert {one.name: one.plain for one in again} == {one.name: one.plain for one in made}


def test_children_of_an_aws_platform_and_its_add_ons_wait_for_what_these_depend_on() -> None:
    def program() -> None:
        first, second = ConfigMap("first"), ConfigMap("second")
        args: Any = aws_args(pools=POOLS)
        platform = holdfast.AwsPlatform("gpu", args, pulumi.ResourceOptions(depends_on=[first]))
        holdfast.AwsAddons("addons", {"platform": platform}, pulumi.ResourceOptions(depends_on=second))

    recorded = testing.record(program)
    for awaited, component, child in (("first", "gpu", "gpu-cluster"), ("second", "addons", "addons-keda")):
        children = [one for one in recorded if one.parent == recorded[component].urn]
        assert child in {one.name for one in children}
        assert len(children) > 5
        late = [one.name for one in children if recorded[awaited].urn not in one.depends_on]
        assert late == []
    recorded.assert_order("gpu-addon-vpc-cni", "gpu-system")


@pytest.mark.parametrize("one", [True, False], ids=["provider", "providers"])
def test_children_of_an_aws_platform_and_its_add_ons_use_the_provider_that_these_are_given(one: bool) -> None:
    def through(provider: pulumi.ProviderResource) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(**({"provider": provider} if one else {"providers": [provider]}))

    def program() -> None:
        account = aws.Provider("account", region="us-east-1")
        platform = holdfast.AwsPlatform("gpu", aws_args(pools=POOLS), through(account))  # type: ignore[arg-type]
        cluster = kubernetes.Provider("cluster", kubeconfig=platform.kubeconfig)
        holdfast.AwsAddons("addons", {"platform": platform}, through(cluster))

    recorded = testing.record(program)
    for provider, component in (("account", "gpu"), ("cluster", "addons")):
        children = [one for one in recorded if one.parent == recorded[component].urn]
        assert len(children) > 5
        assert {one.provider for one in children} == {f"{recorded[provider].urn}::{provider}-id"}


def test_a_wrong_declaration_stops_the_program_with_its_text() -> None:
    with pytest.raises(holdfast.SpecError, match="account is missing, required: declare it"):
        testing.record(lambda: program(account=None))


def test_an_endpoint_whose_requests_the_load_balancer_would_cut_off_is_refused() -> None:
    def endpoint(max_request_s: int) -> None:
        platform = testing.platform(load_balancer_idle_s=930)
        args = {"platform": platform, "image": "ghcr.io/acme/chat:1"}
        holdfast.Endpoint("chat", {**args, "scaling": {"max_request_s": max_request_s}})  # type: ignore[typeddict-item]

    testing.record(lambda: endpoint(900))
    text = (
        "scaling.max_request_s is 1800 s, not below the load balancer's idle timeout of 930 s, so a silent synchronous "
        "request would be cut off while it works: raise the idle timeout, lower max_request_s, or call with "
        "`Prefer: respond-async`"
    )
    with pytest.raises(Exception, match=r"scaling\.max_request_s is 1800") as caught:
        testing.record(lambda: endpoint(1800))
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("vpcId", "vpc_id"), ("cidrIpv4", "cidr_ipv4"), ("enableDnsHostnames", "enable_dns_hostnames")],
)
def test_properties_are_found_by_their_python_names(name: str, expected: str) -> None:
    assert snake(name) == expected
