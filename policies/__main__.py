"""The policy pack: wraps the rules for the engine. `PolicyPack` serves and never returns."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# The pack has an environment of its own, in which the project is not installed.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "contract"))

from pulumi_policy import (
    EnforcementLevel,
    Policy,
    PolicyConfigSchema,
    PolicyPack,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UnknownValueError
from rules import ENDPOINT, RULES, Rule, stack_violations, violations

_EXEMPT = {
    "type": "object",
    "additionalProperties": {"type": "string", "minLength": 10},
    "description": "Names of resources that the rule does not hold for, each with the reason.",
}


def plain(value: Any) -> Any:
    """A resource's properties as plain data; what is not known yet is left out."""
    if isinstance(value, Mapping):
        return {key: plain(found) for key, found in _known((key, value) for key in value)}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [plain(found) for _, found in _known((index, value) for index in range(len(value)))]
    return value


def _known(places: Any) -> list[tuple[Any, Any]]:
    found = []
    for key, holder in places:
        try:
            found.append((key, holder[key]))
        except UnknownValueError:
            continue
    return found


def wrapped(rule: Rule) -> Policy:
    """A rule as the engine calls it."""
    schema = PolicyConfigSchema({**rule.settings, "exempt": _EXEMPT})
    level = EnforcementLevel.ADVISORY if rule.advisory else EnforcementLevel.MANDATORY
    description = f"{rule.reason} Remedy: {rule.remedy}."

    def of_one(args: ResourceValidationArgs, report: ReportViolation) -> None:
        if args.resource_type in rule.types:
            for text in violations(rule, args.name, plain(args.props), plain(args.get_config())):
                report(text)

    def of_all(args: StackValidationArgs, report: ReportViolation) -> None:
        endpoints = {one.name: plain(one.props) for one in args.resources if one.resource_type == ENDPOINT}
        for text in stack_violations(rule, endpoints, plain(args.get_config())):
            report(text)

    if rule.stack:
        return StackValidationPolicy(rule.name, description, of_all, level, schema)
    return ResourceValidationPolicy(rule.name, description, of_one, level, schema)


PolicyPack("holdfast", policies=[wrapped(rule) for rule in RULES])
