"""The platform that endpoints go to: read from the shared stack, or from a SharedStack of the same program."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

import pulumi
from pydantic import ValidationError

from holdfast_contract.platform import PLATFORM_OUTPUT, PLATFORM_VERSION, PlatformContract


class PlatformError(ValueError, pulumi.RunError):
    """A platform that this version cannot use; says which, why and what to do."""


class _Shared(Protocol):
    platform: pulumi.Output[Mapping[str, Any]]


class Platform:
    """Where endpoints go. Made by `from_stack`, `of` or `from_contract`.

    `tokens` open every private endpoint that goes there by this object, beside the endpoint's own.
    """

    def __init__(self, contract: pulumi.Output[PlatformContract], tokens: Iterable[str] = ()) -> None:
        self.contract = contract
        self.tokens = tuple(tokens)
        self._endpoints: dict[str, pulumi.Output[Mapping[str, Any]]] = {}

    @property
    def endpoints(self) -> Mapping[str, pulumi.Output[Mapping[str, Any]]]:
        """A summary of each endpoint declared on this platform so far, for a stack's outputs."""
        return MappingProxyType(self._endpoints)

    def declare(self, name: str, summary: pulumi.Output[Mapping[str, Any]]) -> None:
        """Note an endpoint; the component does it."""
        self._endpoints[name] = summary

    @staticmethod
    def from_stack(stack: str, tokens: Iterable[str] = ()) -> "Platform":
        """The platform that another stack exports.

        `stack`: `organization/project/stack`, or the stack's name alone within the same project. Raises (when
        the output is read) KeyError where that stack exports no `platform`, and PlatformError where it exports
        one in a form that this version does not know.
        """
        name = stack if "/" in stack else f"{pulumi.get_organization()}/{pulumi.get_project()}/{stack}"
        output = pulumi.StackReference(name).require_output(PLATFORM_OUTPUT)
        return Platform(output.apply(lambda exported: read_contract(exported, f'stack "{stack}"')), tokens)

    @staticmethod
    def of(shared: _Shared, tokens: Iterable[str] = ()) -> "Platform":
        """The platform of a SharedStack in the same program."""
        output = shared.platform.apply(lambda exported: read_contract(exported, "the shared stack"))
        return Platform(output, tokens)

    @staticmethod
    def from_contract(contract: PlatformContract, tokens: Iterable[str] = ()) -> "Platform":
        """A platform that is known already: tests, and clusters that something else has set up."""
        return Platform(pulumi.Output.from_input(contract), tokens)


def read_contract(exported: Any, source: str) -> PlatformContract:
    """The contract in a stack output. Raises PlatformError naming the stack, what is wrong and the remedy."""
    remedy = "update the older of the two, then run `pulumi up` on the shared stack first"
    version = exported.get("version") if isinstance(exported, Mapping) else None
    if version != PLATFORM_VERSION:
        shown = f"{version:g}" if isinstance(version, float) else version  # outputs of stacks hold floats
        raise PlatformError(
            f"{source} exports a platform of version {shown}, and this library knows {PLATFORM_VERSION}: {remedy}"
        )
    try:
        return PlatformContract.model_validate(exported)
    except ValidationError as error:
        fields = ", ".join(".".join(str(part) for part in found["loc"]) for found in error.errors())
        raise PlatformError(
            f"{source} exports a platform whose {fields} this library does not understand: {remedy}"
        ) from None
