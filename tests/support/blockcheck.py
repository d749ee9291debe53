"""What can be told of a documentation's block without running it: each check returns what is wrong, [] for nothing."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import click
from pydantic.alias_generators import to_camel

from holdfast_cli.main import cli

ROOT: Final = Path(__file__).resolve().parents[2]
STRANGERS: Final = frozenset(
    {
        "aws",
        "base64",
        "cat",
        "cd",
        "cp",
        "curl",
        "do",
        "docker",
        "done",
        "eval",
        "export",
        "grep",
        "hf",
        "jq",
        "kill",
        "kubectl",
        "ls",
        "mkdir",
        "openssl",
        "printf",
        "pulumi",
        "python",
        "python3",
        "sed",
        "sleep",
        "uv",
        "wait",
    }
)
"""Programs and words of the shell that are not ours. What a page asks of them is not checked here."""
OURS: Final = re.compile(r"holdfast|pulumi_holdfast|bench|tests")
_HEREDOC: Final = re.compile(r"<<'(\w+)'(.*?)\n(.*?)^\1$", re.MULTILINE | re.DOTALL)
_SUBSTITUTION: Final = re.compile(r"\$\(([^()]*)\)")
_ASSIGNMENT: Final = re.compile(r"\w+=.*", re.DOTALL)
_LEFT_OUT: Final = re.compile(r"(…|\.\.\.),|, *(…|\.\.\.)(?=[\])}])")
"""What a page leaves out of a call or mapping."""


def of_shell(text: str) -> list[str]:
    """Programs that nobody knows; `holdfast` commands, `make` targets and modules that do not exist."""
    return [wrong for words in commands(text) for wrong in _of_command(words)]


def of_console(text: str) -> list[str]:
    """The same for what stands behind a `$`."""
    return of_shell("\n".join(line[2:] for line in text.splitlines() if line.startswith("$ ")))


def of_unnamed(text: str) -> list[str]:
    """Commands in a block that does not say what it is; a usage with `[OPTIONS]` is none."""
    found = re.search(
        r"^(\$ |)(holdfast|pulumi|make|python|curl|kubectl) (?!.*\[OPTIONS\])", text, re.MULTILINE
    )
    return [f"`{found[0].strip()} …` in a block without a language: say `sh` or `console`"] if found else []


def of_python(text: str) -> list[str]:
    """Python that does not compile; names and arguments of ours that do not exist."""
    try:
        tree = ast.parse(_LEFT_OUT.sub("", text).replace("…", "..."))
    except SyntaxError as error:
        return [f"line {error.lineno} is no Python: {error.msg}"]
    modules = {"holdfast": importlib.import_module("pulumi_holdfast")}
    wrong: list[str] = []
    for node in ast.walk(tree):
        for name, alias, member in _imports(node):
            found = _module(name)
            if found is None or (member is not None and not _has(found, member)):
                wrong.append(f"nothing to import as {name}{f'.{member}' if member else ''}")
            elif member is None:
                modules[alias] = found
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr=member) if name in modules:
                if not _has(modules[name], member):
                    wrong.append(f"{modules[name].__name__} has no {member}")
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id=name), attr=kind), args=[_, ast.Dict(keys=keys), *_]
            ):
                wrong += _of_arguments(modules.get(name), kind, keys)
    return wrong


def of_settings(text: str) -> list[str]:
    """`holdfast:<setting>` that no program reads; `holdfast:index:…` is a type."""
    program = (ROOT / "stacks" / "settings.py").read_text()
    plain = next(
        one for one in ast.parse(program).body if isinstance(one, ast.ClassDef) and one.name == "Plain"
    )
    known = {
        to_camel(one.target.id)
        for one in plain.body
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)
    }
    known |= set(re.findall(r'_secret\("(\w+)"\)', program))
    parts = importlib.import_module("pulumi_holdfast.shared").ObservabilityArgs.__annotations__
    named = re.findall(r"(?<![\w/:.-])holdfast:(?!index:)([A-Za-z]\w*)(?:\.(\w+))?", text)
    return [
        f"no setting holdfast:{key}{f'.{part}' if key in known else ''}"
        for key, part in named
        if key not in known or (key == "observability" and part and part not in parts)
    ]


def of_inline(text: str) -> list[str]:
    """The same for `holdfast …`, `make …` and `python -m …` in running text: commands and options, not arguments."""
    wrong: list[str] = []
    for quoted in re.findall(r"`([^`\n]+)`", text):
        if not re.match(r"(\S*/)?(holdfast [a-z]|make [a-z]+$|python -m )", quoted):
            continue
        for words in commands(quoted.replace("…", "")):
            wrong += _of_command(words, whole=False)
    return wrong


def commands(text: str) -> Iterator[list[str]]:
    """Every simple command's words, those in `$(…)` first."""
    text = _HEREDOC.sub(r"<<X\2", text).replace("\\\n", " ")
    while found := _SUBSTITUTION.search(text):
        yield from commands(found[1])
        text = text[: found.start()] + "SUBSTITUTED" + text[found.end() :]
    for line in _lines(text):
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|()<>")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if word and set(word) <= set(";&|()"):
                if words:
                    yield words
                words = []
            elif words or not _ASSIGNMENT.fullmatch(word):
                words.append(word)


def _lines(text: str) -> Iterator[str]:
    """Lines of a script; a quoted text that goes on in the next is one."""
    held = ""
    for line in text.splitlines():
        held = f"{held}\n{line}" if held else line
        try:
            shlex.split(held, comments=True)
        except ValueError:
            continue
        yield held
        held = ""
    if held:
        yield held


def _of_command(words: list[str], *, whole: bool = True) -> list[str]:
    words = _without_redirections(words)
    if not words:
        return []
    program = Path(words[0]).name
    if program in ("do", "until", "exec"):
        return _of_command(words[1:], whole=whole)
    if program == "holdfast":
        return _of_holdfast(words[1:], whole=whole)
    if program == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        return [f"no target `make {one}`" for one in words[1:] if one not in targets]
    if program in ("python", "python3") and words[1:2] == ["-m"]:
        ours = OURS.match(words[2])
        return [] if not ours or _spec(words[2]) else [f"no module for `python -m {words[2]}`"]
    return [] if program in STRANGERS or program.endswith("pip") else [f"nobody knows the program {program}"]


def _without_redirections(words: list[str]) -> list[str]:
    """The words before the first `>`, `<` or `<<<`; a digit in front of one belongs to it."""
    for position, word in enumerate(words):
        if set(word) <= {"<", ">", "&"}:
            return words[: position - (position > 0 and words[position - 1].isdigit())]
    return words


def _of_holdfast(words: list[str], *, whole: bool) -> list[str]:
    command: click.Command = cli
    context = click.Context(command, info_name="holdfast")
    while isinstance(command, click.Group):
        if not words or words[0].startswith("-"):
            return [] if not whole or words in (["--help"], ["--version"]) else ["holdfast without a command"]
        found = command.get_command(context, words[0])
        if found is None:
            return [f"no command `{context.command_path} {words[0]}`"]
        context = click.Context(found, info_name=words[0], parent=context)
        command, words = found, words[1:]
    if not whole:
        known = {name for one in command.get_params(context) for name in (*one.opts, *one.secondary_opts)}
        options = [word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)]
        return [f"`{context.command_path}` has no {one}" for one in options if one not in known]
    try:
        given, rest, _ = command.make_parser(context).parse_args(list(words))
        for one in command.get_params(context):
            value = given.get(one.name or "")
            if one.required and (value is None or one.value_is_missing(value)):
                raise click.UsageError(f"{one.human_readable_name} is missing")
            if isinstance(one.type, click.Choice) and isinstance(value, str):
                one.type_cast_value(context, value)
    except click.ClickException as error:
        return [f"`{context.command_path}`: {error.format_message()}"]
    return [f"`{context.command_path}` takes no {rest[0]}"] if rest else []


def _imports(node: ast.AST) -> Iterator[tuple[str, str, str | None]]:
    """Imports of ours: module, name in the program, member or None."""
    match node:
        case ast.Import(names=names):
            for one in names:
                if OURS.match(one.name):
                    yield one.name, one.asname or one.name, None
        case ast.ImportFrom(module=str(module), names=names) if OURS.match(module):
            for one in names:
                yield module, one.asname or one.name, one.name


def _spec(name: str) -> Any:
    try:
        return importlib.util.find_spec(name)
    except ModuleNotFoundError:
        return None


def _module(name: str) -> ModuleType | None:
    return importlib.import_module(name) if _spec(name) else None


def _has(module: ModuleType, member: str) -> bool:
    return hasattr(module, member) or _spec(f"{module.__name__}.{member}") is not None


def _of_arguments(module: ModuleType | None, kind: str, keys: list[ast.expr | None]) -> list[str]:
    """Keys of a component's arguments, where the module has their type."""
    known = getattr(module, f"{kind}Args", None)
    if known is None:
        return []
    given = [one.value for one in keys if isinstance(one, ast.Constant)]
    return [f"{kind} has no argument {one}" for one in given if one not in known.__annotations__]
