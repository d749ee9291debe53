"""What the children of a component take over from its options."""

from __future__ import annotations

import pulumi


def awaiting(opts: pulumi.ResourceOptions | None, own: pulumi.ResourceOptions) -> pulumi.ResourceOptions:
    """A child's `own` options, and waiting for what the component's, `opts`, depend on: Pulumi itself does not see
    to that. Nothing else in them is for children; providers reach these by their parent."""
    if opts is None or opts.depends_on is None:
        return own
    return pulumi.ResourceOptions.merge(own, pulumi.ResourceOptions(depends_on=opts.depends_on))
