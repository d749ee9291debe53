"""What all endpoints share: the gateway, the queue, the scaler."""

from collections.abc import Mapping
from typing import Any, cast

import cloud
import pulumi
from settings import SharedSettings

import pulumi_holdfast as holdfast


def declare(settings: SharedSettings) -> Mapping[str, Any]:
    """The shared stack; returns what it exports: what endpoint stacks read, and the quickstart templates' endpoints."""
    sandbox = settings.kind is holdfast.PlatformKind.SANDBOX
    ground = cloud.declare(settings)
    args: holdfast.SharedStackArgs = {
        "kind": settings.kind,
        "services_image": settings.services_image,
        "broker_secret": settings.broker_secret,
        "namespace": settings.namespace,
        "system_namespace": settings.system_namespace,
        "gateway": {"replicas": 1 if sandbox else 2, "ingress": settings.ingress},
        "queue": {"servers": settings.queue_servers},
        "scaler": {"replicas": 1 if sandbox else 2},
        "instance_types": not sandbox,  # a sandbox's node says nothing of its machine
    }
    chosen = {
        "previous_broker_secret": settings.previous_broker_secret,
        "base_url": settings.base_url,
        "domain": settings.domain,
        "registry_credentials": settings.registry_secret and {"secret": settings.registry_secret},
        "bodies_bucket": settings.bodies_bucket,
        "template_registry": settings.template_registry,
        "template_registry_secret": settings.template_registry_secret,
        "observability": settings.observability,
    }
    # Types are lost here; SharedStack checks every field, and names all that is wrong at once.
    args |= cast(holdfast.SharedStackArgs, {key: value for key, value in chosen.items() if value is not None})
    if settings.queue_host_path is not None:
        args["queue"]["host_path"] = settings.queue_host_path
    opts = ground.opts if ground is not None else pulumi.ResourceOptions()
    if ground is not None:
        args |= ground.args()
        args["gateway"]["ingress"] = holdfast.Ingress.NODE_PORT
        args["gateway"]["node_port"] = ground.platform.spec.ingress.node_port
        if ground.platform.tls_secret is not None:
            args["gateway"]["tls_secret"] = ground.platform.tls_secret
        args["queue"]["storage_class"] = ground.addons.storage_class
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
