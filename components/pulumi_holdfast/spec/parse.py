"""From what the user wrote to a spec: one pass that finds every problem."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from holdfast_contract.document import TemplateRef
from pulumi_holdfast.spec.endpoint import EndpointSpec, sections
from pulumi_holdfast.spec.problems import Problem, SpecError, problem, translate
from pulumi_holdfast.spec.rules import RULES
from pulumi_holdfast.spec.template import Catalogue, Template
from pulumi_holdfast.spec.validate import broken, copied, validated

_SECTIONS_MERGED: Final = ("scaling", "env", "hardware", "sizes")
"""Where a clone's own words lie over the template's, field by field; elsewhere, and for hardware with a preset of
its own, they replace them."""


def parse_endpoint(name: str, args: Mapping[str, Any], catalogue: Catalogue) -> EndpointSpec:
    """The spec of an endpoint.

    `args` is what the user wrote, with outputs already replaced by placeholders. Raises SpecError with every
    problem: of each field by itself, and between fields as far as those are right by themselves.
    """
    problems: list[Problem] = []
    raw = _normalised(args)
    template = _template(raw, catalogue, problems)
    if template is not None:
        raw = _cloned(raw, template)
    raw["name"] = name
    spec, errors, wrong = validated(EndpointSpec, raw, {"name": "placeholder"})
    if any(found.path == "template" for found in problems):
        wrong |= {"template"}
    problems.extend([*translate(errors, sections()), *broken(RULES, spec, wrong)])
    if problems:
        raise SpecError(f'endpoint "{name}"', problems)
    return spec


def _normalised(args: Mapping[str, Any]) -> dict[str, Any]:
    """Short forms written out: a preset's name for hardware, JSON-like copies for the rest."""
    raw = {key: copied(value) for key, value in args.items() if value is not None}
    if isinstance(raw.get("hardware"), str):
        raw["hardware"] = {"preset": raw["hardware"]}
    if isinstance(raw.get("code"), str):
        raw["code"] = {"path": raw["code"]}
    raw.pop("template_ref", None)
    raw.pop("name", None)
    for field in ("command", "args", "tokens", "contract", "writable_paths"):
        if isinstance(raw.get(field), list):
            raw[field] = tuple(raw[field])
    return raw


def _template(raw: Mapping[str, Any], catalogue: Catalogue, problems: list[Problem]) -> Template | None:
    wanted = raw.get("template")
    if not isinstance(wanted, str) or not wanted:
        return None
    found = catalogue.find(wanted)
    if found is None:
        problems.append(problem("template", wanted, "not in the catalogue", catalogue.nearest(wanted)))
    return found


def _cloned(raw: Mapping[str, Any], template: Template) -> dict[str, Any]:
    """The template's declaration with the clone's own lying over it."""
    declared = template.endpoint_args()
    merged: dict[str, Any] = {**declared, **raw}
    for section in _SECTIONS_MERGED:
        theirs, own = declared.get(section), raw.get(section)
        if isinstance(theirs, Mapping) and isinstance(own, Mapping) and "preset" not in own:
            merged[section] = {**theirs, **own}
    if "image" in raw or "code" in raw:
        return merged  # the rule about exactly one source reports it
    return {
        **merged,
        "image": template.image,
        "template_ref": TemplateRef(name=template.name, version=template.version),
    }
