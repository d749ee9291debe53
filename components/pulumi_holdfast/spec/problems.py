"""What is wrong with a declaration: every problem at once, each with path, value, rule and remedy."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic_core import ErrorDetails, PydanticCustomError

from holdfast_contract.secretlike import holds_secret

_HIDDEN: Final = "(hidden)"
_PRIVATE: Final = frozenset({"env", "secrets", "tokens", "broker_secret", "previous_broker_secret"})
"""What stands in these fields of a declaration, or below, is never repeated: somebody may have put a secret there."""
_HOLDERS: Final = frozenset({"registry_credentials", "contract"})
"""Sections that may be one credential when their form is wrong; of their fields, headers alone are private."""
_SECRET_NAMES: Final = frozenset({"secret", "template_registry_secret"})
"""Fields for the name of a secret: what is no name may be the secret itself."""
_PLAIN: Final = (str, bytes, int, float, Mapping, list, tuple, set, frozenset, type(None))
"""What a declaration can be written with. Outputs, futures and other objects are none of these."""
_SHOWN_CHARS: Final = 60


@dataclass(frozen=True, slots=True)
class Problem:
    """One wrong thing. Its text is `path is value, rule: remedy`."""

    path: str
    """Where, as one would write it in Python: `scaling.min_replicas`, `tokens[0]`."""
    value: str
    """What stands there, shortened; `(hidden)` where it might be a secret, `missing` where nothing stands."""
    rule: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.path} is {self.value}, {self.rule}: {self.remedy}"


class SpecError(ValueError):
    """A declaration that cannot be planned; `problems` holds all that is wrong with it, in reading order."""

    def __init__(self, subject: str, problems: Sequence[Problem]) -> None:
        self.subject = subject
        self.problems = tuple(problems)
        lines = "\n".join(f"  {problem}" for problem in self.problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__(f"{subject} has {count}:\n{lines}")


def problem(path: str, value: object, rule: str, remedy: str) -> Problem:
    """A problem whose value is shown shortened, or hidden where it might be a secret."""
    return Problem(path, shown(path, value), rule, remedy)


def refused(rule: str, remedy: str) -> PydanticCustomError:
    """What a field's own validator raises; the path and the value are added by `translate`."""
    return PydanticCustomError("holdfast", "{rule}: {remedy}", {"rule": rule, "remedy": remedy})


def shown(path: str, value: object) -> str:
    """A value as an error may show it."""
    if not isinstance(value, _PLAIN):
        return f"of type {type(value).__name__}"
    text = f'"{value}"' if isinstance(value, str) else repr(value)
    if _is_private(path) or holds_secret(text):
        return _HIDDEN
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…"


def _is_private(path: str) -> bool:
    fields = [part for part in re.split(r"[.\[]", path) if not part.endswith("]")]
    return (
        bool(_PRIVATE.intersection(fields[:1]) or _HOLDERS.intersection(fields[-1:])) or "headers" in fields
    )


def dotted(loc: Iterable[int | str]) -> str:
    """`("tokens", 0)` as `tokens[0]`."""
    path = ""
    for part in loc:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def nearest(word: str, known: Iterable[str]) -> str:
    """`did you mean X?` where something similar is known, else the list of what is."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else f"choose one of {', '.join(names)}"


_TYPES: Final[Mapping[str, tuple[str, str]]] = {
    "int_type": ("not a whole number", "write it without quotes and without a fraction"),
    "int_from_float": ("not a whole number", "write it without a fraction"),
    "float_type": ("not a number", "write it without quotes"),
    "float_parsing": ("not a number", "write it without quotes"),
    "finite_number": ("not a finite number", "write an ordinary number"),
    "string_type": ("not text", "put it in quotes"),
    "bool_type": ("neither true nor false", "write True or False"),
    "bool_parsing": ("neither true nor false", "write True or False"),
    "dict_type": ("not a mapping", 'write {"name": value}'),
    "mapping_type": ("not a mapping", 'write {"name": value}'),
    "model_type": ("not a mapping", 'write {"field": value}'),
    "model_attributes_type": ("not a mapping", 'write {"field": value}'),
    "list_type": ("not a list", "write [value, …]"),
    "tuple_type": ("not a list", "write [value, …]"),
}


def _rule_of(error: ErrorDetails, known: Iterable[str]) -> tuple[str, str]:
    kind, context = error["type"], error.get("ctx", {})
    if not isinstance(error["input"], _PLAIN):
        return (
            "no plain value",
            "write one that is known before the update: few fields take outputs, and say so",
        )
    if kind == "holdfast":
        return str(context["rule"]), str(context["remedy"])
    if kind in _TYPES:
        return _TYPES[kind]
    if kind == "greater_than_equal":
        bound = _plain(context["ge"])
        return f"below {bound}", f"use {bound} or more"
    if kind == "greater_than":
        bound = _plain(context["gt"])
        return f"not above {bound}", f"use more than {bound}"
    if kind == "less_than_equal":
        bound = _plain(context["le"])
        return f"above {bound}", f"use {bound} or less"
    if kind == "enum":
        expected = str(context["expected"]).replace(" or ", ", ").replace("'", "")
        return "not one of the choices", nearest(str(error["input"]), expected.split(", "))
    if kind in ("too_short", "string_too_short"):
        return "empty", "give at least one, or leave the field out"
    if kind == "string_too_long":
        return f"longer than {context['max_length']} characters", "shorten it"
    if kind == "extra_forbidden":
        return "an unknown field", nearest(str(error["loc"][-1]), known)
    return "not valid", error["msg"]


def _plain(bound: object) -> object:
    """A decimal field's bounds as people write them: 1000, not 1000.0."""
    return int(bound) if isinstance(bound, float) and bound.is_integer() else bound


def translate(errors: Iterable[ErrorDetails], known: Mapping[str, Iterable[str]]) -> list[Problem]:
    """Pydantic's errors in our words. `known` gives the field names of each section by its path: `secrets.<NAME>` for
    all that a mapping holds."""
    found = []
    for error in errors:
        path = dotted(part for part in error["loc"] if part != "[key]")
        rule, remedy = _rule_of(error, _fields(error, known))
        if error["type"] == "missing":
            found.append(Problem(path, "missing", "required", "declare it"))
        elif error["type"] == "extra_forbidden" or _SECRET_NAMES.intersection(error["loc"][-1:]):
            # A misspelt field may be one for a secret, whatever it is called.
            found.append(Problem(path, _HIDDEN, rule, remedy))
        else:
            found.append(problem(path, error["input"], rule, remedy))
    return found


def _fields(error: ErrorDetails, known: Mapping[str, Iterable[str]]) -> Iterable[str]:
    """The names that the section of an error has fields for."""
    section = [part for part in error["loc"][:-1] if not isinstance(part, int)]
    return known.get(dotted(section)) or known.get(dotted([*section[:1], "<NAME>", *section[2:]]), ())
