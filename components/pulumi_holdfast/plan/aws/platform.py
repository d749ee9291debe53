"""The whole AWS plan, in the order in which its resources are created."""

from __future__ import annotations

from pulumi_holdfast.plan.aws.cluster import cluster, cluster_of
from pulumi_holdfast.plan.aws.identities import identities
from pulumi_holdfast.plan.aws.ingress import ingress
from pulumi_holdfast.plan.aws.interruptions import interruptions
from pulumi_holdfast.plan.aws.network import network, network_of
from pulumi_holdfast.plan.aws.pools import pools
from pulumi_holdfast.plan.aws.resource import Planned
from pulumi_holdfast.plan.aws.storage import storage
from pulumi_holdfast.spec.aws import AwsSpec


def plan_aws(spec: AwsSpec) -> tuple[Planned, ...]:
    """Every AWS resource of a platform; what exists already is used and not planned."""
    net, eks = network_of(spec), cluster_of(spec)
    return (
        *network(spec),
        *cluster(spec, net),
        *pools(spec, net, eks),
        *interruptions(spec),
        *storage(spec),
        *identities(spec, eks),
        *ingress(spec, net, eks),
    )
