"""Least privilege: what every role of a platform on AWS may do, and that nothing has `*` without need."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aws_args import aws_args

from pulumi_holdfast.plan.aws.identities import WILDCARD_ACTIONS
from pulumi_holdfast.plan.aws.platform import plan_aws
from pulumi_holdfast.plan.aws.resource import Planned
from pulumi_holdfast.spec.aws import parse_aws

KINDS = {
    "a": {"kind": "managed", "instance_types": ("g6.xlarge",)},
    "b": {"kind": "karpenter", "instance_types": ("g6.xlarge",), "ami_alias": "al2023@v20251120"},
    "c": {"kind": "auto", "instance_types": ("g6.xlarge",)},
}
FOREIGN_REPOSITORY = "arn:aws:ecr:us-east-1:999999999999:repository/acme/chat"
SECRET_KEY = "arn:aws:kms:us-east-1:123456789012:key/1"
IDENTITIES = {
    "secrets": ("acme/ghcr", "arn:aws:secretsmanager:us-east-1:123456789012:secret:acme/db-AbCdEf"),
    "secret_keys": (SECRET_KEY,),
    "ecr_repositories": (FOREIGN_REPOSITORY,),
}


def planned(**changes: Any) -> dict[str, Planned]:
    """A plan with everything that has a role."""
    args = aws_args(**{"pools": KINDS, "identities": IDENTITIES, **changes})
    return {one.child: one for one in plan_aws(parse_aws("gpu", args))}


def statements(role: str) -> dict[str, Any]:
    """The statements of a role's policy by their Sid."""
    policy = json.loads(planned()[f"{role}-policy"].props["policy"])
    return {statement["Sid"]: statement for statement in policy["Statement"]}


def test_no_policy_allows_everything_but_where_aws_knows_no_resource() -> None:
    policies = [one for one in planned().values() if one.type == "aws:iam/rolePolicy:RolePolicy"]
    assert len(policies) == 6
    for policy in policies:
        for statement in json.loads(policy.props["policy"])["Statement"]:
            assert not [one for one in statement["Action"] if "*" in one], policy.child
            if "*" in statement["Resource"]:
                assert set(statement["Action"]) <= set(WILDCARD_ACTIONS), (policy.child, statement["Sid"])


def test_every_action_on_everything_reads_and_names_the_source_of_its_need() -> None:
    for action, source in WILDCARD_ACTIONS.items():
        assert action.partition(":")[2].startswith(("Describe", "Get"))
        assert source.startswith("Actions for ")


def test_resources_with_a_pattern_are_narrowed_by_a_condition_or_a_name() -> None:
    """A pattern over whole kinds (`instance/*`) that changes something is bound to tags of this cluster."""
    for statement in statements("karpenter-role").values():
        kinds = [one for one in statement["Resource"] if one.endswith(("instance/*", "volume/*", "fleet/*"))]
        if kinds:
            assert "gpu" in json.dumps(statement["Condition"])


def test_external_secrets_reads_the_declared_secrets_alone() -> None:
    found = statements("external-secrets-role")
    assert found["ReadDeclaredSecrets"]["Resource"] == [
        "arn:aws:secretsmanager:us-east-1:123456789012:secret:acme/ghcr-??????",
        "arn:aws:secretsmanager:us-east-1:123456789012:secret:acme/db-AbCdEf",
    ]
    assert found["DecryptThem"]["Resource"] == [SECRET_KEY]
    assert found["DecryptThem"]["Condition"] == {
        "StringEquals": {"kms:ViaService": "secretsmanager.us-east-1.amazonaws.com"}
    }


def test_without_declared_secrets_there_is_no_role_that_reads_any() -> None:
    assert "external-secrets-role" not in planned(identities={})


def test_the_gateway_reaches_bodies_and_replicas_read_weights() -> None:
    bodies = statements("gateway-role")
    bucket = "arn:aws:s3:::gpu-123456789012-us-east-1-bodies"
    assert bodies["Bodies"]["Resource"] == [f"{bucket}/bodies/*"]
    assert bodies["TellMissingFromForbidden"]["Resource"] == [bucket]
    weights = statements("replicas-role")
    assert weights["ReadWeights"]["Action"] == ["s3:GetObject"]
    assert weights["ReadWeights"]["Resource"] == ["arn:aws:s3:::gpu-123456789012-us-east-1-weights/weights/*"]
    assert weights["FindWeights"]["Condition"] == {"StringLike": {"s3:prefix": ["weights/*"]}}


def test_nodes_pull_from_other_accounts_what_is_declared() -> None:
    (pull,) = statements("node-role").values()
    assert pull["Resource"] == [FOREIGN_REPOSITORY]


def test_karpenter_gives_nodes_their_role_and_no_other() -> None:
    found = statements("karpenter-role")
    assert found["GiveNodesTheirRole"]["Resource"] == [
        "arn:aws:iam::123456789012:role/gpu-us-east-1-node-role"
    ]
    actions = {action for statement in found.values() for action in statement["Action"]}
    assert not [
        action for action in actions if "InstanceProfile" in action and not action.startswith("iam:Get")
    ]


def test_karpenter_hears_of_interruptions_and_only_events_of_this_account_are_told() -> None:
    made = planned()
    assert statements("karpenter-role")["HearOfInterruptions"]["Resource"] == [
        "arn:aws:sqs:us-east-1:123456789012:gpu-us-east-1-interruptions"
    ]
    told, refused = json.loads(made["interruptions-policy"].props["policy"])["Statement"]
    assert told["Principal"] == {"Service": "events.amazonaws.com"}
    assert told["Condition"] == {"StringEquals": {"aws:SourceAccount": "123456789012"}}
    assert refused["Effect"] == "Deny"
    kinds = {
        json.loads(one.props["eventPattern"])["detail-type"][0]
        for one in made.values()
        if one.type == "aws:cloudwatch/eventRule:EventRule"
    }
    assert "EC2 Spot Instance Interruption Warning" in kinds
    assert len(kinds) == 4


def test_without_a_pool_of_karpenters_there_is_no_queue() -> None:
    assert "interruptions" not in planned(pools={"a": KINDS["a"]})


def test_each_identity_belongs_to_one_service_account() -> None:
    made = planned()
    pairs = {
        (one.props["namespace"], one.props["serviceAccount"])
        for one in made.values()
        if one.type == "aws:eks/podIdentityAssociation:PodIdentityAssociation"
    }
    assert pairs == {
        ("holdfast-system", "holdfast-gateway"),
        ("holdfast", "default"),
        ("external-secrets", "external-secrets"),
        ("kube-system", "cluster-autoscaler"),
        ("kube-system", "karpenter"),
    }


def test_gateway_and_replicas_have_their_roles_in_the_shared_stacks_own_namespaces() -> None:
    own = {"namespace": "models", "system_namespace": "models-system"}
    made = planned(identities={**IDENTITIES, **own})
    assert made["gateway-role-pods"].props["namespace"] == "models-system"
    assert made["replicas-role-pods"].props["namespace"] == "models"


@pytest.mark.parametrize(
    ("region", "partition"), [("us-east-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")]
)
def test_arns_carry_the_partition_of_their_region(region: str, partition: str) -> None:
    made = planned(region=region, network={"zones": (f"{region}a", f"{region}b")}, pools=None, identities={})
    policy = made["gateway-role-policy"].props["policy"]
    assert f"arn:{partition}:s3:::" in policy


def test_a_permissions_boundary_is_put_on_every_role() -> None:
    boundary = "arn:aws:iam::123456789012:policy/boundary"
    roles = [
        one
        for one in planned(identities={**IDENTITIES, "permissions_boundary": boundary}).values()
        if one.type == "aws:iam/role:Role"
    ]
    assert len(roles) == 10
    assert {one.props["permissionsBoundary"] for one in roles} == {boundary}
    assert all(len(one.props["name"]) <= 64 for one in roles)
