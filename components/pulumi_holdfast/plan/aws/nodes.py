"""What follows from the kind of a GPU pool: image, device plugin, taint, labels, disks, user data.

One place derives all of it, so that no combination of a pool's parts can contradict itself.
"""

from __future__ import annotations

import base64
from typing import Final

from holdfast_contract import names
from pulumi_holdfast.plan.aws.cluster import disk
from pulumi_holdfast.plan.aws.resource import Json
from pulumi_holdfast.spec.aws import AwsSpec
from pulumi_holdfast.spec.aws_pools import (
    AutoPool,
    CapacityKind,
    KarpenterPool,
    ManagedPool,
    NodeImage,
    Pool,
    gpu_name,
    gpus_of,
)

GPU_LABEL: Final = {f"{names.DOMAIN}/gpu": "true"}
"""On every GPU node: what replicas with GPUs select."""
POOL_LABEL: Final = f"{names.DOMAIN}/pool"
ACCELERATOR_LABEL: Final = "k8s.amazonaws.com/accelerator"
TAINT_VALUE: Final = "present"
_BOUNDARY: Final = "holdfast"
BOTTLEROCKET_SYSTEM_GIB: Final = 8
"""Bottlerocket's root disk holds the system alone; images live on the second."""
_NODE_CONFIG: Final = """\
apiVersion: node.eks.aws/v1alpha1
kind: NodeConfig
spec:
  featureGates:
    FastImagePull: true
"""
_BOTTLEROCKET: Final = """\
[settings.container-runtime]
snapshotter = "soci"

[settings.container-runtime-plugins.soci-snapshotter]
pull-mode = "parallel-pull-unpack"
"""


def image_of(pool: Pool) -> NodeImage | None:
    """The operating system of a pool's nodes; None where Auto Mode chooses."""
    if isinstance(pool, AutoPool):
        return None
    if isinstance(pool, KarpenterPool):
        return NodeImage(pool.ami_alias.partition("@")[0])
    return pool.image


def ami_type(pool: ManagedPool) -> str:
    """What EKS calls the AMI of a managed pool."""
    return {
        NodeImage.AL2023: "AL2023_x86_64_NVIDIA",
        NodeImage.BOTTLEROCKET: "BOTTLEROCKET_x86_64_NVIDIA",
    }[pool.image]


def needs_device_plugin(pool: Pool) -> bool:
    """Whether nothing on the node advertises its GPUs: Bottlerocket and Auto Mode bring that themselves."""
    return image_of(pool) is NodeImage.AL2023


def pools_with_plugin(spec: AwsSpec) -> tuple[str, ...]:
    """Names of the pools whose nodes the device plugin's chart has to serve."""
    return tuple(name for name, pool in spec.pools.items() if needs_device_plugin(pool))


def labels(name: str, pool: Pool) -> dict[str, str]:
    """Labels of a pool's nodes. Ours come last: placement relies on them."""
    derived = {**GPU_LABEL, POOL_LABEL: name}
    gpu = gpu_name(pool)
    if gpu is not None:
        derived[ACCELERATOR_LABEL] = gpu.lower().replace(" ", "-")
    return {**pool.labels, **derived}


def taint() -> Json:
    """Keeps everything that asks for no GPU away from nodes that cost a GPU's price."""
    return {"key": names.GPU_RESOURCE, "value": TAINT_VALUE, "effect": "NoSchedule"}


def toleration() -> Json:
    """What lets a pod onto these nodes."""
    return {"key": names.GPU_RESOURCE, "operator": "Exists", "effect": "NoSchedule"}


def user_data(pool: Pool) -> str | None:
    """What a node is told at its start: SOCI's parallel pull. None where there is nothing to say."""
    if not pool.parallel_pull:
        return None
    image = image_of(pool)
    if image is NodeImage.AL2023:
        return (
            f'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="{_BOUNDARY}"\n\n'
            f"--{_BOUNDARY}\nContent-Type: application/node.eks.aws\n\n{_NODE_CONFIG}--{_BOUNDARY}--\n"
        )
    return _BOTTLEROCKET if image is NodeImage.BOTTLEROCKET else None


def user_data_encoded(pool: Pool) -> str | None:
    """The same as launch templates take it."""
    text = user_data(pool)
    return base64.b64encode(text.encode()).decode() if text is not None else None


def disks(pool: Pool) -> list[Json]:
    """A node's disks: one, or Bottlerocket's small one for itself and the large one for images."""
    size, throughput, iops = pool.disk_gib, pool.disk_throughput_mib_s, pool.disk_iops
    if image_of(pool) is NodeImage.BOTTLEROCKET:
        return [
            disk(BOTTLEROCKET_SYSTEM_GIB),
            disk(size, throughput, iops, "/dev/xvdb"),
        ]
    return [disk(size, throughput, iops)]


def gpu_limit(pool: Pool) -> int:
    """GPUs that a pool has at most. With types of different sizes, the first one's count is taken."""
    return pool.max_nodes * gpus_of(pool)


def capacity_type(pool: Pool) -> str:
    """What Karpenter calls the way in which machines are bought."""
    return {
        CapacityKind.ON_DEMAND: "on-demand",
        CapacityKind.SPOT: "spot",
        CapacityKind.RESERVATION: "reserved",
        CapacityKind.BLOCK: "reserved",
    }[pool.capacity.kind]
