"""The endpoints of the team `search`, on the platform that another stack made."""

import pulumi

import pulumi_holdfast as holdfast

config = pulumi.Config()
platform = holdfast.Platform.from_stack(config.require("platformStack"), config.get_object("tokens") or ())

holdfast.Endpoint(
    "search-embeddings",
    {
        "platform": platform,
        "template": "embeddings",
        "scaling": {"min_replicas": 1, "max_replicas": 4},
        "labels": {"team": "search"},
    },
)

pulumi.export("endpoints", dict(platform.endpoints))
