"""The platform team's stack: what all teams share, and the outputs that their stacks read."""

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

pulumi.export("platform", shared.platform)
pulumi.export("platform_key", shared.platform_key)
