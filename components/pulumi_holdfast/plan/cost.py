"""What an endpoint costs at least and at most, from a dated table."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

from holdfast_contract.document import EndpointState
from pulumi_holdfast.spec.endpoint import EndpointSpec
from pulumi_holdfast.spec.hardware import HardwareSpec, HardwareTable, InstanceType

HOURS_PER_MONTH: Final = 730
"""365 × 24 / 12, as AWS's own calculator."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Dollars a month, machines only: no control plane, disks, traffic or load balancer."""

    floor_usd_month: float
    """With `min_replicas` all month."""
    ceiling_usd_month: float
    """With `max_replicas` all month."""
    instance_type: str
    usd_per_hour: float
    replicas_per_instance: int
    region: str
    prices_from: str
    note: str = ""

    def as_output(self) -> dict[str, Any]:
        """As a stack output."""
        return asdict(self)


def replicas_per_instance(hardware: HardwareSpec, machine: InstanceType) -> int:
    """How many replicas one machine takes; 0 where not even one fits."""
    fits = min(int(machine.vcpus / hardware.cpu), int(machine.memory_gib * 1024 / hardware.memory_mib))
    return min(fits, machine.gpus // hardware.gpus) if hardware.gpus else fits


def cost_of(spec: EndpointSpec, table: HardwareTable) -> Cost | None:
    """The cost of an endpoint on its preferred machine; None where the table has no price for any of them."""
    hardware = spec.hardware
    for name in hardware.instance_types:
        machine = table.instances.get(name)
        packed = replicas_per_instance(hardware, machine) if machine else 0
        if machine and packed:
            return _priced(spec, table, name, machine, packed)
    return None


def _priced(spec: EndpointSpec, table: HardwareTable, name: str, machine: InstanceType, packed: int) -> Cost:
    low = 0 if spec.state is EndpointState.PAUSED else spec.scaling.min_replicas
    high = 0 if spec.state is EndpointState.PAUSED else spec.scaling.max_replicas
    note = ""
    if packed > 1 and hardware_is_partial(spec, machine):
        note = f"one replica alone costs the whole {name} until {packed} share it"
    month = machine.usd_per_hour * HOURS_PER_MONTH
    return Cost(
        floor_usd_month=round(-(-low // packed) * month, 2),
        ceiling_usd_month=round(-(-high // packed) * month, 2),
        instance_type=name,
        usd_per_hour=machine.usd_per_hour,
        replicas_per_instance=packed,
        region=table.region,
        prices_from=table.generated,
        note=note,
    )


def hardware_is_partial(spec: EndpointSpec, machine: InstanceType) -> bool:
    """Whether a replica uses some of a machine's GPUs, not all."""
    return 0 < spec.hardware.gpus < machine.gpus
