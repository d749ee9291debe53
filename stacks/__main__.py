"""The program: one project, two layers. The only place that reads Pulumi's configuration."""

import endpoints
import pulumi
import shared
from settings import Layer, read

import pulumi_holdfast as holdfast

settings = read(pulumi.Config(), pulumi.get_stack())

if settings.layer is Layer.SHARED:
    for name, value in shared.declare(settings.shared).items():
        pulumi.export(name, value)
else:
    platform = holdfast.Platform.from_stack(settings.shared_stack, tokens=settings.tokens)
    platform.look_ahead(settings.foresight)
    endpoints.declare(platform)
    pulumi.export("endpoints", dict(platform.endpoints))
