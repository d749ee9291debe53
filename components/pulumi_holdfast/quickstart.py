"""Quickstart templates as endpoints of the shared stack."""

from collections.abc import Sequence
from typing import Any

import pulumi

from pulumi_holdfast.endpoint import Endpoint, EndpointArgs
from pulumi_holdfast.errors import explained
from pulumi_holdfast.platform import Platform
from pulumi_holdfast.spec.quickstart import parse_quickstart
from pulumi_holdfast.spec.template import catalogue


def offer_quickstarts(
    platform: Platform,
    templates: Sequence[Any],
    registry_secret: str | None = None,
    opts: pulumi.ResourceOptions | None = None,
) -> tuple[Endpoint, ...]:
    """An endpoint for each template: shared, always warm, rate limited to 15 requests an hour unless told otherwise.

    `templates`: names, or mappings of `pulumi_holdfast.spec.quickstart.QuickstartSpec`'s fields.
    `registry_secret`: Secrets Manager secret with which images of the platform's template registry are pulled; the
    platform's own by default.
    `opts`: of every endpoint; their children, too, wait for what it depends on.
    Raises DeclarationError with every problem.
    """
    with explained():
        offered = parse_quickstart(templates, catalogue())
    made = []
    for spec, template in offered:
        args: EndpointArgs = {"platform": platform, **spec.endpoint_args(template)}  # type: ignore[typeddict-item]
        if registry_secret is not None and "@sha256:" not in template.image:
            args["registry_credentials"] = {"secret": registry_secret}
        made.append(Endpoint(spec.template, args, opts))
    return tuple(made)
