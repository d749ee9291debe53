"""One pass over a declaration that finds every problem: of each field by itself, and between those that are right."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from pulumi_holdfast.spec.model import Spec
from pulumi_holdfast.spec.problems import Problem, dotted

SpecT = TypeVar("SpecT", bound=Spec)


@dataclass(frozen=True, slots=True)
class Rule(Generic[SpecT]):
    """One rule between fields. It is skipped while a path that it reads is wrong by itself."""

    reads: tuple[str, ...]
    check: Callable[[SpecT], Iterable[Problem]]


def validated(
    model: type[SpecT], raw: Mapping[str, Any], stand_ins: Mapping[str, Any]
) -> tuple[SpecT, list[ErrorDetails], frozenset[str]]:
    """The spec, what is wrong with its fields, and the paths that were wrong and stand at their defaults in it.

    `stand_ins`: values for the required fields, where they are wrong or missing.
    """
    try:
        return model.model_validate(raw), [], frozenset()
    except ValidationError as error:
        errors = error.errors(include_url=False)
    remaining = copied(raw)
    for found in errors:
        _drop(remaining, found["loc"])
    wrong = {dotted(found["loc"]) for found in errors}
    try:
        return model.model_validate({**stand_ins, **remaining}), errors, frozenset(wrong)
    except ValidationError as error:
        incomplete = {str(found["loc"][0]) for found in error.errors(include_url=False)}
    # A section without a part that it requires cannot stand: the first pass has named the part.
    whole = {key: value for key, value in remaining.items() if key not in incomplete}
    return model.model_validate({**stand_ins, **whole}), errors, frozenset(wrong | incomplete)


def broken(rules: Sequence[Rule[SpecT]], spec: SpecT, wrong_paths: Iterable[str]) -> list[Problem]:
    """Every rule between fields that does not hold, leaving out those that read a wrong path."""
    return [
        found
        for rule in rules
        if not any(
            wrong == read or wrong.startswith((f"{read}.", f"{read}[")) or read.startswith(f"{wrong}.")
            for wrong in wrong_paths
            for read in rule.reads
        )
        for found in rule.check(spec)
    ]


def copied(value: Any) -> Any:
    """A copy of mappings and lists alone: what is no plain data, such as an output, cannot be copied; it is told."""
    if isinstance(value, Mapping):
        return {key: copied(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [copied(inner) for inner in value]
    return value


def _drop(data: dict[str, Any], loc: tuple[int | str, ...]) -> None:
    """Remove the value at a location; a list goes as a whole, for its other indexes would move."""
    present = [part for part in loc if isinstance(part, str)]
    for index, part in enumerate(present):
        inner = data.get(part)
        if part not in data:
            continue  # pydantic's own: the kind of a union, or that a key is meant
        if index == len(present) - 1 or not isinstance(inner, dict) or present[index + 1 :] == ["[key]"]:
            del data[part]
            return
        data = inner
