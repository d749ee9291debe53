"""A planned AWS resource: plain data, in Pulumi's own names, with holes for what other resources give."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pulumi_holdfast.plan.wiring import HOLE, hole
from pulumi_holdfast.spec.aws import AwsSpec

Json = dict[str, Any]
OWNER: Final = "holdfast"


@dataclass(frozen=True, slots=True)
class Planned:
    """One resource to be. Strings may hold holes such as `⟦vpc.id⟧`: the output `id` of the child `vpc`."""

    child: str
    """Its name among the component's children; the resource is called `<component>-<child>`."""
    type: str
    """Pulumi's type token, such as `aws:ec2/vpc:Vpc`."""
    props: Json
    """Inputs, by the names of Pulumi's schema."""
    after: tuple[str, ...] = ()
    """Children that must exist first though no hole names them."""
    ignore: tuple[str, ...] = ()
    """Inputs that something else owns after creation."""

    @property
    def needs(self) -> frozenset[str]:
        """Every child that must exist first."""
        named = {name.partition(".")[0] for name in HOLE.findall(json.dumps(self.props, ensure_ascii=False))}
        return frozenset({*named, *self.after})


def out(child: str, path: str = "id") -> str:
    """The output of another child; `path` may go into lists and mappings: `resources.0.name`."""
    return hole(f"{child}.{path}")


def tags(spec: AwsSpec, child: str, more: Mapping[str, str] | None = None) -> Json:
    """The tags of one resource: what it is called, whose it is, and what the user added."""
    return {
        "Name": f"{spec.name}-{child}",
        "holdfast.dev/platform": spec.name,
        **dict(spec.tags),
        **(more or {}),
    }


def document(statements: list[Json]) -> str:
    """An IAM policy document, always written in the same order."""
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, ensure_ascii=False, sort_keys=True)
