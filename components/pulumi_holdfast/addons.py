"""AwsAddons: what a cluster on AWS needs before a SharedStack goes into it."""

# No `from __future__ import annotations`: the analyser of multi-language components reads real types.
from typing import Any, TypedDict

import pulumi

from pulumi_holdfast.awaiting import awaiting
from pulumi_holdfast.aws.platform import AwsPlatform
from pulumi_holdfast.kube.create import Creation
from pulumi_holdfast.plan.aws.charts import PlannedChart, charts
from pulumi_holdfast.plan.aws.objects import STORAGE_CLASS, objects

INSTALL_TIMEOUT_S = 600
"""How long a chart's pods may take to become ready: system nodes are there, images have to come."""


class AwsAddonsArgs(TypedDict):
    """What the add-ons follow from."""

    platform: Any
    """The AwsPlatform; its `charts` say which charts are there already."""


class AwsAddons(pulumi.ComponentResource):
    """KEDA, External Secrets, the device plugin and the nodes' autoscaler by their charts; Karpenter's and Auto
    Mode's pools, the brokers' storage class, spare nodes and pre-pulled images.

    Give it the cluster's Kubernetes provider in `opts`. Charts are `helm.v3.Release`s: those charts make
    certificates while they render, which a `helm.v4.Chart` would make anew in every preview.
    """

    def __init__(self, name: str, args: AwsAddonsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("holdfast:index:AwsAddons", name, {}, opts)
        platform: AwsPlatform = args["platform"]
        creation = Creation(name, self, platform.outputs, opts)
        for chart in charts(platform.spec):
            child_opts = awaiting(opts, pulumi.ResourceOptions(parent=self))
            creation.children[chart.child] = _release(name, chart, child_opts)
        creation.create(objects(platform.spec))
        self.children = creation.children
        """The resources by child name: `keda`, `external-secrets`, `storage-class`, `nodes-<pool>`, …"""
        self.storage_class = STORAGE_CLASS
        """For a SharedStack's `queue.storage_class`."""
        self.register_outputs({"storage_class": self.storage_class})


def _release(name: str, chart: PlannedChart, opts: pulumi.ResourceOptions) -> pulumi.CustomResource:
    from pulumi_kubernetes.helm.v3 import Release, RepositoryOptsArgs  # a third of a second, and only here

    made: pulumi.CustomResource = Release(
        f"{name}-{chart.child}",
        name=chart.child,
        chart=chart.chart,
        version=chart.version,
        namespace=chart.namespace,
        create_namespace=True,
        repository_opts=RepositoryOptsArgs(repo=chart.repository) if chart.repository else None,
        values=chart.values,
        timeout=INSTALL_TIMEOUT_S,
        opts=opts,
    )
    return made
