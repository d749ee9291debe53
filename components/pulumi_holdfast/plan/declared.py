"""What an endpoint declares, as plain data on the component itself.

It is what a reader of a diff wants to see of an endpoint in one place: every setting with its default filled in, and
the cost that follows. Pulumi shows a change of it as a change of the endpoint, against what is deployed; policies and
the pull-request comment read nothing else. Settings that may hold something private (`env`, arguments, tokens,
example bodies, secrets beyond their names) are not in it.
"""

from __future__ import annotations

from typing import Any

from pulumi_holdfast.plan.cost import cost_of
from pulumi_holdfast.spec.endpoint import WIRED_IMAGE, EndpointSpec
from pulumi_holdfast.spec.hardware import HardwareTable


def declared(spec: EndpointSpec, table: HardwareTable) -> dict[str, Any]:
    """The declaration as plain data; `image` and `registry` are None where another resource gives the image."""
    wired = spec.image == WIRED_IMAGE
    cost = cost_of(spec, table)
    hardware = spec.hardware
    return {
        "image": None if wired else spec.image,
        "registry": None if wired else spec.registry,
        "template": f"{spec.template_ref.name} {spec.template_ref.version}" if spec.template_ref else None,
        "visibility": spec.visibility.value,
        "state": spec.state.value,
        "rollout": spec.rollout.value,
        "hardware": {
            "preset": hardware.preset,
            "gpus": hardware.gpus,
            "cpu": hardware.cpu,
            "memory_mib": hardware.memory_mib,
            "instance_types": list(hardware.instance_types),
            "spot": hardware.spot,
        },
        "scaling": spec.scaling.model_dump(mode="json"),
        "sizes": spec.sizes.model_dump(exclude_none=True),
        "registry_credentials": spec.registry_credentials.secret if spec.registry_credentials else None,
        "cost": cost.as_output() if cost else None,
    }
