"""What all endpoints share: the gateway, the queue, the scaler."""

from collections.abc import Mapping
from typing import Any

import cloud
import pulumi
from settings import SharedSettings

import pulumi_holdfast as holdfast


def declare(settings: SharedSettings) -> Mapping[str, Any]:
    """The shared stack; returns what it exports: the platform contract that the endpoint stacks read, and the
    quickstart templates' endpoints."""
    sandbox = settings.kind is holdfast.PlatformKind.SANDBOX
    ground = cloud.declare(settings.aws) if settings.aws is not None else None
    args: holdfast.SharedStackArgs = {
        "kind": settings.kind,
        "services_image": settings.services_image,
        "broker_secret": settings.broker_secret,
        "namespace": settings.namespace,
        "system_namespace": settings.system_namespace,
        "gateway": {"replicas": 1 if sandbox else 2, "ingress": settings.ingress},
        "queue": {"servers": settings.queue_servers},
        "scaler": {"replicas": 1 if sandbox else 2},
        # A sandbox's node says nothing of its machine.
        "instance_types": not sandbox,
    }
    if settings.previous_broker_secret is not None:
        args["previous_broker_secret"] = settings.previous_broker_secret
    if settings.base_url is not None:
        args["base_url"] = settings.base_url
    if settings.queue_host_path is not None:
        args["queue"]["host_path"] = settings.queue_host_path
    if settings.domain is not None:
        args["domain"] = settings.domain
    if settings.registry_secret is not None:
        args["registry_credentials"] = {"secret": settings.registry_secret}
    if settings.bodies_bucket is not None:
        args["bodies_bucket"] = settings.bodies_bucket
    if settings.template_registry is not None:
        args["template_registry"] = settings.template_registry
    if settings.template_registry_secret is not None:
        args["template_registry_secret"] = settings.template_registry_secret
    if settings.observability is not None:
        # Its keys are those of ObservabilityArgs, which SharedStack checks.
        args["observability"] = settings.observability  # type: ignore[typeddict-item]
    opts = pulumi.ResourceOptions()
    if ground is not None:
        args |= ground.args()
        args["gateway"]["ingress"] = holdfast.Ingress.NODE_PORT
        args["gateway"]["node_port"] = ground.platform.spec.ingress.node_port
        if ground.platform.tls_secret is not None:
            args["gateway"]["tls_secret"] = ground.platform.tls_secret
        args["queue"]["storage_class"] = ground.addons.storage_class
        opts = ground.opts
    made = holdfast.SharedStack("holdfast", args, opts)
    platform = holdfast.Platform.of(made, tokens=settings.tokens)
    after = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[made]))
    holdfast.offer_quickstarts(platform, settings.quickstart, opts=after)
    return {
        "platform": made.platform,
        "platform_key": made.platform_key,
        "endpoints": dict(platform.endpoints),
        **(ground.exports() if ground is not None else {}),
    }
