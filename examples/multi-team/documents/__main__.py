"""The endpoints of the team `documents`, on the platform that another stack made."""

import pulumi

import pulumi_holdfast as holdfast

config = pulumi.Config()
platform = holdfast.Platform.from_stack(config.require("platformStack"), config.get_object("tokens") or ())

# Both take the same care of a machine that costs as much as this one does.
LAYOUT = {
    "platform": platform,
    "hardware": "l40s",
    "registry_credentials": {"secret": "documents/ghcr"},
    "labels": {"team": "documents"},
}
holdfast.Endpoint("documents-layout", {**LAYOUT, "image": "ghcr.io/acme/layout:7"})
# The next version beside it, called by its own name until it has proven itself.
holdfast.Endpoint("documents-layout-next", {**LAYOUT, "image": "ghcr.io/acme/layout:8"})

pulumi.export("endpoints", dict(platform.endpoints))
