"""What all of EC2 shares: tags, ARNs, descriptions."""

from __future__ import annotations

from typing import Any, Final

from holdfast_sandbox.plugins.aws.model import Call, Extract, Tags, Values

EC2_TAGS: Final = Tags(
    add="create_tags",
    remove="delete_tags",
    owner=("Resources", "@id"),
    keys_parameter="Tags",
    plural=True,
    remove_by_tags=True,
)
"""All of EC2 is tagged by the same two calls."""


def arn(kind: str) -> Extract:
    """An ARN, for resources whose descriptions have none."""
    return lambda _found, values: (
        f"arn:aws:ec2:{values.get('region') or values.session.region}:{values.session.account}:{kind}/{values.id}"
    )


def owner(_found: Any, values: Values) -> str:
    """The account that a resource belongs to."""
    return values.session.account


def described(method: str, parameter: str) -> Call:
    """A look at one resource by its id."""
    return Call(method, {parameter: lambda values: [values.id]})
