"""Quickstart templates: shared endpoints of the catalogue, always warm and rate limited, to try before cloning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import Field, ValidationError

from holdfast_contract.document import RateLimit, Visibility
from pulumi_holdfast.spec.model import Spec, Whole
from pulumi_holdfast.spec.problems import Problem, SpecError, problem, translate
from pulumi_holdfast.spec.template import Catalogue, Template

DEFAULT_LIMIT: Final = RateLimit(requests=15, window_s=3600)
"""15 requests an hour: enough to try, too few to build upon."""
_SUBJECT: Final = "quickstart templates"


class QuickstartSpec(Spec):
    """One template that is offered to everybody. `"ocr"` alone is short for `{"template": "ocr"}`."""

    template: str
    """A template of the catalogue; the endpoint has its name."""
    visibility: Visibility = Visibility.PRIVATE
    """Private by default: any of the stack's tokens opens it. `public`: anybody, limited by address."""
    min_replicas: Whole = Field(default=1, ge=1, le=1000)
    """Replicas that are always warm: 1 by default, and never 0, for nobody waits for a start here."""
    max_replicas: Whole | None = Field(default=None, ge=1, le=1000)
    """None, the default: as many as the template says, and at least min_replicas."""
    rate_limit: RateLimit = DEFAULT_LIMIT
    """For each token, or client address where public; 15 requests an hour by default. Beyond: 429 with
    `Retry-After`."""

    def endpoint_args(self, template: Template) -> dict[str, Any]:
        """The declaration of the endpoint, in the words of an endpoint."""
        most = self.max_replicas or template.scaling.get("max_replicas", 1)
        return {
            "template": self.template,
            "visibility": self.visibility,
            "rate_limit": self.rate_limit.model_dump(),
            "scaling": {"min_replicas": self.min_replicas, "max_replicas": max(most, self.min_replicas)},
            "description": template.title,
        }


def parse_quickstart(
    given: Sequence[Any], catalogue: Catalogue
) -> tuple[tuple[QuickstartSpec, Template], ...]:
    """What is offered, with its templates. Raises SpecError with every problem."""
    found: list[tuple[QuickstartSpec, Template]] = []
    problems: list[Problem] = []
    for index, one in enumerate(given):
        where = f"quickstart[{index}]"
        try:
            spec = QuickstartSpec.model_validate({"template": one} if isinstance(one, str) else one)
        except ValidationError as error:
            problems += _at(where, error)
            continue
        template = catalogue.find(spec.template)
        if template is None:
            remedy = catalogue.nearest(spec.template)
            problems.append(problem(f"{where}.template", spec.template, "not in the catalogue", remedy))
        elif any(spec.template == earlier.template for earlier, _ in found):
            problems.append(
                problem(f"{where}.template", spec.template, "offered twice", "remove one of them")
            )
        elif spec.max_replicas is not None and spec.max_replicas < spec.min_replicas:
            rule = f"below min_replicas={spec.min_replicas}"
            problems.append(problem(f"{where}.max_replicas", spec.max_replicas, rule, "raise it"))
        else:
            found.append((spec, template))
    if problems:
        raise SpecError(_SUBJECT, problems)
    return tuple(found)


def _at(where: str, error: ValidationError) -> list[Problem]:
    known: Mapping[str, frozenset[str]] = {
        "": frozenset(QuickstartSpec.model_fields),
        "rate_limit": frozenset(RateLimit.model_fields),
    }
    return [
        Problem(f"{where}.{one.path}" if one.path else where, one.value, one.rule, one.remedy)
        for one in translate(error.errors(include_url=False), known)
    ]
