"""Writes what can be declared from the specs themselves: `python -m pulumi_holdfast.spec.reference --write`.

Without `--write` it prints the pages. A test compares those in the repository with what this makes.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import re
import sys
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pulumi_holdfast.spec.endpoint import EndpointSpec
from pulumi_holdfast.spec.hardware import hardware_table
from pulumi_holdfast.spec.quickstart import QuickstartSpec
from pulumi_holdfast.spec.shared import SharedSpec

FOLDER: Final = Path(__file__).resolve().parents[3] / "docs" / "reference"
"""Where the pages stand in a checkout."""
_MADE: Final = (
    "<!-- Made from the specs by `python -m pulumi_holdfast.spec.reference --write`: edit those. -->"
)
_HEADS: Final[Mapping[str, str]] = {
    "endpoint": """What `holdfast.Endpoint(name, {…})` takes, beside `platform`. Units stand in the names. Every \
problem of a declaration is told at once: path, value, rule, remedy.""",
    "shared": """What `holdfast.SharedStack(name, {…})` takes, beside `broker_secret` (at least 24 random \
characters, from a config secret).""",
    "quickstart": """What each entry of `holdfast:quickstart` takes: templates that the shared stack offers to \
everybody. A name alone is short for `{"template": name}`.""",
}
_MODELS: Final[Mapping[str, type[BaseModel]]] = {
    "endpoint": EndpointSpec,
    "shared": SharedSpec,
    "quickstart": QuickstartSpec,
}
_HIDDEN: Final[Mapping[str, frozenset[str]]] = {
    "endpoint": frozenset({"name", "template_ref"}),
    "shared": frozenset({"name"}),
}
_LONGEST_DEFAULT: Final = 60


def pages() -> dict[str, str]:
    """Every page by its name, without `.md`."""
    return {name: page(name) for name in _MODELS}


def page(name: str) -> str:
    """One page."""
    parts = [f"# Reference: {name}\n\n{_MADE}\n\n{_HEADS[name]}\n"]
    for path, model in _sections("", _MODELS[name]):
        hidden = _HIDDEN.get(name, frozenset()) if not path else frozenset[str]()
        parts.append(_section(path, model, hidden))
    if name == "endpoint":
        parts.append(_presets())
    return "\n".join(parts)


def _sections(path: str, model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """A model and those inside it, each by its path: `scaling`, `contract[]`, `secrets.<NAME>`."""
    yield path, model
    for name, field in model.model_fields.items():
        for inner, suffix in _models(field.annotation):
            if name != "template_ref":
                yield from _sections(f"{path}.{name}{suffix}".lstrip("."), inner)


def _models(annotation: Any, suffix: str = "") -> Iterator[tuple[type[BaseModel], str]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation, suffix
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        arguments = arguments[:1]
    elif origin is tuple:
        suffix, arguments = "[]", arguments[:1]
    elif inspect.isclass(origin) and issubclass(origin, Mapping):
        suffix, arguments = ".<NAME>", arguments[1:]
    for argument in arguments:
        yield from _models(argument, suffix)


def _section(path: str, model: type[BaseModel], hidden: frozenset[str]) -> str:
    told = _docstrings(model)
    title = f"## `{path}`" if path else "## Fields"
    about = inspect.cleandoc(model.__doc__ or "") if path else ""
    rows = [
        f"| `{name}` | {_type(field.annotation)}{_bounds(field)} | {_default(field)} | {told.get(name, '')} |"
        for name, field in model.model_fields.items()
        if name not in hidden
    ]
    table = "\n".join(["| field | type | default | |", "|---|---|---|---|", *rows])
    return f"{title}\n\n{about}\n\n{table}\n" if about else f"{title}\n\n{table}\n"


def _docstrings(model: type[BaseModel]) -> dict[str, str]:
    """What stands below each field in the source, and of fields without words, what their type says."""
    found: dict[str, str] = {}
    for one in reversed(model.__mro__):
        if one in (object, BaseModel) or not issubclass(one, BaseModel):
            continue
        [source] = ast.parse(inspect.getsource(one)).body
        assert isinstance(source, ast.ClassDef)
        for line, after in itertools.pairwise(source.body):
            words = _text(after)
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and words:
                found[line.target.id] = _cell(words)
    for name, field in model.model_fields.items():
        enums = [one for one in _flat(field.annotation) if inspect.isclass(one) and issubclass(one, Enum)]
        inner = [one for one, _ in _models(field.annotation)]
        if name not in found and (enums or inner):
            found[name] = _cell(inspect.cleandoc((enums or inner)[0].__doc__ or ""))
    return found


def _text(node: ast.stmt) -> str | None:
    """What a statement that is only a text says."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return node.value.value if isinstance(node.value.value, str) else None
    return None


def _flat(annotation: Any) -> Iterator[Any]:
    yield annotation
    for argument in get_args(annotation):
        yield from _flat(argument)


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|").strip()


def _type(annotation: Any) -> str:
    """A type in words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(arguments[0])
    if origin is Literal:
        return " or ".join(f"`{one}`" for one in arguments)
    if origin is tuple:
        return f"list of {_type(arguments[0])}"
    if inspect.isclass(origin) and issubclass(origin, Mapping):
        return f"mapping to {_type(arguments[1])}"
    if arguments:
        return " or ".join(_type(one) for one in arguments if one is not type(None))
    if inspect.isclass(annotation) and issubclass(annotation, Enum):
        return " or ".join(f"`{one.value}`" for one in annotation)
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return "section"
    return {str: "text", int: "whole number", float: "number", bool: "true or false"}.get(
        annotation, "anything"
    )


def _bounds(field: FieldInfo) -> str:
    found = {
        name: getattr(rule, name) for rule in field.metadata for name in ("ge", "le") if hasattr(rule, name)
    }
    low, high = found.get("ge"), found.get("le")
    if low is not None and high is not None:
        return f", {low:g} to {high:g}" if high < 1e6 else f", {low:g} or more"
    return f", {low:g} or more" if low is not None else ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = field.get_default(call_default_factory=True)
    if value is None or value == () or value == {} or value == "":
        return "–"
    if isinstance(value, BaseModel):
        return "see below"
    text = (
        value.value
        if isinstance(value, Enum)
        else str(value).lower()
        if isinstance(value, bool)
        else str(value)
    )
    return f"`{text}`" if len(text) <= _LONGEST_DEFAULT else "–"


def _presets() -> str:
    table = hardware_table()
    rows = [
        f"| `{name}` | {one.gpus} | {one.cpu:g} | {one.memory_mib:,} | {', '.join(one.instance_types)} "
        f"| {table.instances[one.instance_types[0]].usd_per_hour:g} |"
        for name, one in table.presets.items()
    ]
    head = "| preset | GPUs | vCPUs | memory, MiB | machines, the preferred first | $ an hour, the first |"
    return "\n".join(
        [
            f"## Hardware presets\n\n{table.system}; {table.region}, {table.generated}.\n",
            head,
            "|---|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


def main(arguments: list[str]) -> int:
    """Prints the pages, or writes them with `--write`; 2 for anything else."""
    if arguments == ["--write"]:
        for name, text in pages().items():
            (FOLDER / f"{name}.md").write_text(text)
    elif arguments:
        print("usage: python -m pulumi_holdfast.spec.reference [--write]", file=sys.stderr)
        return 2
    else:
        print("\n".join(pages().values()), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
