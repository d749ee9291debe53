"""The plan of a platform on AWS: cluster, pools, ingress, buckets, and what is left out when it exists."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from aws_args import ROLE, aws_args, cluster_args

from pulumi_holdfast.plan.aws.cost import at_rest
from pulumi_holdfast.plan.aws.ingress import idle_s
from pulumi_holdfast.plan.aws.nodes import pools_with_plugin
from pulumi_holdfast.plan.aws.platform import plan_aws
from pulumi_holdfast.plan.aws.resource import Planned
from pulumi_holdfast.plan.timeouts import broken_links
from pulumi_holdfast.spec.aws import parse_aws
from pulumi_holdfast.spec.hardware import hardware_table
from pulumi_holdfast.spec.parse import parse_endpoint
from pulumi_holdfast.spec.template import catalogue

EXISTING_CLUSTER = {
    "name": "shop",
    "endpoint": "https://ABC.gr7.us-east-1.eks.amazonaws.com",
    "certificate_authority": "bW9jaw==",
    "security_group_id": "sg-1",
    "system_scaling_groups": ("eks-system-1",),
}
EXISTING_NETWORK = {
    "vpc_id": "vpc-1a2b",
    "private_subnet_ids": ("subnet-1", "subnet-2"),
    "public_subnet_ids": ("subnet-3", "subnet-4"),
}


def plan(**changes: Any) -> dict[str, Planned]:
    """The whole plan by child."""
    planned = plan_aws(parse_aws("gpu", aws_args(**changes)))
    children = [one.child for one in planned]
    assert len(set(children)) == len(children)
    return {one.child: one for one in planned}


def pool(kind: str = "managed", **fields: Any) -> dict[str, Any]:
    """A platform's `pools` with one pool."""
    more = {"ami_alias": "al2023@v20251120"} if kind == "karpenter" else {}
    return {"l4": {"kind": kind, "instance_types": ("g6.xlarge",), **more, **fields}}


@pytest.mark.parametrize("kind", ["managed", "karpenter", "auto"])
@pytest.mark.parametrize("ingress", ["alb", "nlb"])
def test_a_plan_names_only_children_that_come_before(kind: str, ingress: str) -> None:
    way_in = {**aws_args()["ingress"], "kind": ingress, "max_request_s": 300}
    before: set[str] = set()
    for one in plan(pools=pool(kind), ingress=way_in).values():
        assert one.needs <= before, one.child
        before.add(one.child)


def test_the_same_declaration_gives_the_same_plan() -> None:
    assert list(plan().values()) == list(plan().values())


def test_a_cluster_keeps_its_secrets_encrypted_and_gives_its_maker_no_rights() -> None:
    made = plan()
    props = made["cluster"].props
    assert props["encryptionConfig"] == {
        "resources": ["secrets"],
        "provider": {"keyArn": "⟦secrets-key.arn⟧"},
    }
    assert props["accessConfig"] == {
        "authenticationMode": "API",
        "bootstrapClusterCreatorAdminPermissions": False,
    }
    assert props["vpcConfig"]["endpointPublicAccess"] is False
    assert props["enabledClusterLogTypes"] == ["api", "audit", "authenticator"]
    assert made["cluster-logs"].props["retentionInDays"] == 90
    assert "cluster-logs" in made["cluster"].needs
    assert made["admin-role-deploy"].props["principalArn"] == ROLE


def test_principals_with_the_same_name_are_told_apart() -> None:
    others = ("arn:aws:iam::123456789012:user/deploy", "arn:aws:iam::999999999999:role/deploy")
    made = plan(cluster=cluster_args(admins=(ROLE, others[0]), viewers=(others[1],)))
    assert {"admin-role-deploy", "admin-user-deploy", "viewer-999999999999-role-deploy"} <= made.keys()
    assert made["viewer-999999999999-role-deploy-rights"].props["policyArn"].endswith("/AmazonEKSViewPolicy")


def test_the_api_server_is_public_only_to_declared_networks() -> None:
    props = plan(cluster=cluster_args(public_cidrs=("203.0.113.0/24",)))["cluster"].props
    assert props["vpcConfig"]["endpointPublicAccess"] is True
    assert props["vpcConfig"]["publicAccessCidrs"] == ["203.0.113.0/24"]


def test_addons_are_pinned_and_those_that_nodes_need_come_first() -> None:
    made = plan()
    assert made["addon-coredns"].props["addonVersion"] == "v1.13.1-eksbuild.1"
    assert "addon-vpc-cni" in made["system"].needs
    assert "system" in made["addon-coredns"].needs
    assert "addon-vpc-cni-role-AmazonEKS_CNI_Policy" in made["addon-vpc-cni"].needs


def test_three_system_nodes_are_apart_from_gpu_nodes() -> None:
    system = plan()["system"].props
    assert system["scalingConfig"]["minSize"] == 3
    assert "taints" not in system
    assert system["labels"] == {"holdfast.dev/system": "true"}


def test_a_managed_pool_derives_everything_from_its_kind() -> None:
    made = plan(pools=pool(max_nodes=7))
    props = made["pool-l4"].props
    assert props["amiType"] == "AL2023_x86_64_NVIDIA"
    assert props["taints"] == [{"key": "nvidia.com/gpu", "value": "present", "effect": "NO_SCHEDULE"}]
    assert props["labels"]["holdfast.dev/gpu"] == "true"
    assert props["labels"]["holdfast.dev/pool"] == "l4"
    assert props["scalingConfig"] == {"minSize": 0, "maxSize": 7, "desiredSize": 0}
    assert made["pool-l4"].ignore == ("scalingConfig.desiredSize",)
    tags = {
        one.props["tag"]["key"].removeprefix("k8s.io/cluster-autoscaler/node-template/"): one.props["tag"][
            "value"
        ]
        for one in made.values()
        if one.type == "aws:autoscaling/tag:Tag"
    }
    assert tags["resources/nvidia.com/gpu"] == "1"
    assert tags["taint/nvidia.com/gpu"] == "present:NoSchedule"
    assert tags["label/holdfast.dev/pool"] == "l4"


def test_nodes_refuse_pods_their_credentials_and_have_fast_encrypted_disks() -> None:
    template = plan()["pool-l4-template"].props
    assert template["metadataOptions"]["httpPutResponseHopLimit"] == 1
    assert template["metadataOptions"]["httpTokens"] == "required"
    (disk,) = template["blockDeviceMappings"]
    assert disk["ebs"] == {
        "volumeSize": 200,
        "volumeType": "gp3",
        "throughput": 600,
        "iops": 6000,
        "encrypted": "true",
        "deleteOnTermination": "true",
    }


def test_images_are_pulled_in_parallel_unless_that_is_declined() -> None:
    def data(**fields: Any) -> str | None:
        found = plan(pools=pool(**fields))["pool-l4-template"].props.get("userData")
        return base64.b64decode(found).decode() if found else None

    amazon = data()
    assert amazon is not None
    assert "kind: NodeConfig" in amazon
    assert "FastImagePull: true" in amazon
    assert amazon.startswith("MIME-Version: 1.0\n")
    bottlerocket = data(image="bottlerocket")
    assert bottlerocket is not None
    assert 'snapshotter = "soci"' in bottlerocket
    assert 'pull-mode = "parallel-pull-unpack"' in bottlerocket
    assert data(parallel_pull=False) is None


def test_bottlerocket_keeps_images_on_its_second_disk() -> None:
    disks = plan(pools=pool(image="bottlerocket"))["pool-l4-template"].props["blockDeviceMappings"]
    assert [(disk["deviceName"], disk["ebs"]["volumeSize"]) for disk in disks] == [
        ("/dev/xvda", 8),
        ("/dev/xvdb", 200),
    ]


def test_the_device_plugin_serves_those_pools_that_need_it() -> None:
    declared = {
        "a": {"kind": "managed", "instance_types": ("g6.xlarge",)},
        "b": {"kind": "managed", "instance_types": ("g6.xlarge",), "image": "bottlerocket"},
        "c": {"kind": "karpenter", "instance_types": ("g6.xlarge",), "ami_alias": "al2023@v20251120"},
        "d": {"kind": "auto", "instance_types": ("g6.xlarge",)},
    }
    assert pools_with_plugin(parse_aws("gpu", aws_args(pools=declared))) == ("a", "c")


@pytest.mark.parametrize(
    ("capacity", "kind"), [({"kind": "spot"}, "SPOT"), ({"kind": "on-demand"}, "ON_DEMAND")]
)
def test_how_machines_are_bought_is_one_choice(capacity: dict[str, Any], kind: str) -> None:
    assert plan(pools=pool(capacity=capacity))["pool-l4"].props["capacityType"] == kind


def test_a_capacity_block_names_its_machine_in_the_launch_template() -> None:
    block = {"kind": "block", "reservations": ("cr-0123456789abcdef0",)}
    made = plan(pools={"h100": {"kind": "managed", "instance_types": ("p5.48xlarge",), "capacity": block}})
    assert made["pool-h100"].props["capacityType"] == "CAPACITY_BLOCK"
    assert "instanceTypes" not in made["pool-h100"].props
    template = made["pool-h100-template"].props
    assert template["instanceType"] == "p5.48xlarge"
    assert template["instanceMarketOptions"] == {"marketType": "capacity-block"}
    assert template["capacityReservationSpecification"] == {
        "capacityReservationTarget": {"capacityReservationId": "cr-0123456789abcdef0"}
    }


def test_auto_mode_is_switched_on_by_a_pool_of_its_kind_alone() -> None:
    assert "computeConfig" not in plan()["cluster"].props
    made = plan(pools=pool("auto"))
    assert made["cluster"].props["computeConfig"] == {"enabled": True}
    assert made["auto-entry"].props["type"] == "EC2"
    assert made["auto-entry-rights"].props["policyArn"].endswith("/AmazonEKSAutoNodePolicy")
    trust = json.loads(made["cluster-role"].props["assumeRolePolicy"])
    assert "sts:TagSession" in trust["Statement"][0]["Action"]


def test_the_idle_timeout_follows_from_the_longest_request() -> None:
    way_in = {**aws_args()["ingress"], "max_request_s": 1200}
    made = plan(ingress=way_in)
    assert made["balancer"].props["idleTimeout"] == 1230
    assert made["listener"].props["protocol"] == "HTTPS"
    endpoint = parse_endpoint(
        "chat", {"image": "ghcr.io/acme/chat:1", "scaling": {"max_request_s": 1200}}, catalogue()
    )
    assert broken_links(endpoint, idle_s(parse_aws("gpu", aws_args(ingress=way_in)))) == []


def test_a_network_load_balancer_ends_tls_and_its_350_s_are_the_limit() -> None:
    way_in = {**aws_args()["ingress"], "kind": "nlb", "max_request_s": 320}
    made = plan(ingress=way_in)
    assert "idleTimeout" not in made["balancer"].props
    assert made["listener"].props["protocol"] == "TLS"
    assert made["targets"].props["protocol"] == "TCP"
    assert idle_s(parse_aws("gpu", aws_args(ingress=way_in))) == 350


@pytest.mark.parametrize(("max_request_s", "idle"), [(5970, 6000), (900, 930), (10, 60)])
def test_a_network_load_balancer_passes_tls_through_to_a_gateway_with_a_certificate(
    max_request_s: int, idle: int
) -> None:
    way_in = {
        **aws_args()["ingress"],
        "kind": "nlb",
        "tls_secret": "gpu-tls",
        "max_request_s": max_request_s,
    }
    made = plan(ingress=way_in)
    listener = made["listener"].props
    assert (listener["port"], listener["protocol"], listener["tcpIdleTimeoutSeconds"]) == (443, "TCP", idle)
    assert not {"sslPolicy", "certificateArn"} & set(listener)
    assert not [child for child in made if child.startswith("certificate")]
    assert made["targets"].props["protocol"] == "TCP"
    assert made["targets"].props["healthCheck"]["protocol"] == "HTTPS"
    assert made["name"].props["name"] == "gpu.example.com"
    assert idle_s(parse_aws("gpu", aws_args(ingress=way_in))) == idle


def test_a_gateway_with_a_certificate_needs_no_zone() -> None:
    made = plan(ingress={"domain": "gpu.example.com", "kind": "nlb", "tls_secret": "gpu-tls"})
    assert "listener" in made
    assert "name" not in made


def test_only_the_load_balancer_reaches_the_gateways_port() -> None:
    made = plan()
    rule = made["nodes-from-balancer"].props
    assert (rule["fromPort"], rule["toPort"]) == (30080, 30080)
    assert rule["referencedSecurityGroupId"] == "⟦balancer-group.id⟧"
    assert made["targets"].props["healthCheck"]["path"] == "/readyz"


def test_endpoints_have_names_below_the_gateways() -> None:
    made = plan()
    assert made["certificate"].props["subjectAlternativeNames"] == ["*.gpu.example.com"]
    assert made["endpoint-names"].props["name"] == "*.gpu.example.com"


def test_a_brought_certificate_makes_none() -> None:
    arn = "arn:aws:acm:us-east-1:123456789012:certificate/1"
    made = plan(ingress={"domain": "gpu.example.com", "certificate_arn": arn})
    assert "certificate" not in made
    assert "name" not in made
    assert made["listener"].props["certificateArn"] == arn


def test_buckets_are_private_encrypted_and_forget_bodies() -> None:
    made = plan()
    for bucket in ("bodies", "weights"):
        assert all(value is True for key, value in made[f"{bucket}-private"].props.items() if key != "bucket")
        assert "aws:SecureTransport" in made[f"{bucket}-policy"].props["policy"]
    rules = {rule["id"]: rule for rule in made["bodies-lifecycle"].props["rules"]}
    assert rules["bodies"]["expiration"] == {"days": 2}
    assert made["weights"].props["forceDestroy"] is False


def test_every_part_can_be_brought_along() -> None:
    made = plan(
        network={"existing": EXISTING_NETWORK},
        cluster={"existing": EXISTING_CLUSTER},
        pools=None,
        ingress={"kind": "none"},
        storage={"bodies_bucket": "acme-bodies", "weights_bucket": "acme-weights"},
        identities=None,
    )
    kinds = {one.type.partition("/")[0] for one in made.values()}
    assert kinds == {"aws:iam", "aws:eks"}
    assert {one.type for one in made.values() if one.type.startswith("aws:eks")} == {
        "aws:eks/podIdentityAssociation:PodIdentityAssociation"
    }


@pytest.mark.parametrize("kind", ["managed", "karpenter", "auto"])
def test_pools_go_into_an_existing_cluster_with_a_role_of_their_own(kind: str) -> None:
    made = plan(cluster={"existing": EXISTING_CLUSTER}, pools=pool(kind))
    assert "cluster" not in made
    assert ("node-role" in made) == (kind != "auto")
    before: set[str] = set()
    for one in made.values():
        assert one.needs <= before, one.child
        before.add(one.child)


def test_what_is_paid_for_without_a_request_is_told_line_by_line() -> None:
    lines = at_rest(parse_aws("gpu", aws_args(pools=pool(warm_spare=1))), hardware_table())
    shown = {line.what: (line.count, line.usd_month) for line in lines}
    assert shown == {
        "control plane": (1, 73.0),
        "KMS key": (1, 1.0),
        "system node": (3, 220.75),
        "nat gateway": (2, 65.7),
        "interface endpoint": (8, 58.4),
        "public address": (4, 14.6),
        "load balancer": (1, 16.43),
        "warm spare of l4": (1, 587.5),
    }


def test_auto_mode_adds_its_share_to_a_spare() -> None:
    lines = at_rest(parse_aws("gpu", aws_args(pools=pool("auto", warm_spare=2))), hardware_table())
    (spare,) = [line for line in lines if line.what == "warm spare of l4"]
    assert spare.usd_month == round(2 * 0.8048 * 1.12 * 730, 2)


def test_an_unknown_machine_costs_nothing_and_says_so() -> None:
    cluster = cluster_args(system={"instance_types": ("m9z.large",)})
    lines = at_rest(parse_aws("gpu", aws_args(cluster=cluster)), hardware_table())
    (nodes,) = [line for line in lines if line.what == "system node"]
    assert nodes.usd_month == 0
    assert nodes.note == "m9z.large is not in the price table"
