"""AwsPlatform: network, EKS cluster, GPU pools, identities, buckets and the way in."""

# No `from __future__ import annotations`: the analyser of multi-language components reads real types.
import json
from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

import pulumi

from pulumi_holdfast.aws.create import AwsCreation
from pulumi_holdfast.errors import explained
from pulumi_holdfast.fill import fill
from pulumi_holdfast.plan.aws import ingress
from pulumi_holdfast.plan.aws.cluster import cluster_name, cluster_of
from pulumi_holdfast.plan.aws.cost import at_rest
from pulumi_holdfast.plan.aws.nodes import GPU_LABEL
from pulumi_holdfast.plan.aws.platform import plan_aws
from pulumi_holdfast.plan.aws.storage import bodies_bucket, weights_bucket
from pulumi_holdfast.spec.aws import AwsSpec, parse_aws
from pulumi_holdfast.spec.hardware import hardware_table


class AwsPlatformArgs(TypedDict):
    """What a platform on AWS declares. `pulumi_holdfast.spec.aws.AwsSpec` says all of every field."""

    region: str
    """Where everything is made; the AWS provider must be set to the same."""
    account: str
    """The account's 12 digits: policies name resources by their whole ARN."""
    network: NotRequired[dict[str, Any]]
    """`zones`, `cidr`, `nat`, `endpoints`; or `existing`."""
    cluster: NotRequired[dict[str, Any]]
    """`version`, `addons`, `admins`, `public_cidrs`, `system` and more; or `existing`."""
    pools: NotRequired[dict[str, Any]]
    """GPU pools by name, each of `kind` managed, karpenter or auto."""
    identities: NotRequired[dict[str, Any]]
    """`secrets` that may be read, what else the policies hold, and the `namespace` and `system_namespace` of a shared
    stack that has its own."""
    ingress: NotRequired[dict[str, Any]]
    """`kind` alb, nlb or none; `domain`, `zone_id`, `tls_secret`, `max_request_s` and more."""
    storage: NotRequired[dict[str, Any]]
    """The buckets of bodies and of weights."""
    charts: NotRequired[dict[str, Any]]
    """What AwsAddons installs; read by it."""
    tags: NotRequired[dict[str, str]]
    """Put on everything that takes tags."""


class AwsPlatform(pulumi.ComponentResource):
    """Everything on AWS below the cluster's own objects. AwsAddons and SharedStack go into the cluster."""

    kubeconfig: pulumi.Output[str]
    """For a Kubernetes provider with `cluster_identifier` set to the cluster's name. It asks `aws eks get-token` for
    a token each time, so it holds no secret."""
    cluster_name: pulumi.Output[str]
    """The cluster's name, once it exists."""
    # The rest is known before anything exists: plain here, outputs in other languages.
    identifier: str
    """The cluster's name as it is declared."""
    base_url: str | None
    """The gateway as callers see it; None where something else decides."""
    bodies_bucket: str
    """For a SharedStack's `bodies_bucket`: its gateway may enter it."""
    weights_bucket: str
    """Replicas may read it below `weights/`."""
    load_balancer_idle_s: int | None
    """How long a connection may be silent; None without a load balancer of ours."""
    tls_secret: str | None
    """For a SharedStack's `gateway.tls_secret`; None where the load balancer ends TLS."""
    gpu_node_selector: dict[str, str]
    """What a SharedStack is told of the GPU nodes; empty without a pool."""
    at_rest: list[dict[str, Any]]
    """What is paid for without a request, line by line: `what`, `count`, `usd_month` for all of them, `note`."""

    def __init__(self, name: str, args: AwsPlatformArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("holdfast:index:AwsPlatform", name, {}, opts)
        with explained():
            self.spec: AwsSpec = parse_aws(name, args)
        """What was declared, with every default filled in."""
        creation = AwsCreation(name, self, opts)
        creation.create(plan_aws(self.spec))
        self.outputs: Mapping[str, Any] = creation
        """Outputs of children by the names of a plan's holes, such as `vpc.id`."""
        self.children = creation.children
        """The resources by child name: `vpc`, `cluster`, `pool-<name>`, `balancer`, …"""
        eks = cluster_of(self.spec)
        self.cluster_name = pulumi.Output.from_input(fill(eks.name, creation))
        self.kubeconfig = pulumi.Output.all(
            self.cluster_name, fill(eks.endpoint, creation), fill(eks.certificate_authority, creation)
        ).apply(lambda found: kubeconfig(self.spec.region, *found))
        self.identifier = cluster_name(self.spec)
        self.base_url = ingress.base_url(self.spec)
        self.bodies_bucket = bodies_bucket(self.spec)
        self.weights_bucket = weights_bucket(self.spec)
        self.load_balancer_idle_s = ingress.idle_s(self.spec)
        self.tls_secret = self.spec.ingress.tls_secret
        self.gpu_node_selector = dict(GPU_LABEL) if self.spec.pools else {}
        self.at_rest = [line.as_output() for line in at_rest(self.spec, hardware_table())]
        self.register_outputs(
            {
                "cluster_name": self.cluster_name,
                "base_url": self.base_url,
                "bodies_bucket": self.bodies_bucket,
                "weights_bucket": self.weights_bucket,
                "load_balancer_idle_s": self.load_balancer_idle_s,
                "at_rest": self.at_rest,
            }
        )


def kubeconfig(region: str, cluster: str, endpoint: str, authority: str) -> str:
    """How to reach a cluster, with whatever AWS credentials are there when it is read."""
    arguments = ["eks", "get-token", "--cluster-name", cluster, "--region", region, "--output", "json"]
    token = {
        "apiVersion": "client.authentication.k8s.io/v1beta1",
        "command": "aws",
        "args": arguments,
        "interactiveMode": "Never",
    }
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": cluster,
            "clusters": [
                {"name": cluster, "cluster": {"server": endpoint, "certificate-authority-data": authority}}
            ],
            "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": cluster}}],
            "users": [{"name": cluster, "user": {"exec": token}}],
        }
    )
