"""The platform that endpoints go to: read from the shared stack, or from a SharedStack of the same program."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

import pulumi
from pydantic import ValidationError

from holdfast_contract.platform import (
    PLATFORM_KEY_OUTPUT,
    PLATFORM_OUTPUT,
    PLATFORM_VERSION,
    PlatformContract,
)
from pulumi_holdfast.foresight import Foresight, Looker
from pulumi_holdfast.plan import identities


class PlatformError(ValueError, pulumi.RunError):
    """A platform that this version cannot use; says which, why and what to do."""


class _Shared(Protocol):
    platform: pulumi.Output[Mapping[str, Any]]
    platform_key: pulumi.Output[str]


class Platform:
    """Where endpoints go. Made by `from_stack`, `of` or `from_contract`.

    `tokens` open every private endpoint that goes there by this object, beside the endpoint's own.
    """

    def __init__(
        self,
        contract: pulumi.Output[PlatformContract],
        tokens: Iterable[str] = (),
        *,
        key: pulumi.Input[str],
    ) -> None:
        """`key`: the shared stack's secret output `platform_key`, which signs the workers' credentials."""
        self.contract = contract
        self.key = pulumi.Output.secret(key)
        self.tokens = tuple(tokens)
        self.looker = Looker(Foresight())
        """Looks ahead in previews; `look_ahead` sets into what."""
        self._endpoints: dict[str, pulumi.Output[Mapping[str, Any]]] = {}

    def look_ahead(self, settings: Foresight) -> None:
        """What previews look into, for the endpoints that are declared from here on."""
        self.looker = Looker(settings)

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
        one in a form that this version does not know, or no `platform_key` beside it.
        """
        name = stack if "/" in stack else f"{pulumi.get_organization()}/{pulumi.get_project()}/{stack}"
        reference = pulumi.StackReference(name)
        output = reference.require_output(PLATFORM_OUTPUT)
        key = reference.get_output(PLATFORM_KEY_OUTPUT).apply(
            lambda found: read_key(found, f'stack "{stack}"')
        )
        contract = output.apply(lambda exported: read_contract(exported, f'stack "{stack}"'))
        return Platform(contract, tokens, key=key)

    @staticmethod
    def of(shared: _Shared, tokens: Iterable[str] = ()) -> "Platform":
        """The platform of a SharedStack in the same program."""
        output = shared.platform.apply(lambda exported: read_contract(exported, "the shared stack"))
        return Platform(output, tokens, key=shared.platform_key)

    @staticmethod
    def from_contract(
        contract: PlatformContract, tokens: Iterable[str] = (), *, key: pulumi.Input[str]
    ) -> "Platform":
        """A platform that is known already: tests, and clusters that something else has set up."""
        return Platform(pulumi.Output.from_input(contract), tokens, key=key)


def with_room(contract: PlatformContract, declared: int) -> PlatformContract:
    """The contract itself. Raises PlatformError where the brokers have no room for as many endpoints as this
    program declares; those of other programs are not known here."""
    most = contract.max_endpoints
    if most is None or declared <= most:
        return contract
    raise PlatformError(
        f"this program declares {declared} endpoints, above the {most} that the platform's brokers have room for: "
        "raise queue.max_ha_assets of the shared stack (two for each endpoint), or take a second platform"
    )


def read_key(exported: Any, source: str) -> str:
    """The key in a stack output. Raises PlatformError, which does not repeat it."""
    try:
        identities.read_seed(str(exported or ""))
    except ValueError:
        raise PlatformError(
            f"{source} exports no platform_key, or one that is none: export the shared stack's platform_key beside "
            "its platform, and run `pulumi up` there first"
        ) from None
    return str(exported)


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
