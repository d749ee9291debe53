"""The ground under all specs: frozen, no unknown fields, whole numbers that may arrive as 3.0."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Strict

from pulumi_holdfast.spec.problems import refused


class Spec(BaseModel):
    """Immutable; unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _whole(value: Any) -> Any:
    """Numbers that came through another language's Pulumi SDK arrive as floats: 3.0 is 3."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int, Strict(), BeforeValidator(_whole)]
"""A whole number. `"3"` and `true` are refused: they are more often a mistake than a number."""
Number = Annotated[float, Strict()]
"""Whole or not; `"9"` and `true` are refused: they are more often a mistake than a number."""
Flag = Annotated[bool, Strict()]


def _absolute(path: str) -> str:
    if not path.startswith("/"):
        raise refused("not an absolute path", "start it with /")
    if path != "/" and (path.endswith("/") or "//" in path or "/../" in f"{path}/"):
        raise refused("not a plain path", "write it without trailing, doubled or relative parts")
    if ":" in path:
        raise refused("a path with a colon, which Kubernetes mounts nothing at", "name it without")
    return path


AbsolutePath = Annotated[str, AfterValidator(_absolute)]
"""A path inside the container, from its root."""


def _route(path: str) -> str:
    if not path.startswith("/"):
        raise refused("not a route", "start it with /")
    if any(character.isspace() for character in path):
        raise refused("not a route", "write it without spaces")
    return path


Route = Annotated[str, AfterValidator(_route)]
"""A path of the container's HTTP server."""
