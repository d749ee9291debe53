"""One stack: a platform in the cluster that `kubectl` talks to, and one endpoint on it."""

import pulumi

import pulumi_holdfast as holdfast

config = pulumi.Config()

shared = holdfast.SharedStack(
    "holdfast",
    {
        "services_image": config.require("servicesImage"),
        "base_url": config.require("baseUrl"),
        "broker_secret": config.require_secret("brokerSecret"),
    },
)
platform = holdfast.Platform.of(shared)
holdfast.Endpoint(
    "chat",
    {
        "platform": platform,
        "image": "ghcr.io/acme/chat:1",
        "hardware": "a10g",
        "scaling": {"max_replicas": 2, "timeout_s": 300},
        "registry_credentials": {"secret": "acme/ghcr"},
    },
    pulumi.ResourceOptions(depends_on=[shared]),
)

pulumi.export("endpoints", dict(platform.endpoints))
