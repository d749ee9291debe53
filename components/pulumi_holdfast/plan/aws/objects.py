"""Kubernetes objects of a platform on AWS: the disk class, Karpenter's and Auto Mode's pools, spares, pre-pulls."""

from __future__ import annotations

import re
from typing import Final

from holdfast_contract import names
from pulumi_holdfast.plan.aws import nodes
from pulumi_holdfast.plan.aws.charts import SPARE_PRIORITY
from pulumi_holdfast.plan.aws.cluster import cluster_of
from pulumi_holdfast.plan.aws.network import network_of
from pulumi_holdfast.plan.aws.pools import profile_name
from pulumi_holdfast.plan.aws.resource import Json, out, tags
from pulumi_holdfast.plan.manifest import SKIP_AWAIT, Manifest, Meta
from pulumi_holdfast.plan.timeouts import DRAIN_MARGIN_S
from pulumi_holdfast.spec.aws import AwsSpec
from pulumi_holdfast.spec.aws_pools import AutoPool, KarpenterPool, Pool, gpus_of

NAMESPACE: Final = "holdfast-nodes"
"""Where what belongs to nodes runs; apart from the system, so that neither's quota is the other's."""
STORAGE_CLASS: Final = "holdfast-gp3"
PAUSE_IMAGE: Final = "registry.k8s.io/pause:3.10"
TOOL_IMAGE: Final = "docker.io/library/busybox:1.37.0-musl"
"""Its one static program runs in any image, also in those without a shell."""
IDLE_NODE: Final = "300s"
"""How long a node of Karpenter's may be empty: long enough for the next wake-up to find it."""
AUTO_EXPIRY: Final = "504h"
"""Auto Mode ends every node within 21 days whatever a pool says; so it may as well be said."""
_LABELS: Final = {"app.kubernetes.io/part-of": "holdfast"}
_PRIORITY: Final = "holdfast-spare"


def objects(spec: AwsSpec) -> tuple[Manifest, ...]:
    """Everything, in the order of creation. Holes are outputs of the AWS plan."""
    meta = Meta(namespace=NAMESPACE, labels=_LABELS)
    planned = [_namespace(meta), _storage_class(spec)]
    for name, pool in spec.pools.items():
        if isinstance(pool, KarpenterPool):
            planned += [_node_class(spec, name, pool), _node_pool(spec, name, pool, "karpenter.k8s.aws")]
        elif isinstance(pool, AutoPool):
            planned += [_auto_class(spec, name, pool), _node_pool(spec, name, pool, "eks.amazonaws.com")]
    if any(pool.warm_spare for pool in spec.pools.values()):
        planned.append(_priority())
    for name, pool in spec.pools.items():
        if pool.warm_spare:
            planned.append(_spare(name, pool, meta))
        if pool.prepull:
            planned.append(_prepull(name, pool, meta))
    return tuple(planned)


def _namespace(meta: Meta) -> Manifest:
    return Manifest(
        "nodes-namespace", "v1", "Namespace", {"name": meta.namespace, "labels": dict(meta.labels)}, {}
    )


def _storage_class(spec: AwsSpec) -> Manifest:
    """The brokers' disks. Kept when a claim goes: what waits in a queue is worth more than a disk."""
    return Manifest(
        "storage-class",
        "storage.k8s.io/v1",
        "StorageClass",
        {"name": STORAGE_CLASS, "labels": dict(_LABELS)},
        {
            "provisioner": "ebs.csi.aws.com",
            "parameters": {"type": "gp3", "encrypted": "true"},
            "reclaimPolicy": "Retain",
            "volumeBindingMode": "WaitForFirstConsumer",
            "allowVolumeExpansion": True,
        },
    )


def _selectors(spec: AwsSpec, pool: Pool) -> Json:
    reserved = [{"id": identity} for identity in pool.capacity.reservations]
    return {
        "subnetSelectorTerms": [{"id": subnet} for subnet in network_of(spec).private_in(pool.zones)],
        "securityGroupSelectorTerms": [{"id": cluster_of(spec).security_group_id}],
        **({"capacityReservationSelectorTerms": reserved} if reserved else {}),
        "tags": {key: value for key, value in tags(spec, "gpu-node").items() if key != "Name"},
    }


def _node_class(spec: AwsSpec, name: str, pool: KarpenterPool) -> Manifest:
    body: Json = {
        "amiSelectorTerms": [{"alias": pool.ami_alias}],
        "instanceProfile": profile_name(spec),
        **_selectors(spec, pool),
        "blockDeviceMappings": [_karpenter_disk(disk) for disk in nodes.disks(pool)],
        "metadataOptions": {
            "httpEndpoint": "enabled",
            "httpTokens": "required",
            "httpPutResponseHopLimit": 1,
        },
    }
    data = nodes.user_data(pool)
    if data is not None:
        body["userData"] = data
    return Manifest(
        f"class-{name}",
        "karpenter.k8s.aws/v1",
        "EC2NodeClass",
        {"name": name, "labels": dict(_LABELS)},
        {"spec": body},
        after=_after_karpenter(spec),
    )


def _after_karpenter(spec: AwsSpec) -> tuple[str, ...]:
    """Its chart brings the kinds of these objects."""
    return ("karpenter",) if spec.charts.karpenter.install else ()


def _karpenter_disk(disk: Json) -> Json:
    ebs = disk["ebs"]
    return {
        "deviceName": disk["deviceName"],
        "ebs": {
            "volumeSize": f"{ebs['volumeSize']}Gi",
            "volumeType": ebs["volumeType"],
            "throughput": ebs["throughput"],
            "iops": ebs["iops"],
            "encrypted": True,
            "deleteOnTermination": True,
        },
    }


def _auto_class(spec: AwsSpec, name: str, pool: AutoPool) -> Manifest:
    """Auto Mode chooses the image, and how it pulls."""
    storage = {
        "size": f"{pool.disk_gib}Gi",
        "iops": pool.disk_iops,
        "throughput": pool.disk_throughput_mib_s,
    }
    return Manifest(
        f"class-{name}",
        "eks.amazonaws.com/v1",
        "NodeClass",
        {"name": name, "labels": dict(_LABELS)},
        {
            "spec": {
                "role": out("auto-node-role", "name"),
                **_selectors(spec, pool),
                "ephemeralStorage": storage,
            }
        },
    )


def _node_pool(spec: AwsSpec, name: str, pool: Pool, group: str) -> Manifest:
    """Nodes end when empty and for no other reason: neither age nor a cheaper machine may end a request."""
    requirements = [
        {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": list(pool.instance_types)},
        {"key": "karpenter.sh/capacity-type", "operator": "In", "values": [nodes.capacity_type(pool)]},
    ]
    if pool.zones:
        requirements.append(
            {"key": "topology.kubernetes.io/zone", "operator": "In", "values": list(pool.zones)}
        )
    kind = "NodeClass" if group == "eks.amazonaws.com" else "EC2NodeClass"
    after = (f"class-{name}", *(_after_karpenter(spec) if isinstance(pool, KarpenterPool) else ()))
    return Manifest(
        f"nodes-{name}",
        "karpenter.sh/v1",
        "NodePool",
        {"name": name, "labels": dict(_LABELS)},
        {
            "spec": {
                "limits": {names.GPU_RESOURCE: str(nodes.gpu_limit(pool))},
                "disruption": {"consolidationPolicy": "WhenEmpty", "consolidateAfter": IDLE_NODE},
                "template": {
                    "metadata": {"labels": nodes.labels(name, pool)},
                    "spec": {
                        "nodeClassRef": {"group": group, "kind": kind, "name": name},
                        "taints": [nodes.taint()],
                        "requirements": requirements,
                        "expireAfter": "Never" if group != "eks.amazonaws.com" else AUTO_EXPIRY,
                        # Beyond the replicas' own grace, which is the longest request and a margin.
                        "terminationGracePeriod": f"{spec.ingress.max_request_s + 2 * DRAIN_MARGIN_S}s",
                    },
                },
            }
        },
        after=after,
    )


def _priority() -> Manifest:
    return Manifest(
        "spare-priority",
        "scheduling.k8s.io/v1",
        "PriorityClass",
        {"name": _PRIORITY, "labels": dict(_LABELS)},
        {
            "value": SPARE_PRIORITY,
            "globalDefault": False,
            "preemptionPolicy": "Never",
            "description": "Keeps a GPU node running until a replica needs it",
        },
    )


def _spare(name: str, pool: Pool, meta: Meta) -> Manifest:
    """A pod for each spare node, that asks for all its GPUs and does nothing. A replica displaces it at once; then
    it waits, and what waits brings the next spare."""
    gpus = {names.GPU_RESOURCE: str(gpus_of(pool))}
    return _workload(
        "Deployment",
        f"spare-{name}",
        name,
        meta,
        {"replicas": pool.warm_spare, "strategy": {"type": "Recreate"}},
        {
            "priorityClassName": _PRIORITY,
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": "spare",
                    "image": PAUSE_IMAGE,
                    "resources": {"requests": {"cpu": "10m", "memory": "16Mi", **gpus}, "limits": gpus},
                    "securityContext": _SAFE,
                }
            ],
        },
        after=("nodes-namespace", "spare-priority"),
    )


def _prepull(name: str, pool: Pool, meta: Meta) -> Manifest:
    """Runs each image once on every node of the pool, by a program that is put into it, then waits."""
    mount = [{"name": "tool", "mountPath": "/holdfast-tool"}]
    small = {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}}
    put = {
        "name": "tool",
        "image": TOOL_IMAGE,
        "command": ["cp", "/bin/busybox", "/holdfast-tool/true"],
        "resources": small,
        "securityContext": _SAFE,
        "volumeMounts": mount,
    }
    pulls = [
        {
            "name": f"image-{index}",
            "image": image,
            "command": ["/holdfast-tool/true"],
            "resources": small,
            "securityContext": _SAFE,
            "volumeMounts": mount,
        }
        for index, image in enumerate(pool.prepull)
    ]
    return _workload(
        "DaemonSet",
        f"prepull-{name}",
        name,
        meta,
        {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "100%"}}},
        {
            "terminationGracePeriodSeconds": 0,
            "initContainers": [put, *pulls],
            "containers": [
                {"name": "wait", "image": PAUSE_IMAGE, "resources": small, "securityContext": _SAFE}
            ],
            "volumes": [{"name": "tool", "emptyDir": {}}],
        },
        after=("nodes-namespace",),
    )


_SAFE: Final[Json] = {
    "runAsUser": 65532,
    "runAsNonRoot": True,
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def _workload(
    kind: str, child: str, pool: str, meta: Meta, body: Json, pod: Json, after: tuple[str, ...]
) -> Manifest:
    """Not waited for: its nodes may not exist for days."""
    labels = {"app.kubernetes.io/name": re.sub(r"[^a-z0-9-]", "-", child)}
    template = {
        "metadata": {"labels": {**meta.labels, **labels}},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "nodeSelector": {nodes.POOL_LABEL: pool},
            "tolerations": [nodes.toleration()],
            **pod,
        },
    }
    return Manifest(
        child,
        "apps/v1",
        kind,
        meta.of(f"holdfast-{child}", annotations={SKIP_AWAIT: "true"}),
        {"spec": {**body, "selector": {"matchLabels": labels}, "template": template}},
        after=after,
    )
