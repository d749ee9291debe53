"""What is declared of one endpoint's scaling, from a preview, a stack's export or the gateway, and what is proposed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from holdfast_cli.errors import CommandError
from holdfast_cli.exits import Exit
from holdfast_cli.previewplan import ENDPOINT, kind, name_of

if TYPE_CHECKING:
    from holdfast_client import EndpointInfo
    from pulumi_holdfast.plan.replay import Startup
    from pulumi_holdfast.spec.endpoint import EndpointSpec
    from pulumi_holdfast.spec.scaling import ScalingSpec


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a replay needs to know of an endpoint."""

    scaling: ScalingSpec
    gpus: int | None
    """Of each replica; None: not told."""
    startup: Startup
    """How long a new replica takes, as previews estimate it."""
    usd_per_replica_hour: float | None
    """Its share of a full machine; None: the price table knows none of its machines."""


def from_gateway(found: EndpointInfo) -> Declaration:
    """What runs, as the gateway describes it; it does not say how many GPUs a replica has."""
    from pulumi_holdfast.plan.replay import Startup

    low = {phase.phase: phase.low_s for phase in found.cold_start_phases}
    startup = Startup.estimated(
        node_s=low.get("node"), pull_s=low.get("pull"), load_s=low.get("load and ready")
    )
    scaling = scaling_of(found.name, _mapping(found.raw.get("scaling")), {}, "the gateway's answer")
    cost = _mapping(found.raw.get("cost"))
    return Declaration(scaling, None, startup, _number(cost.get("usd_per_replica_hour")))


def from_document(text: str, endpoint: str, source: str) -> tuple[Declaration, Declaration]:
    """What is deployed and what the program declares now, from the JSON of a preview or of a stack's export.

    Both are the same where only one is there. `source` names the text in errors. Raises CommandError.
    """
    states = dict(_states(_json(text, source)))
    if endpoint not in states:
        from pulumi_holdfast.spec.problems import nearest

        remedy = nearest(endpoint, states) if states else "give the stack that declares it"
        raise CommandError(f'{source} has no endpoint "{endpoint}"', remedy, Exit.NOT_FOUND)
    told = [declared for state in states[endpoint] if (declared := _declared(state))]
    if not told:
        raise CommandError(
            f'{source} does not say what endpoint "{endpoint}" declares',
            "give a preview by this version of holdfast, made with `pulumi preview --json`",
            Exit.USAGE,
        )
    return _declaration(told[0], endpoint, source), _declaration(told[-1], endpoint, source)


def scaling_of(
    endpoint: str, declared: Mapping[str, Any], proposed: Mapping[str, int], source: str
) -> ScalingSpec:
    """The declared settings with the proposed ones in their place, held to every rule of a declaration.

    Raises CommandError with every problem. `source` says where the settings come from.
    """
    return _spec(endpoint, {"scaling": {**declared, **proposed}}, source).scaling


def _spec(endpoint: str, args: Mapping[str, Any], source: str) -> EndpointSpec:
    """An endpoint of which only `args` count. Raises CommandError with every problem."""
    from pulumi_holdfast.spec.parse import parse_endpoint
    from pulumi_holdfast.spec.problems import SpecError
    from pulumi_holdfast.spec.template import catalogue

    try:
        return parse_endpoint(endpoint, {"image": "replay:1", **args}, catalogue())
    except SpecError as error:
        told = "; ".join(f"{one.path} is {one.value}, {one.rule}" for one in error.problems)
        remedy = "; ".join(one.remedy for one in error.problems)
        raise CommandError(f"{source}: {told}", remedy, Exit.USAGE) from error


def _json(text: str, source: str) -> Mapping[str, Any]:
    """The first JSON object in a text: the engine prints lines around it."""
    try:
        found, _ = json.JSONDecoder().raw_decode(text[max(text.find("{"), 0) :])
    except json.JSONDecodeError as error:
        raise CommandError(
            f"{source} is not JSON (line {error.lineno})",
            "give what `pulumi preview --json` or `pulumi stack export` printed",
            Exit.USAGE,
        ) from error
    return _mapping(found)


def _states(document: Mapping[str, Any]) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Each endpoint with its state before and after: of a preview's steps, or of an export's resources."""
    for step in _mappings(document.get("steps")):
        if kind(str(step.get("urn") or "")) == ENDPOINT:
            yield name_of(str(step["urn"])), (step.get("oldState"), step.get("newState"))
    for resource in _mappings(_mapping(document.get("deployment")).get("resources")):
        if resource.get("type") == ENDPOINT:
            yield name_of(str(resource["urn"])), (resource, None)


def _declared(state: Any) -> Mapping[str, Any]:
    return _mapping(_mapping(_mapping(state).get("inputs")).get("declared"))


def _declaration(declared: Mapping[str, Any], endpoint: str, source: str) -> Declaration:
    from pulumi_holdfast.plan.coldstart import estimate

    cost, gpus = _mapping(declared.get("cost")), _number(_mapping(declared.get("hardware")).get("gpus"))
    hour, packed = _number(cost.get("usd_per_hour")), _number(cost.get("replicas_per_instance"))
    args = {name: _mapping(declared.get(name)) for name in ("scaling", "sizes")}
    spec = _spec(endpoint, {**args, "hardware": {"gpus": gpus or 0}}, source)
    return Declaration(
        spec.scaling,
        None if gpus is None else int(gpus),
        estimate(spec).as_startup(),
        hour / packed if hour is not None and packed else None,
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    yield from (one for one in value or () if isinstance(one, Mapping))


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
