"""The platform's ground on AWS: network, cluster, GPU nodes, the way in, and what the cluster needs first."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
from settings import SharedSettings

import pulumi_holdfast as holdfast


@dataclass(frozen=True)
class Cloud:
    """What the shared stack takes from it."""

    platform: holdfast.AwsPlatform
    addons: holdfast.AwsAddons
    provider: kubernetes.Provider
    """Of the cluster, once everything is in it that a shared stack needs."""

    @property
    def opts(self) -> pulumi.ResourceOptions:
        """For everything that goes into the cluster."""
        return pulumi.ResourceOptions(providers=[self.provider])

    def args(self) -> holdfast.SharedStackArgs:
        """What a SharedStack is told of it; laid over the rest."""
        spec = self.platform.spec
        told: dict[str, Any] = {
            "kind": holdfast.PlatformKind.AWS,
            "aws_region": spec.region,
            "domain": spec.ingress.domain,
            "base_url": self.platform.base_url,
            "bodies_bucket": self.platform.bodies_bucket,
            "load_balancer_idle_s": self.platform.load_balancer_idle_s,
            "gpu_node_selector": self.platform.gpu_node_selector,
        }
        # The keys are those of SharedStackArgs.
        return {key: value for key, value in told.items() if value is not None}  # type: ignore[return-value]

    def exports(self) -> dict[str, Any]:
        """What the stack shows of it."""
        return {
            "cluster": self.platform.cluster_name,
            "kubeconfig": self.platform.kubeconfig,
            "at_rest": self.platform.at_rest,
        }


def declare(settings: SharedSettings) -> Cloud | None:
    """Everything below the shared stack, as the configuration `holdfast:aws` says; None where there is none."""
    if settings.aws is None:
        return None
    identities = settings.aws.get("identities") or {}
    if isinstance(identities, Mapping):  # else AwsPlatform says what it should be
        # Pods get their roles in the shared stack's namespaces.
        own = {"namespace": settings.namespace, "system_namespace": settings.system_namespace}
        identities = {**own, **identities}
    platform = holdfast.AwsPlatform("holdfast", {**settings.aws, "identities": identities})  # type: ignore[typeddict-item]
    addons = holdfast.AwsAddons(
        "holdfast-addons",
        {"platform": platform},
        pulumi.ResourceOptions(providers=[_provider("cluster", platform, platform)]),
    )
    return Cloud(platform, addons, _provider("cluster-ready", platform, addons))


def _provider(name: str, platform: holdfast.AwsPlatform, after: pulumi.Resource) -> kubernetes.Provider:
    """The cluster, for what must come after something else: whatever is given the provider waits for it, without
    saying so itself. Pods that start before their identity never get it, and secret stores need their kind."""
    return kubernetes.Provider(
        name,
        kubeconfig=platform.kubeconfig,
        # Another token or path in the kubeconfig is still this cluster, and replaces nothing.
        cluster_identifier=platform.identifier,
        enable_config_map_mutable=True,
        enable_secret_mutable=True,
        opts=pulumi.ResourceOptions(depends_on=[after]),
    )
