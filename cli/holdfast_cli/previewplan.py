"""What `pulumi preview --json` says, reduced to what may be shown: operations, types, names, endpoints' figures.

No other property of any resource is read, so none can be shown. Pure: text in, frozen data out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

ENDPOINT: Final = "holdfast:index:Endpoint"
UNCHANGED: Final = frozenset({"same", "read", "refresh", "discard", "discard-replaced", "read-discard"})
REPLACING: Final = frozenset({"replace", "create-replacement", "delete-replaced", "import-replacement"})
OTHERS: Final = ""
"""The group of resources that belong to no endpoint."""
_TOLD: Final = re.compile(
    r'^(?:(?:warning|error): )?endpoint "([a-z][-a-z0-9]{0,39})": (not checked|refused|warning): (.{1,400})$'
)
"""Our own components' words about an endpoint. Other diagnostics are engine output and stay out."""


class PlanError(ValueError):
    """The text is not what `pulumi preview --json` prints. Says what it is instead, and what to do."""


@dataclass(frozen=True, slots=True)
class Step:
    """What happens to one resource."""

    name: str
    type: str
    op: str
    """`create`, `update`, `delete`, `replace`; whatever else the engine says stays as it is, and is a change."""

    @property
    def replaces(self) -> bool:
        """Whether the resource is deleted and made anew."""
        return self.op == "replace"


@dataclass(frozen=True, slots=True)
class Scale:
    """What one endpoint declares, before or after: figures alone."""

    min_replicas: int
    max_replicas: int
    floor_usd_month: float | None
    """None: the price table has no machine for it."""
    ceiling_usd_month: float | None
    prices_from: str = ""
    region: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """One endpoint, or the rest of the stack (`OTHERS`)."""

    name: str
    op: str
    """What happens to the endpoint itself; `same` where only its parts change."""
    steps: tuple[Step, ...] = ()
    """Changed parts."""
    before: Scale | None = None
    after: Scale | None = None

    @property
    def changed(self) -> bool:
        """Whether anything of it changes."""
        return self.op != "same" or bool(self.steps)

    @property
    def replaced(self) -> tuple[Step, ...]:
        """The parts that are deleted and made anew."""
        return tuple(step for step in self.steps if step.replaces)

    def delta(self, what: str) -> float | None:
        """After minus before of `floor_usd_month` or `ceiling_usd_month`; what is not there costs 0. None: "
        "no price."""
        values = [getattr(side, what) if side else 0.0 for side in (self.after, self.before)]
        return None if None in values else round(values[0] - values[1], 2)


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole preview."""

    stack: str
    project: str
    groups: tuple[Group, ...]
    """Endpoints by name, then the rest where it changes."""
    told: tuple[tuple[str, str, str], ...] = ()
    """(endpoint, `not checked` | `refused` | `warning`, text)."""
    failed: bool = False
    """Whether the preview itself ended with an error."""

    @property
    def endpoints(self) -> tuple[Group, ...]:
        """The endpoints alone."""
        return tuple(group for group in self.groups if group.name != OTHERS)


def read(text: str) -> Plan:
    """A preview's JSON, with or without the lines that the engine prints around it. Raises PlanError."""
    plan = _json(text)
    steps = [step for step in plan.get("steps") or [] if isinstance(step, Mapping) and step.get("urn")]
    owners = _Owners(steps)
    groups: dict[str, _Gathering] = {}
    stack = project = ""
    for step in steps:
        urn = str(step["urn"])
        parts = urn.split("::")
        stack, project = stack or parts[0].removeprefix("urn:pulumi:"), project or parts[1]
        owner = owners.of(urn)
        groups.setdefault(owner, _Gathering()).add(step, urn)
    names = sorted(groups, key=lambda name: (name == OTHERS, name))
    found = tuple(groups[name].group(name) for name in names)
    told, failed = _diagnostics(plan)
    return Plan(stack, project, tuple(g for g in found if g.name != OTHERS or g.changed), told, failed)


def _json(text: str) -> Mapping[str, Any]:
    start = text.find("{")
    if start < 0:
        raise PlanError("the preview is empty, or not JSON: give what `pulumi preview --json` printed")
    try:
        plan, _ = json.JSONDecoder().raw_decode(text[start:])
    except json.JSONDecodeError as error:
        raise PlanError(
            f"the preview is not JSON (line {error.lineno}): give what `pulumi preview --json` printed"
        ) from None
    if "steps" not in plan and "diagnostics" not in plan and "changeSummary" not in plan:
        raise PlanError("the preview has no steps: give what `pulumi preview --json` printed, not --diff")
    found: Mapping[str, Any] = plan
    return found


class _Owners:
    """Which endpoint a resource belongs to, by its parents."""

    def __init__(self, steps: list[Mapping[str, Any]]) -> None:
        self._parents = {str(step["urn"]): parent for step in steps if (parent := _parent(step))}

    def of(self, urn: str) -> str:
        seen: set[str] = set()
        at = urn
        while at and at not in seen:
            seen.add(at)
            if kind(at) == ENDPOINT:
                return name_of(at)
            at = self._parents.get(at, "")
        return OTHERS


def _parent(step: Mapping[str, Any]) -> str:
    for state in ("newState", "oldState"):
        found = step.get(state)
        if isinstance(found, Mapping) and found.get("parent"):
            return str(found["parent"])
    return ""


def kind(urn: str) -> str:
    """A resource's own type."""
    parts = urn.split("::")
    return parts[2].rpartition("$")[2] if len(parts) > 2 else ""


def name_of(urn: str) -> str:
    """A resource's name in the program; it may itself hold `::`."""
    return "::".join(urn.split("::")[3:])


@dataclass(slots=True)
class _Gathering:
    """What is found of one group, step by step."""

    op: str = "same"
    steps: dict[str, Step] = field(default_factory=dict)
    before: Scale | None = None
    after: Scale | None = None

    def add(self, step: Mapping[str, Any], urn: str) -> None:
        op = str(step.get("op") or "unknown")
        op = "replace" if op in REPLACING else "same" if op in UNCHANGED else op
        if kind(urn) == ENDPOINT:
            self.op = op
            self.before, self.after = _scale(step, "oldState"), _scale(step, "newState")
            if op == "delete":
                self.after = None
        elif op != "same" and kind(urn) != "pulumi:pulumi:Stack":
            # A replacement comes as up to three steps; together they are one.
            known = self.steps.get(urn)
            self.steps[urn] = Step(name_of(urn), kind(urn), "replace" if known and known.replaces else op)

    def group(self, name: str) -> Group:
        steps = sorted(self.steps.values(), key=lambda step: (not step.replaces, step.name, step.type))
        return Group(name, self.op if name != OTHERS else "same", tuple(steps), self.before, self.after)


def _scale(step: Mapping[str, Any], state: str) -> Scale | None:
    found: Any = step
    for key in (state, "inputs", "declared"):
        found = found.get(key) if isinstance(found, Mapping) else None
    if not isinstance(found, Mapping):
        return None
    scaling, cost = _mapping(found.get("scaling")), _mapping(found.get("cost"))
    paused = found.get("state") == "paused"
    return Scale(
        min_replicas=0 if paused else int(_number(scaling.get("min_replicas")) or 0),
        max_replicas=0 if paused else int(_number(scaling.get("max_replicas")) or 0),
        floor_usd_month=_number(cost.get("floor_usd_month")),
        ceiling_usd_month=_number(cost.get("ceiling_usd_month")),
        prices_from=_date(cost.get("prices_from")),
        region=_region(cost.get("region")),
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: Any) -> float | None:
    """A figure; anything else, a text or a secret's mark, is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e12 else None


def _date(value: Any) -> str:
    return value if isinstance(value, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value) else ""


def _region(value: Any) -> str:
    return value if isinstance(value, str) and re.fullmatch(r"[a-z]{2}(-[a-z]+)+-[0-9]", value) else ""


def _diagnostics(plan: Mapping[str, Any]) -> tuple[tuple[tuple[str, str, str], ...], bool]:
    told: dict[tuple[str, str, str], None] = {}
    failed = False
    for one in _mappings(plan.get("diagnostics")):
        failed = failed or one.get("severity") == "error"
        if kind(str(one.get("urn") or "")) != ENDPOINT:
            continue
        for line in str(one.get("message") or "").splitlines():
            if found := _TOLD.match(line.strip()):
                told[found[1], found[2], found[3]] = None
    return tuple(sorted(told)), failed


def _mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    yield from (one for one in value or () if isinstance(one, Mapping))
