"""Adding an endpoint to stack code: finds the place by the syntax tree, changes nothing else in the text."""

from __future__ import annotations

import ast
import difflib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast_cli.errors import CommandError
from holdfast_cli.exits import Exit

LIBRARY = "pulumi_holdfast"
FUNCTION = "declare"


@dataclass(frozen=True)
class Module:
    """Stack code that endpoints can be added to."""

    path: str
    """For messages and the diff."""
    text: str
    prefix: str
    """What stands before `Endpoint`: `holdfast.`, or nothing where the class itself is imported."""
    platform: str
    """The name of the platform in the function."""
    last_line: int
    """The new lines go after this one (counted from 1)."""
    replaced: tuple[int, int] | None
    """First and last line of a `pass` that the new lines take the place of."""
    indent: str
    names: frozenset[str]
    """Endpoints that are declared by a literal name."""


def load(path: Path, option: str) -> Module:
    """Read a file of stack code. `option`: with which the command is told of another. Raises CommandError where
    it cannot be read, or has not the form that lines can be added to."""
    try:
        with path.open(encoding="utf-8", newline="") as file:  # the file's own line ends stay
            text = file.read()
    except UnicodeDecodeError as error:
        raise CommandError(
            f"{path} is not UTF-8 text; nothing was changed", "save it as UTF-8", Exit.USAGE
        ) from error
    except OSError as error:
        raise CommandError(
            f"{path} cannot be read: {error.strerror}; nothing was changed",
            f"run it from the project's folder, or say with {option} where endpoints are declared",
            Exit.USAGE,
        ) from error
    return read(str(path), text)


def read(path: str, text: str) -> Module:
    """Understand stack code. Raises CommandError where it has not the form that lines can be added to."""
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise CommandError(
            f"{path}, line {error.lineno}: {error.msg}", "mend it first; nothing was changed"
        ) from error
    prefix = _prefix(tree)
    function = next(
        (one for one in tree.body if isinstance(one, ast.FunctionDef) and one.name == FUNCTION), None
    )
    if prefix is None or function is None or not function.args.args:
        raise CommandError(
            f"{path} has no `import {LIBRARY}` or no function `{FUNCTION}(platform)`",
            f"give the module that declares endpoints with --file, or write `def {FUNCTION}(platform): …` in it",
        )
    body = function.body
    last = body[-2] if isinstance(body[-1], ast.Return) and len(body) > 1 else body[-1]
    assert last.end_lineno is not None  # ast.parse sets it
    line = _lines(text)[last.lineno - 1]
    indent = line[: last.col_offset]
    if indent.strip():
        raise CommandError(
            f"{path}, line {last.lineno}: `{FUNCTION}` ends with a statement that shares its line with another; "
            "nothing was changed",
            "give the statement a line of its own",
        )
    # One with a comment stays: the comment may be worth more than a line less.
    only_pass = isinstance(last, ast.Pass) and line.strip() == "pass"
    return Module(
        path=path,
        text=text,
        prefix=prefix,
        platform=function.args.args[0].arg,
        last_line=last.lineno - 1 if only_pass else last.end_lineno,
        replaced=(last.lineno, last.end_lineno) if only_pass else None,
        indent=indent,
        names=frozenset(_names(tree)),
    )


def _lines(text: str) -> list[str]:
    """Lines with their ends, as the syntax tree counts them; `str.splitlines` also parts at form feeds and others."""
    return io.StringIO(text, newline="").readlines()


def _prefix(tree: ast.Module) -> str | None:
    for one in tree.body:
        if isinstance(one, ast.Import):
            for alias in one.names:
                if alias.name == LIBRARY:
                    return f"{alias.asname or LIBRARY}."
        if isinstance(one, ast.ImportFrom) and one.module == LIBRARY:
            for alias in one.names:
                if alias.name == "Endpoint" and alias.asname is None:
                    return ""
    return None


def _names(tree: ast.Module) -> Iterator[str]:
    """First arguments of all calls of `Endpoint`, under whatever module name."""
    for one in ast.walk(tree):
        if not isinstance(one, ast.Call) or not one.args or not isinstance(one.args[0], ast.Constant):
            continue
        called = one.func.attr if isinstance(one.func, ast.Attribute) else getattr(one.func, "id", "")
        if called == "Endpoint" and isinstance(one.args[0].value, str):
            yield one.args[0].value


def with_endpoint(module: Module, name: str, args: Mapping[str, Any]) -> str:
    """The text with an endpoint more. `args`: plain data beside the platform.

    Raises CommandError where the name is taken.
    """
    if name in module.names:
        raise CommandError(
            f"{module.path} declares an endpoint {name!r} already; nothing was changed",
            "choose another --name, or edit the one that is there",
            Exit.EXISTS,
        )
    before = _lines(module.text)
    end = "\r\n" if before[0].endswith("\r\n") else "\n"
    if not before[-1].endswith(("\n", "\r")):
        before[-1] += end
    lines = [
        f"{module.indent}{line}{end}"
        for line in call(module.prefix, module.platform, name, args).splitlines()
    ]
    rest = before[module.last_line :] if module.replaced is None else before[module.replaced[1] :]
    made = "".join([*before[: module.last_line], *lines, *rest])
    ast.parse(made)  # whatever the text was: never write what Python cannot read
    return made


def call(prefix: str, platform: str, name: str, args: Mapping[str, Any]) -> str:
    """The lines that declare an endpoint, without indent. `prefix`: what stands before `Endpoint`."""
    lines = [f"{prefix}Endpoint(", f'    "{name}",', "    {", f'        "platform": {platform},']
    lines += [f"        {_literal(key)}: {_literal(value)}," for key, value in args.items()]
    return "\n".join([*lines, "    },", ")"])


def _literal(value: Any) -> str:
    """As Python source with double quotes, as the formatter writes it."""
    if isinstance(value, str):
        text = repr(value)
        return f'"{text[1:-1]}"' if text.startswith("'") and '"' not in text else text
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_literal(key)}: {_literal(one)}" for key, one in value.items()) + "}"
    return repr(value)


def diff(module: Module, made: str) -> list[str]:
    """What changes, as a unified diff without line ends."""
    return list(
        difflib.unified_diff(
            module.text.splitlines(),
            made.splitlines(),
            f"{module.path} (now)",
            f"{module.path} (then)",
            lineterm="",
        )
    )
