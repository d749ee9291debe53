"""The AWS half of GPU pools: managed node groups whole; roles and access for Karpenter's and Auto Mode's nodes."""

from __future__ import annotations

from typing import Final

from holdfast_contract import names
from pulumi_holdfast.plan.aws import nodes
from pulumi_holdfast.plan.aws.cluster import Cluster, launch_template, node_role
from pulumi_holdfast.plan.aws.network import Network
from pulumi_holdfast.plan.aws.resource import Json, Planned, out, tags
from pulumi_holdfast.plan.aws.roles import attachments, role
from pulumi_holdfast.spec.aws import AwsSpec
from pulumi_holdfast.spec.aws_pools import CapacityKind, ManagedPool, PoolKind, gpus_of

AUTO_NODE_POLICIES: Final = ("AmazonEKSWorkerNodeMinimalPolicy", "AmazonEC2ContainerRegistryPullOnly")
_TEMPLATE_TAG: Final = "k8s.io/cluster-autoscaler/node-template"


def pools(spec: AwsSpec, network: Network, cluster: Cluster) -> list[Planned]:
    """Everything on AWS that the declared pools need."""
    planned: list[Planned] = []
    own = spec.has(PoolKind.MANAGED) or spec.has(PoolKind.KARPENTER)
    if own and spec.cluster.existing is not None:
        planned += node_role(spec)
    for name, pool in spec.pools.items():
        if isinstance(pool, ManagedPool):
            planned += _managed(spec, name, pool, network, cluster)
    if spec.has(PoolKind.KARPENTER):
        planned += _karpenter(spec, cluster)
    if spec.has(PoolKind.AUTO):
        planned += _auto(spec, cluster)
    return planned


def _managed(
    spec: AwsSpec, name: str, pool: ManagedPool, network: Network, cluster: Cluster
) -> list[Planned]:
    child = f"pool-{name}"
    props: Json = {
        "clusterName": cluster.name,
        "nodeRoleArn": out("node-role", "arn"),
        "subnetIds": network.private_in(pool.zones),
        "instanceTypes": list(pool.instance_types),
        "amiType": nodes.ami_type(pool),
        "capacityType": {CapacityKind.SPOT: "SPOT", CapacityKind.BLOCK: "CAPACITY_BLOCK"}.get(
            pool.capacity.kind, "ON_DEMAND"
        ),
        "launchTemplate": {
            "id": out(f"{child}-template"),
            "version": out(f"{child}-template", "latestVersion"),
        },
        "labels": nodes.labels(name, pool),
        "taints": [{**nodes.taint(), "effect": "NO_SCHEDULE"}],
        # None at the start: the autoscaler brings what replicas and spares ask for.
        "scalingConfig": {"minSize": 0, "maxSize": pool.max_nodes, "desiredSize": 0},
        "updateConfig": {"maxUnavailable": 1},
        "tags": tags(spec, child),
    }
    if pool.release is not None:
        props["releaseVersion"] = pool.release
    if pool.capacity.kind is CapacityKind.BLOCK:
        del props["instanceTypes"]  # EKS wants a block's type in the launch template
    group = Planned(
        child,
        "aws:eks/nodeGroup:NodeGroup",
        props,
        after=_before_nodes(spec),
        ignore=("scalingConfig.desiredSize",),
    )
    return [_template(spec, child, pool), group, *_scaling_tags(spec, name, pool)]


def _before_nodes(spec: AwsSpec) -> tuple[str, ...]:
    """The policies of the nodes' role, and in a cluster of ours the add-ons that make nodes ready."""
    waits = attachments(node_role(spec))
    return waits if spec.cluster.existing is not None else (*waits, "system")


def _template(spec: AwsSpec, child: str, pool: ManagedPool) -> Planned:
    more: Json = {}
    data = nodes.user_data_encoded(pool)
    if data is not None:
        more["userData"] = data
    if pool.capacity.reservations:
        target = {"capacityReservationId": pool.capacity.reservations[0]}
        more["capacityReservationSpecification"] = {"capacityReservationTarget": target}
    if pool.capacity.kind is CapacityKind.BLOCK:
        more["instanceMarketOptions"] = {"marketType": "capacity-block"}
        more["instanceType"] = pool.instance_types[0]
    return launch_template(spec, child, *nodes.disks(pool), more=more)


def _scaling_tags(spec: AwsSpec, name: str, pool: ManagedPool) -> list[Planned]:
    """What the autoscaler knows of a node that does not exist: without these a group at zero stays there.

    EKS puts the tags by which the autoscaler finds the group itself.
    """
    described = {
        **{f"label/{key}": value for key, value in nodes.labels(name, pool).items()},
        f"taint/{names.GPU_RESOURCE}": f"{nodes.TAINT_VALUE}:NoSchedule",
        f"resources/{names.GPU_RESOURCE}": str(gpus_of(pool)),
        "resources/ephemeral-storage": f"{pool.disk_gib}Gi",
    }
    group = out(f"pool-{name}", "resources.0.autoscalingGroups.0.name")
    return [
        Planned(
            f"pool-{name}-tag-{key.replace('/', '-').replace('.', '-')}",
            "aws:autoscaling/tag:Tag",
            {
                "autoscalingGroupName": group,
                "tag": {"key": f"{_TEMPLATE_TAG}/{key}", "value": value, "propagateAtLaunch": False},
            },
        )
        for key, value in described.items()
    ]


def _karpenter(spec: AwsSpec, cluster: Cluster) -> list[Planned]:
    """A profile of ours, so that Karpenter needs no right to make any; and the nodes' way into the cluster."""
    planned = [
        Planned(
            "karpenter-profile",
            "aws:iam/instanceProfile:InstanceProfile",
            {
                "name": profile_name(spec),
                "role": out("node-role", "name"),
                "tags": tags(spec, "karpenter-profile"),
            },
        )
    ]
    if spec.cluster.existing is not None and not spec.has(PoolKind.MANAGED):
        # A managed node group with the same role would have made this entry.
        planned.append(_entry(spec, "node-entry", cluster, out("node-role", "arn"), "EC2_LINUX"))
    return planned


def profile_name(spec: AwsSpec) -> str:
    """The instance profile of Karpenter's nodes."""
    return f"{spec.name}-{spec.region}-karpenter"


def _entry(spec: AwsSpec, child: str, cluster: Cluster, principal: str, kind: str) -> Planned:
    return Planned(
        child,
        "aws:eks/accessEntry:AccessEntry",
        {
            "clusterName": cluster.name,
            "principalArn": principal,
            "type": kind,
            "tags": tags(spec, child),
        },
    )


def _auto(spec: AwsSpec, cluster: Cluster) -> list[Planned]:
    principal = out("auto-node-role", "arn")
    policy = f"arn:{spec.partition}:eks::aws:cluster-access-policy/AmazonEKSAutoNodePolicy"
    return [
        *role(spec, "auto-node-role", "ec2.amazonaws.com", AUTO_NODE_POLICIES),
        _entry(spec, "auto-entry", cluster, principal, "EC2"),
        Planned(
            "auto-entry-rights",
            "aws:eks/accessPolicyAssociation:AccessPolicyAssociation",
            {
                "clusterName": cluster.name,
                "principalArn": principal,
                "policyArn": policy,
                "accessScope": {"type": "cluster"},
            },
            after=("auto-entry",),
        ),
    ]
