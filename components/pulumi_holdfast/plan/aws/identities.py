"""Pod identities: each need of a pod on AWS, and nothing beyond it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pulumi_holdfast.plan.aws.cluster import Cluster, cluster_name
from pulumi_holdfast.plan.aws.interruptions import queue_name
from pulumi_holdfast.plan.aws.pools import profile_name
from pulumi_holdfast.plan.aws.resource import Json, Planned, out, tags
from pulumi_holdfast.plan.aws.roles import POD_IDENTITY, allow, arn, role, role_arn
from pulumi_holdfast.plan.aws.storage import BODIES_PREFIX, bodies_bucket, weights_bucket
from pulumi_holdfast.spec.aws import AwsSpec
from pulumi_holdfast.spec.aws_pools import PoolKind

WILDCARD_ACTIONS: Final[Mapping[str, str]] = {
    # Service Authorization Reference of each service: these actions know no resource.
    "autoscaling:DescribeAutoScalingGroups": "Actions for Amazon EC2 Auto Scaling",
    "autoscaling:DescribeAutoScalingInstances": "Actions for Amazon EC2 Auto Scaling",
    "autoscaling:DescribeLaunchConfigurations": "Actions for Amazon EC2 Auto Scaling",
    "autoscaling:DescribeScalingActivities": "Actions for Amazon EC2 Auto Scaling",
    "autoscaling:DescribeTags": "Actions for Amazon EC2 Auto Scaling",
    "ec2:DescribeAvailabilityZones": "Actions for Amazon EC2",
    "ec2:DescribeCapacityReservations": "Actions for Amazon EC2",
    "ec2:DescribeImages": "Actions for Amazon EC2",
    "ec2:DescribeInstanceStatus": "Actions for Amazon EC2",
    "ec2:DescribeInstanceTypeOfferings": "Actions for Amazon EC2",
    "ec2:DescribeInstanceTypes": "Actions for Amazon EC2",
    "ec2:DescribeInstances": "Actions for Amazon EC2",
    "ec2:DescribeLaunchTemplateVersions": "Actions for Amazon EC2",
    "ec2:DescribeLaunchTemplates": "Actions for Amazon EC2",
    "ec2:DescribeSecurityGroups": "Actions for Amazon EC2",
    "ec2:DescribeSpotPriceHistory": "Actions for Amazon EC2",
    "ec2:DescribeSubnets": "Actions for Amazon EC2",
    "ec2:GetInstanceTypesFromInstanceRequirements": "Actions for Amazon EC2",
    "pricing:GetProducts": "Actions for AWS Price List",
}
"""The only actions that any policy of ours allows on `*`, each with the table that says it takes no resource."""
REPLICA_ACCOUNT: Final = "default"
"""Replicas have no service account of their own, and no token of it either."""


@dataclass(frozen=True, slots=True)
class Identity:
    """One need of one service account."""

    child: str
    namespace: str
    service_account: str
    statements: tuple[Json, ...]


def identities(spec: AwsSpec, cluster: Cluster) -> list[Planned]:
    """Role, policy and association of every need."""
    planned: list[Planned] = []
    for need in needs(spec):
        planned += role(spec, need.child, POD_IDENTITY, (), need.statements)
        planned.append(
            Planned(
                f"{need.child}-pods",
                "aws:eks/podIdentityAssociation:PodIdentityAssociation",
                {
                    "clusterName": cluster.name,
                    "namespace": need.namespace,
                    "serviceAccount": need.service_account,
                    "roleArn": out(need.child, "arn"),
                    "tags": tags(spec, f"{need.child}-pods"),
                },
                after=(f"{need.child}-policy",),
            )
        )
    return planned


def needs(spec: AwsSpec) -> list[Identity]:
    """Who needs what, from the declaration alone."""
    found = [
        Identity("gateway-role", spec.identities.system_namespace, "holdfast-gateway", _bodies(spec)),
        Identity("replicas-role", spec.identities.namespace, REPLICA_ACCOUNT, _weights(spec)),
    ]
    if spec.identities.secrets:
        found.append(
            Identity("external-secrets-role", "external-secrets", "external-secrets", _secrets(spec))
        )
    if spec.has(PoolKind.MANAGED):
        found.append(Identity("autoscaler-role", "kube-system", "cluster-autoscaler", _autoscaler(spec)))
    if spec.has(PoolKind.KARPENTER):
        found.append(Identity("karpenter-role", "kube-system", "karpenter", _karpenter(spec)))
    return found


def _bodies(spec: AwsSpec) -> tuple[Json, ...]:
    """The gateway alone reaches them; workers go by way of it. Without the right to list, S3 answers 403 for a body
    that is not there, which is no answer to whether it is."""
    bucket = _bucket_arn(spec, bodies_bucket(spec))
    actions = ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
    return (
        allow("Bodies", actions, [f"{bucket}/{BODIES_PREFIX}*"]),
        allow("TellMissingFromForbidden", ["s3:ListBucket"], [bucket]),
    )


def _weights(spec: AwsSpec) -> tuple[Json, ...]:
    bucket, prefix = _bucket_arn(spec, weights_bucket(spec)), spec.storage.weights_prefix
    listed = {"StringLike": {"s3:prefix": [f"{prefix}*"]}}
    return (
        allow("ReadWeights", ["s3:GetObject"], [f"{bucket}/{prefix}*"]),
        allow("FindWeights", ["s3:ListBucket"], [bucket], listed),
    )


def _bucket_arn(spec: AwsSpec, name: str) -> str:
    return f"arn:{spec.partition}:s3:::{name}"


def secret_arn(spec: AwsSpec, name: str) -> str:
    """The ARN of a secret: Secrets Manager adds a dash and six characters to its name, which nobody knows before
    (its own guide writes them as question marks)."""
    return name if name.startswith("arn:") else arn(spec, "secretsmanager", f"secret:{name}-??????")


def _secrets(spec: AwsSpec) -> tuple[Json, ...]:
    declared = [secret_arn(spec, name) for name in spec.identities.secrets]
    actions = ["secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"]
    statements = [allow("ReadDeclaredSecrets", actions, declared)]
    if spec.identities.secret_keys:
        through = {"StringEquals": {"kms:ViaService": f"secretsmanager.{spec.region}.amazonaws.com"}}
        statements.append(allow("DecryptThem", ["kms:Decrypt"], spec.identities.secret_keys, through))
    return tuple(statements)


def _everywhere(sid: str, spec: AwsSpec, service: str, regional: bool = True) -> Json:
    condition = {"StringEquals": {"aws:RequestedRegion": spec.region}} if regional else None
    return allow(sid, [one for one in WILDCARD_ACTIONS if one.startswith(f"{service}:")], ["*"], condition)


def _autoscaler(spec: AwsSpec) -> tuple[Json, ...]:
    group = arn(spec, "autoscaling", "autoScalingGroup:*:autoScalingGroupName/eks-*")
    owned = {"StringEquals": {f"aws:ResourceTag/kubernetes.io/cluster/{cluster_name(spec)}": "owned"}}
    group_of = arn(spec, "eks", f"nodegroup/{cluster_name(spec)}/*/*")
    return (
        _everywhere("LookAtGroups", spec, "autoscaling"),
        _everywhere("LookAtMachines", spec, "ec2"),
        allow("LookAtNodeGroups", ["eks:DescribeNodegroup"], [group_of]),
        allow(
            "Resize",
            ["autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup"],
            [group],
            owned,
        ),
    )


def _karpenter(spec: AwsSpec) -> tuple[Json, ...]:
    """As Karpenter's own template, without instance profiles: it uses ours."""
    return (*_machines_of_its_own(spec), *_what_it_works_with(spec))


def _machines_of_its_own(spec: AwsSpec) -> tuple[Json, ...]:
    """Start machines, and tag and end those alone that carry the cluster's tag and a node pool's."""
    tag = f"kubernetes.io/cluster/{cluster_name(spec)}"
    requested: Json = {
        "StringEquals": {f"aws:RequestTag/{tag}": "owned"},
        "StringLike": {"aws:RequestTag/karpenter.sh/nodepool": "*"},
    }
    owned: Json = {
        "StringEquals": {f"aws:ResourceTag/{tag}": "owned"},
        "StringLike": {"aws:ResourceTag/karpenter.sh/nodepool": "*"},
    }
    made = [
        arn(spec, "ec2", f"{kind}/*")
        for kind in ("fleet", "instance", "volume", "network-interface", "launch-template")
    ]
    used = [
        *(arn(spec, "ec2", f"{kind}/*", account=False) for kind in ("image", "snapshot")),
        *(
            arn(spec, "ec2", f"{kind}/*")
            for kind in ("security-group", "subnet", "capacity-reservation", "spot-instances-request")
        ),
    ]
    creating = {**requested, "StringEquals": {**requested["StringEquals"], "ec2:CreateAction": _CREATING}}
    naming = {
        **owned,
        "ForAllValues:StringEquals": {
            "aws:TagKeys": ["eks:eks-cluster-name", "karpenter.sh/nodeclaim", "Name"]
        },
    }
    template = {"StringEquals": {f"aws:ResourceTag/{tag}": "owned"}, "StringLike": owned["StringLike"]}
    return (
        allow("StartFrom", ["ec2:RunInstances", "ec2:CreateFleet"], used),
        allow("StartFromOwnTemplates", ["ec2:RunInstances", "ec2:CreateFleet"], [made[-1]], template),
        allow("Start", ["ec2:RunInstances", "ec2:CreateFleet", "ec2:CreateLaunchTemplate"], made, requested),
        allow("TagWhatIsMade", ["ec2:CreateTags"], made, creating),
        allow("NameInstances", ["ec2:CreateTags"], [made[1]], naming),
        allow("End", ["ec2:TerminateInstances", "ec2:DeleteLaunchTemplate"], [made[1], made[-1]], owned),
    )


def _what_it_works_with(spec: AwsSpec) -> tuple[Json, ...]:
    """Offers, prices and images to choose from, the nodes' role, notices of interruptions, and the cluster."""
    return (
        _everywhere("LookAtMachines", spec, "ec2"),
        _everywhere("LookAtPrices", spec, "pricing", regional=False),
        allow(
            "FindImages",
            ["ssm:GetParameter"],
            [arn(spec, "ssm", "parameter/aws/service/*", account=False)],
        ),
        allow(
            "GiveNodesTheirRole",
            ["iam:PassRole"],
            [role_arn(spec, "node-role")],
            {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}},
        ),
        allow(
            "LookAtOurProfile",
            ["iam:GetInstanceProfile"],
            [arn(spec, "iam", f"instance-profile/{profile_name(spec)}", region=False)],
        ),
        allow(
            "HearOfInterruptions",
            ["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:ReceiveMessage"],
            [arn(spec, "sqs", queue_name(spec))],
        ),
        allow("FindTheCluster", ["eks:DescribeCluster"], [arn(spec, "eks", f"cluster/{cluster_name(spec)}")]),
    )


_CREATING: Final = ["RunInstances", "CreateFleet", "CreateLaunchTemplate"]
