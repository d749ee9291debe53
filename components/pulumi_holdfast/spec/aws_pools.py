"""GPU node pools on AWS: one tagged choice, and everything that follows from it is derived (plan/aws/pools.py)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from pulumi_holdfast.spec.hardware import hardware_table
from pulumi_holdfast.spec.model import Flag, Spec, Whole
from pulumi_holdfast.spec.problems import Problem, problem, refused

FAST_PULL_MIB_S: Final = 600
"""Below this disk throughput the parallel image pull is slower than the ordinary one (AWS, on FastImagePull)."""
FAST_PULL_AL2023: Final = "20250821"
"""The parallel pull needs a newer AMI than this one; older ones ignore the setting silently."""
FAST_PULL_BOTTLEROCKET: Final = (1, 44)
_ALIAS: Final = re.compile(r"(al2023|bottlerocket)@(v?[0-9][0-9.]*)")
_RESERVATION: Final = re.compile(r"cr-[0-9a-f]{8,17}")
_RELEASE: Final = re.compile(r"[0-9]+\.[0-9]+(\.[0-9]+)?-[0-9a-f]{8}")


class PoolKind(StrEnum):
    """Who starts and ends the nodes of a pool."""

    MANAGED = "managed"
    """An EKS managed node group, grown by the cluster autoscaler: the plainest to reason about."""
    KARPENTER = "karpenter"
    """Karpenter, on the system nodes: picks among many instance types, faster."""
    AUTO = "auto"
    """EKS Auto Mode: AWS runs Karpenter, the AMI and the device plugin, for about 12 % of the node's price."""


class NodeImage(StrEnum):
    """The operating system of a managed pool's nodes."""

    AL2023 = "al2023"
    """Amazon Linux 2023 with NVIDIA's driver; needs the device plugin's chart."""
    BOTTLEROCKET = "bottlerocket"
    """Bottlerocket with driver and device plugin in it."""


class CapacityKind(StrEnum):
    """How the machines are bought."""

    ON_DEMAND = "on-demand"
    SPOT = "spot"
    """Cheaper, and taken away with two minutes' notice: what runs then is done again elsewhere."""
    RESERVATION = "reservation"
    """On-demand capacity reservations that you already pay for, by id."""
    BLOCK = "block"
    """A capacity block for ML, bought for a span of time, by id."""


def _instance_type(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9-]+\.[a-z0-9]+", name):
        raise refused("not an instance type", "write it as AWS does, such as g6.xlarge")
    return name


def _alias(alias: str) -> str:
    if alias.endswith("@latest"):
        raise refused(
            "not pinned",
            "name the version, such as al2023@v20251120: @latest replaces every node on a release",
        )
    if not _ALIAS.fullmatch(alias):
        raise refused("not an AMI alias", "write al2023@v<date> or bottlerocket@v<version>")
    return alias


def _reservation(identity: str) -> str:
    if not _RESERVATION.fullmatch(identity):
        raise refused("not a capacity reservation", "use its id, such as cr-0123456789abcdef0")
    return identity


def _release(version: str) -> str:
    if not _RELEASE.fullmatch(version):
        raise refused(
            "not a release of the AMI", "use a whole one, such as 1.35.2-20260310 or 1.44.0-1a2b3c4d"
        )
    return version


class CapacitySpec(Spec):
    """How the machines of a pool are bought."""

    kind: CapacityKind = CapacityKind.ON_DEMAND
    reservations: tuple[Annotated[str, AfterValidator(_reservation)], ...] = ()
    """Ids; with `reservation` and `block` only."""


class PoolBase(Spec):
    """What all three kinds declare."""

    instance_types: tuple[Annotated[str, AfterValidator(_instance_type)], ...] = Field(min_length=1)
    """In order of preference. Offer several: one type alone is often out of stock."""
    max_nodes: Whole = Field(default=4, ge=1, le=450)
    """Never more nodes than this. 450 is what EKS allows in a managed node group."""
    warm_spare: Whole = Field(default=0, ge=0, le=20)
    """Nodes kept running beyond what replicas use, so that the next replica waits for no machine. 0 by default:
    each costs its full price all the time."""
    capacity: CapacitySpec = CapacitySpec()
    gpus_per_node: Whole | None = Field(default=None, ge=1, le=16)
    """None: as the price table says. Needed for types that it does not know."""
    prepull: tuple[str, ...] = ()
    """Images pulled onto every node of the pool as soon as it is there."""
    disk_gib: Whole = Field(default=200, ge=50, le=16384)
    """Holds images and the cache of weights."""
    disk_throughput_mib_s: Whole = Field(default=600, ge=125, le=1000)
    """gp3. 600 by default: less makes the parallel pull slower than the ordinary one."""
    disk_iops: Whole = Field(default=6000, ge=3000, le=16000)
    """gp3."""
    parallel_pull: Flag = True
    """SOCI's parallel pull and unpack of image layers: 50 to 60 % less time for images of many GiB."""
    labels: Mapping[str, str] = Field(default_factory=dict)
    """Beside those that are derived."""
    zones: tuple[str, ...] = ()
    """Zones of the network that nodes may be in. Empty: all of it."""


class ManagedPool(PoolBase):
    """An EKS managed node group."""

    kind: Literal["managed"]
    image: NodeImage = NodeImage.AL2023
    release: Annotated[str, AfterValidator(_release)] | None = None
    """Release of the AMI, such as 1.35.2-20260310. None: the newest at the time of creation."""


class KarpenterPool(PoolBase):
    """A NodePool and EC2NodeClass of Karpenter."""

    kind: Literal["karpenter"]
    ami_alias: Annotated[str, AfterValidator(_alias)]
    """Pinned, such as al2023@v20251120."""


class AutoPool(PoolBase):
    """A NodePool and NodeClass of EKS Auto Mode."""

    kind: Literal["auto"]


POOLS: Final[Mapping[PoolKind, type[PoolBase]]] = {
    PoolKind.MANAGED: ManagedPool,
    PoolKind.KARPENTER: KarpenterPool,
    PoolKind.AUTO: AutoPool,
}
Pool = Annotated[ManagedPool | KarpenterPool | AutoPool, Field(discriminator="kind")]


def gpus_of(pool: PoolBase) -> int:
    """GPUs of the pool's first instance type; 0 where nobody says."""
    if pool.gpus_per_node is not None:
        return pool.gpus_per_node
    machine = hardware_table().instances.get(pool.instance_types[0])
    return machine.gpus if machine else 0


def gpu_name(pool: PoolBase) -> str | None:
    """What the first instance type has, such as `NVIDIA L4`; None where the price table does not know it."""
    machine = hardware_table().instances.get(pool.instance_types[0])
    return machine.gpu if machine else None


def pool_problems(name: str, pool: PoolBase, zones: tuple[str, ...]) -> list[Problem]:
    """What is wrong between the fields of one pool. `zones`: of the network; empty where they are not known."""
    path = f"pools.{name}"
    found = [*_machine_problems(path, pool), *_capacity_problems(path, pool), *_pull_problems(path, pool)]
    if pool.warm_spare > pool.max_nodes:
        found.append(
            problem(
                f"{path}.warm_spare",
                pool.warm_spare,
                f"above max_nodes={pool.max_nodes}",
                "lower it or raise max_nodes",
            )
        )
    for index, zone in enumerate(pool.zones):
        if zones and zone not in zones:
            found.append(
                problem(
                    f"{path}.zones[{index}]",
                    zone,
                    "not a zone of the network",
                    f"choose among {', '.join(zones)}",
                )
            )
    return found


def _machine_problems(path: str, pool: PoolBase) -> list[Problem]:
    table = hardware_table().instances
    found = []
    for index, name in enumerate(pool.instance_types):
        where = f"{path}.instance_types[{index}]"
        machine = table.get(name)
        if machine is None and pool.gpus_per_node is None:
            found.append(
                problem(
                    where, name, "not in the price table", "declare gpus_per_node, or choose a listed type"
                )
            )
        elif machine is not None and machine.gpus == 0:
            found.append(
                problem(where, name, "a machine without a GPU", "choose one with GPUs for a GPU pool")
            )
    counts = {table[name].gpus for name in pool.instance_types if name in table}
    if isinstance(pool, ManagedPool) and len(counts) > 1:
        found.append(
            problem(
                f"{path}.instance_types",
                ", ".join(pool.instance_types),
                "of different GPU counts in one managed node group",
                "make a pool for each count: the autoscaler takes all nodes of a group for alike",
            )
        )
    return found


def _capacity_problems(path: str, pool: PoolBase) -> list[Problem]:
    capacity = pool.capacity
    reserved = capacity.kind in (CapacityKind.RESERVATION, CapacityKind.BLOCK)
    found = []
    if reserved and not capacity.reservations:
        found.append(
            Problem(
                f"{path}.capacity.reservations",
                "missing",
                f"required with kind={capacity.kind}",
                "give the reservation's id",
            )
        )
    if not reserved and capacity.reservations:
        found.append(
            problem(
                f"{path}.capacity.reservations",
                list(capacity.reservations),
                f"without effect with kind={capacity.kind}",
                "set kind to reservation or block, or leave it out",
            )
        )
    single = isinstance(pool, ManagedPool) and reserved
    if single and len(capacity.reservations) > 1:
        found.append(
            problem(
                f"{path}.capacity.reservations",
                list(capacity.reservations),
                "several in one managed node group",
                "make a pool for each, or use karpenter",
            )
        )
    if single and len(pool.instance_types) > 1:
        found.append(
            problem(
                f"{path}.instance_types",
                ", ".join(pool.instance_types),
                "several types for one reservation",
                "name the reservation's type alone",
            )
        )
    if reserved and pool.warm_spare:
        found.append(
            problem(
                f"{path}.warm_spare",
                pool.warm_spare,
                "beside capacity that is paid for anyway",
                "leave it out: a reserved machine is there when it is asked for",
            )
        )
    return found


def _pull_problems(path: str, pool: PoolBase) -> list[Problem]:
    if not pool.parallel_pull or isinstance(pool, AutoPool):
        return []
    found = []
    if pool.disk_throughput_mib_s < FAST_PULL_MIB_S:
        found.append(
            problem(
                f"{path}.disk_throughput_mib_s",
                pool.disk_throughput_mib_s,
                f"below {FAST_PULL_MIB_S}, where the parallel pull is slower than the ordinary one",
                f"raise it to {FAST_PULL_MIB_S}, or set parallel_pull=False",
            )
        )
    field, version = _image_version(pool)
    if version is not None and not _pulls_fast(*version):
        found.append(
            problem(
                f"{path}.{field}",
                version[1],
                "too old for the parallel pull, which it would ignore silently",
                f"use an AL2023 AMI after {FAST_PULL_AL2023} or Bottlerocket 1.44 and later, or set "
                "parallel_pull=False",
            )
        )
    return found


def _image_version(pool: PoolBase) -> tuple[str, tuple[NodeImage, str] | None]:
    """Where the version is declared, and which it is; None where the newest is taken."""
    if isinstance(pool, KarpenterPool):
        family, _, version = pool.ami_alias.partition("@")
        return "ami_alias", (NodeImage(family), version.removeprefix("v"))
    if isinstance(pool, ManagedPool) and pool.release is not None:
        kubernetes, _, build = pool.release.partition("-")
        return "release", (pool.image, build if pool.image is NodeImage.AL2023 else kubernetes)
    return "", None


def _pulls_fast(image: NodeImage, version: str) -> bool:
    if image is NodeImage.AL2023:
        return version > FAST_PULL_AL2023
    return tuple(int(part) for part in version.split(".")[:2]) >= FAST_PULL_BOTTLEROCKET
