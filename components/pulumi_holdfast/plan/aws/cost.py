"""What a platform on AWS costs while nobody calls it: dollars a month, from dated prices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from pulumi_holdfast.plan.aws.network import nat_zones
from pulumi_holdfast.plan.cost import HOURS_PER_MONTH
from pulumi_holdfast.spec.aws import AwsSpec, IngressKind
from pulumi_holdfast.spec.aws_pools import AutoPool, CapacityKind
from pulumi_holdfast.spec.hardware import HardwareTable

PRICES_FROM: Final = "2026-07-20"
USD_PER_HOUR: Final[Mapping[str, float]] = {
    # us-east-1, AWS's price pages; the control plane as in the price table of machines.
    "control plane": 0.10,
    "nat gateway": 0.045,
    "interface endpoint": 0.01,
    "load balancer": 0.0225,
    "public address": 0.005,
}
USD_PER_MONTH: Final[Mapping[str, float]] = {"kms key": 1.0, "hosted zone": 0.5, "gp3 GiB": 0.08}
AUTO_MODE_SHARE: Final = 0.12
"""What Auto Mode adds to the price of a machine that it runs."""


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that is paid for all the time."""

    what: str
    count: int
    usd_month: float
    """For all of them."""
    note: str = ""

    def as_output(self) -> dict[str, Any]:
        """As a stack output."""
        return asdict(self)


def at_rest(spec: AwsSpec, table: HardwareTable) -> tuple[Line, ...]:
    """Everything that is paid for without a request: no traffic, no logs, no replicas.

    Prices are us-east-1's on demand, whatever the region. A machine that the table does not know counts 0 and says
    so.
    """
    lines: list[Line] = []
    if spec.cluster.existing is None:
        lines.append(_hourly("control plane", 1))
        if spec.cluster.kms_key_arn is None:
            lines.append(Line("KMS key", 1, USD_PER_MONTH["kms key"]))
        system = spec.cluster.system
        lines.append(_machines("system node", system.instance_types[0], system.min_nodes, table))
    lines += _network(spec)
    if spec.ingress.kind is not IngressKind.NONE:
        lines.append(_hourly("load balancer", 1, "and what it carries"))
    for name, pool in spec.pools.items():
        if pool.warm_spare:
            share = 1 + (AUTO_MODE_SHARE if isinstance(pool, AutoPool) else 0)
            lines.append(
                _machines(
                    f"warm spare of {name}",
                    pool.instance_types[0],
                    pool.warm_spare,
                    table,
                    share,
                    pool.capacity.kind,
                )
            )
    return tuple(line for line in lines if line.count)


def _network(spec: AwsSpec) -> list[Line]:
    if spec.network.existing is not None:
        return []
    nats = len(nat_zones(spec))
    interfaces = len(spec.network.endpoints) * len(spec.network.zones)
    faces = spec.ingress.kind is not IngressKind.NONE and not spec.ingress.internal
    addresses = nats + (len(spec.network.zones) if faces else 0)
    return [
        _hourly("nat gateway", nats, "and 0.045 $ per GB"),
        _hourly("interface endpoint", interfaces, "and 0.01 $ per GB"),
        _hourly("public address", addresses),
    ]


def _hourly(what: str, count: int, note: str = "") -> Line:
    return Line(what, count, round(USD_PER_HOUR[what] * HOURS_PER_MONTH * count, 2), note)


def _machines(
    what: str,
    instance_type: str,
    count: int,
    table: HardwareTable,
    share: float = 1,
    capacity: CapacityKind = CapacityKind.ON_DEMAND,
) -> Line:
    machine = table.instances.get(instance_type)
    if machine is None:
        return Line(what, count, 0.0, f"{instance_type} is not in the price table")
    note = (
        f"{instance_type}, on demand"
        if capacity is not CapacityKind.SPOT
        else f"{instance_type}; spot is less"
    )
    return Line(what, count, round(machine.usd_per_hour * share * HOURS_PER_MONTH * count, 2), note)
