"""An AWS plan made real: one resource for each planned one, in order, without decisions of its own."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import pulumi

from pulumi_holdfast.awaiting import awaiting
from pulumi_holdfast.fill import fill
from pulumi_holdfast.plan.aws.resource import Planned

_CAPITAL: Final = re.compile(r"(?<=[a-z0-9])([A-Z])")


def snake(name: str) -> str:
    """A property as Pulumi's Python SDK calls it: `vpcId` is `vpc_id`."""
    return _CAPITAL.sub(lambda match: f"_{match[1].lower()}", name)


class AwsCreation(Mapping[str, Any]):
    """Creates planned resources as children of one component.

    As a mapping it gives outputs by the names of holes: `vpc.id`, `nodes.resources.0.autoscalingGroups.0.name`.
    """

    def __init__(
        self, name: str, parent: pulumi.Resource, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        """`opts`: the component's own; children wait for what it depends on."""
        self.children: dict[str, pulumi.CustomResource] = {}
        self._name = name
        self._parent = parent
        self._opts = opts

    def create(self, plan: Iterable[Planned]) -> None:
        """Create every resource of a plan. Raises KeyError where one names a child that does not exist yet."""
        for planned in plan:
            self.children[planned.child] = self._one(planned)

    def __getitem__(self, name: str) -> Any:
        child, _, path = name.partition(".")
        first, *rest = path.split(".")
        value = getattr(self.children[child], snake(first))
        if first == "latestVersion":
            return value.apply(str)  # node groups take a launch template's version as text
        return value.apply(lambda found: _within(found, rest)) if rest else value

    def __iter__(self) -> Iterator[str]:
        return iter(self.children)

    def __len__(self) -> int:
        return len(self.children)

    def _one(self, planned: Planned) -> pulumi.CustomResource:
        own = pulumi.ResourceOptions(
            parent=self._parent,
            depends_on=[self.children[child] for child in planned.after],
            ignore_changes=list(planned.ignore),
        )
        made: pulumi.CustomResource = _class(planned.type)(
            f"{self._name}-{planned.child}",
            opts=awaiting(self._opts, own),
            **{snake(key): fill(value, self) for key, value in planned.props.items()},
        )
        return made


def _within(found: Any, path: list[str]) -> Any:
    for part in path:
        if isinstance(found, list | tuple):
            found = found[int(part)]
        elif isinstance(found, Mapping):
            found = found[part] if part in found else found[snake(part)]
        else:
            found = getattr(found, snake(part))
    return found


def _class(token: str) -> Any:
    """`aws:ec2/vpc:Vpc` is `pulumi_aws.ec2.Vpc`; imported when first used, for each module takes its time."""
    _, module, name = token.split(":")
    return getattr(importlib.import_module(f"pulumi_aws.{module.partition('/')[0]}"), name)
