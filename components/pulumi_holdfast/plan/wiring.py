"""What a plan needs from elsewhere: the platform, and other resources' outputs.

The shape of a plan (which objects exist) follows from the spec alone. What is only known when other resources
exist is *wiring*: plain values in tests and tools, holes in a Pulumi program. A hole is a marker inside a string;
creation replaces it by the output, so that a preview shows everything around it.
"""

from __future__ import annotations

import re
from typing import Any, Final

from holdfast_contract.platform import PlatformContract
from pulumi_holdfast.spec.endpoint import EndpointSpec, registry_of
from pulumi_holdfast.spec.secrets import TEMPLATES_PULL_SECRET, pull_secret_name

HOLE: Final = re.compile(r"⟦([A-Za-z0-9_.-]+)⟧")


def hole(name: str) -> str:
    """A marker for the output called `name`."""
    return f"⟦{name}⟧"


DOCKER_HUB: Final = "https://index.docker.io/v1/"
"""The key under which docker configurations keep Docker Hub's credentials."""
WIRES: Final = (
    "image",
    "registry",
    "namespace",
    "system_namespace",
    "worker_image",
    "nats_url",
    "bodies_url",
    "scaler_address",
    "secret_store",
    "node_selector",
    "affinity",
    "pull_secrets",
    "otlp_endpoint",
)
"""Every hole of an endpoint's plan that the platform fills; `config_secret` and `value.<NAME>` are
filled by the program's own secret values, `env.<NAME>` by settings that are outputs."""


def resolve(spec: EndpointSpec, platform: PlatformContract, image: str | None = None) -> dict[str, Any]:
    """The value of each wire that follows from the platform. `image`: an output's value instead of the spec's."""
    pull = [{"name": platform.pull_secret}] if platform.pull_secret else []
    if spec.registry_credentials:
        pull.append({"name": pull_secret_name(spec.name)})
    elif template_secret(platform, spec, image):
        pull.append({"name": TEMPLATES_PULL_SECRET})
    reference = image_on(platform, spec, image)
    return {
        "image": reference,
        "registry": docker_key(registry_of(reference)),
        "namespace": platform.namespace,
        "system_namespace": platform.system_namespace,
        "worker_image": platform.worker_image,
        "nats_url": platform.nats_url,
        "bodies_url": platform.bodies_url or "",
        "scaler_address": platform.scaler_address,
        "secret_store": platform.secret_store,
        "node_selector": node_selector(spec, platform),
        "affinity": affinity(spec, platform),
        "pull_secrets": pull,
        "otlp_endpoint": platform.otlp_endpoint or "",
    }


def docker_key(registry: str) -> str:
    """Under which key docker configurations keep a registry's credentials."""
    return DOCKER_HUB if registry == "docker.io" else registry


def image_on(platform: PlatformContract, spec: EndpointSpec, image: str | None = None) -> str:
    """The image reference: a template's is found below the platform's template registry."""
    wanted = image or spec.image or ""
    if platform.template_registry is None or not _unpublished(spec, wanted):
        return wanted
    return f"{platform.template_registry.rstrip('/')}/{wanted}"


def template_secret(platform: PlatformContract, spec: EndpointSpec, image: str | None = None) -> str | None:
    """The Secrets Manager secret of the platform's template registry, where the image is there; else None. What an
    endpoint declares itself goes before it."""
    there = platform.template_registry is not None and _unpublished(spec, image or spec.image or "")
    return platform.template_registry_secret if there else None


def _unpublished(spec: EndpointSpec, image: str) -> bool:
    """Whether an image is a template's that each platform has for itself; published ones are pinned by digest."""
    return spec.template_ref is not None and "@sha256:" not in image


def node_selector(spec: EndpointSpec, platform: PlatformContract) -> dict[str, str]:
    """Labels of the nodes that replicas may run on."""
    return dict(platform.gpu_node_selector) if spec.hardware.gpus else {}


def affinity(spec: EndpointSpec, platform: PlatformContract) -> dict[str, Any]:
    """The machines that replicas may run on, where nodes say which machine they are."""
    types = spec.hardware.instance_types
    if not types or not platform.instance_types:
        return {}
    terms: list[dict[str, Any]] = [
        {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": list(types)}
    ]
    preferred = [
        {
            "weight": max(1, 100 - 10 * index),
            "preference": {
                "matchExpressions": [
                    {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": [name]}
                ]
            },
        }
        for index, name in enumerate(types)
    ]
    return {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": terms}]
            },
            "preferredDuringSchedulingIgnoredDuringExecution": preferred,
        }
    }
