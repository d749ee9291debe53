"""What a replica runs on, and the dated table of presets and prices."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from pulumi_holdfast.spec.model import Flag, Number, Spec, Whole
from pulumi_holdfast.spec.problems import nearest, refused


class InstanceType(Spec):
    """A machine that can be rented."""

    usd_per_hour: float
    """On demand, in the table's region."""
    vcpus: int
    memory_gib: int
    gpus: int
    gpu: str | None = None


class Preset(Spec):
    """A named choice of hardware for one replica."""

    gpus: int
    cpu: float
    memory_mib: int
    instance_types: tuple[str, ...]


class HardwareTable(Spec):
    """The price table: data with its date, region and source."""

    generated: str
    region: str
    system: str
    source: str
    cpu_note: str = ""
    instances: Mapping[str, InstanceType]
    presets: Mapping[str, Preset]


@functools.cache
def hardware_table() -> HardwareTable:
    """The table that ships with this version."""
    text = resources.files("pulumi_holdfast.spec").joinpath("hardware.json").read_text(encoding="utf-8")
    table = HardwareTable.model_validate(json.loads(text))
    return table.model_copy(
        update={
            "instances": MappingProxyType(dict(table.instances)),
            "presets": MappingProxyType(dict(table.presets)),
        }
    )


def _known_preset(name: str) -> str:
    presets = hardware_table().presets
    if name not in presets:
        raise refused("not a preset", nearest(name, presets))
    return name


class HardwareSpec(Spec):
    """What one replica gets: a preset by name, or its parts; parts beside a preset override it."""

    preset: Annotated[str, AfterValidator(_known_preset)] | None = None
    """A row of the table: GPU, memory, machines in order of preference. `"a10g"` alone is short for
    `{"preset": "a10g"}`."""
    gpus: Whole = Field(default=0, ge=0, le=16)
    """Whole GPUs for one replica. 0, the default: it runs on CPU."""
    cpu: Number = Field(default=1.0, ge=0.05, le=192)
    """vCPUs reserved for one replica; it may use more when the machine is idle."""
    memory_mib: Whole = Field(default=2048, ge=64, le=4 * 1024 * 1024)
    """Main memory reserved for one replica, and its limit: beyond it the container is killed."""
    shm_mib: Whole = Field(default=0, ge=0, le=1024 * 1024)
    """Size of /dev/shm, counted within `memory_mib`. 0, the default: what the container runtime gives
    (64 MiB). Tensor-parallel servers and PyTorch's data loaders need some GiB."""
    instance_types: tuple[str, ...] = ()
    """Machines in order of preference; offering several avoids "no capacity" for one. Empty: any
    that fits."""
    spot: Flag = False
    """Whether interruptible machines may be used. False by default: a reclaimed machine redoes its
    requests."""

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, data: Any) -> Any:
        """The preset's values, under whatever is declared beside it."""
        name = data.get("preset") if isinstance(data, Mapping) else None
        preset = hardware_table().presets.get(name) if isinstance(name, str) else None
        return {**preset.model_dump(), **data} if preset else data
