"""What comes into the cluster by its own Helm chart: pinned versions, and the few values that we set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pulumi_holdfast.plan.aws import nodes
from pulumi_holdfast.plan.aws.cluster import SYSTEM_LABEL, cluster_name
from pulumi_holdfast.plan.aws.interruptions import queue_name
from pulumi_holdfast.plan.aws.resource import Json
from pulumi_holdfast.plan.manifest import merged
from pulumi_holdfast.spec.aws import AwsSpec
from pulumi_holdfast.spec.aws_pools import PoolKind

SPARE_PRIORITY: Final = -5
"""Of the pods that keep a spare node: any replica displaces them. Not below the autoscaler's cut-off, under which
a pod brings no node."""
AUTOSCALER_CUTOFF: Final = -10


@dataclass(frozen=True, slots=True)
class PlannedChart:
    """One Helm release to be."""

    child: str
    chart: str
    """Its name in the repository, or a whole `oci://` reference."""
    version: str
    repository: str | None
    """None for `oci://`."""
    namespace: str
    values: Json


@dataclass(frozen=True, slots=True)
class _Source:
    chart: str
    version: str
    repository: str | None
    namespace: str


_SOURCES: Final[Mapping[str, _Source]] = {
    "keda": _Source("keda", "2.20.2", "https://kedacore.github.io/charts", "keda"),
    "external_secrets": _Source(
        "external-secrets", "2.11.0", "https://charts.external-secrets.io", "external-secrets"
    ),
    "device_plugin": _Source(
        "nvidia-device-plugin", "0.20.0", "https://nvidia.github.io/k8s-device-plugin", "kube-system"
    ),
    "karpenter": _Source("oci://public.ecr.aws/karpenter/karpenter", "1.14.1", None, "kube-system"),
    "cluster_autoscaler": _Source(
        "cluster-autoscaler", "9.56.0", "https://kubernetes.github.io/autoscaler", "kube-system"
    ),
}


def charts(spec: AwsSpec) -> tuple[PlannedChart, ...]:
    """The releases that the declared pools and identities need, but for those that are there already."""
    planned = []
    for name, values in _wanted(spec).items():
        declared = getattr(spec.charts, name)
        if not declared.install:
            continue
        source = _SOURCES[name]
        chart, repository = source.chart, declared.repository or source.repository
        if repository is not None and repository.startswith("oci://"):
            chart, repository = f"{repository.rstrip('/')}/{chart.rpartition('/')[2]}", None
        planned.append(
            PlannedChart(
                child=name.replace("_", "-"),
                chart=chart,
                version=declared.version or source.version,
                repository=repository,
                namespace=source.namespace,
                values=merged(values, declared.values),
            )
        )
    return tuple(planned)


def _wanted(spec: AwsSpec) -> dict[str, Json]:
    """Our values of each chart that this platform needs."""
    on_system: Json = {"nodeSelector": dict(SYSTEM_LABEL)} if spec.cluster.existing is None else {}
    wanted: dict[str, Json] = {
        "keda": dict(on_system),
        "external_secrets": {
            **on_system,
            "serviceAccount": {"name": "external-secrets"},
            "webhook": dict(on_system),
            "certController": dict(on_system),
        },
    }
    if nodes.pools_with_plugin(spec):
        wanted["device_plugin"] = _device_plugin(spec)
    if spec.has(PoolKind.KARPENTER):
        wanted["karpenter"] = {
            **on_system,
            "serviceAccount": {"name": "karpenter"},
            "settings": {"clusterName": cluster_name(spec), "interruptionQueue": queue_name(spec)},
        }
    if spec.has(PoolKind.MANAGED):
        wanted["cluster_autoscaler"] = {**on_system, **_autoscaler(spec)}
    return wanted


def _device_plugin(spec: AwsSpec) -> Json:
    """On those pools whose image lacks it. The chart's own affinity waits for labels that nothing here sets."""
    term = {"key": nodes.POOL_LABEL, "operator": "In", "values": list(nodes.pools_with_plugin(spec))}
    required = {"nodeSelectorTerms": [{"matchExpressions": [term]}]}
    return {
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}},
        "tolerations": [nodes.toleration()],
    }


def _autoscaler(spec: AwsSpec) -> Json:
    values: Json = {
        "autoDiscovery": {"clusterName": cluster_name(spec)},
        "awsRegion": spec.region,
        "rbac": {"serviceAccount": {"name": "cluster-autoscaler"}},
        "extraArgs": {
            "balance-similar-node-groups": True,
            "expander": "least-waste",
            "expendable-pods-priority-cutoff": AUTOSCALER_CUTOFF,
            "scale-down-unneeded-time": "5m",
            "skip-nodes-with-system-pods": False,
        },
    }
    if spec.cluster.version is not None:
        # The autoscaler has Kubernetes' minor version as its own.
        values["image"] = {"tag": f"v{spec.cluster.version}.0"}
    return values
