"""Source code as an endpoint: what is declared, and what can be said of a folder without running it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from pulumi_holdfast.spec.model import Spec
from pulumi_holdfast.spec.problems import Problem, problem, refused

MODULE: Final = "service.py"
LOCK: Final = "requirements.lock"
BASE_CLASS: Final = "Service"
NEEDED: Final = ("pydantic", "python-multipart", "starlette", "uvicorn")
"""What the runtime imports: a lock without one of them makes an image that cannot start."""
_REPOSITORY: Final = re.compile(r"[a-zA-Z0-9.-]+(?::[0-9]{1,5})?(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)+")
_PIN: Final = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==", re.MULTILINE)


def _repository(text: str) -> str:
    if "://" in text:
        raise refused("a URL", "write the repository without http:// or https://")
    if "@" in text or ":" in text.rpartition("/")[2]:
        raise refused("a repository with a tag or digest", "leave it out: it follows from the code")
    if not _REPOSITORY.fullmatch(text):
        raise refused("not a repository with its registry", "write registry/name, in lower case")
    return text


class CodeSpec(Spec):
    """A folder with a service class, and where its image goes."""

    path: str = Field(min_length=1)
    """The folder that `holdfast init` made; a relative one is found from the program's folder."""
    repository: Annotated[str, AfterValidator(_repository)]
    """Where the image is pushed, with its registry and without a tag: `registry.example.com/team/name`. Whoever
    runs `pulumi up` must be logged in there."""


@dataclass(frozen=True, slots=True)
class Found:
    """A service class, as its source says."""

    name: str
    concurrency: int | None
    """What the class sets; 1 where it sets nothing, None where that is not a plain number."""
    methods: frozenset[str]
    inherits: bool
    """Whether methods may come from a base class besides `Service`."""


def problems_of(code: CodeSpec, concurrency: int) -> Iterator[Problem]:
    """Everything that would stop the image or its server, by reading alone: the author's code is not imported.

    `concurrency`: the endpoint's `scaling.concurrency`.
    """
    folder = Path(code.path)
    if not folder.is_dir():
        where = folder if folder.is_absolute() else Path.cwd() / folder
        yield problem("code.path", code.path, f"no folder ({where})", "make one with `holdfast init NAME`")
        return
    yield from _service_problems(folder, concurrency)
    yield from _lock_problems(folder / LOCK)


def _service_problems(folder: Path, concurrency: int) -> Iterator[Problem]:
    file = folder / MODULE
    if not file.is_file():
        yield problem("code.path", str(folder), f"a folder without {MODULE}", "write the service class there")
        return
    try:
        found = services_in(file.read_text())
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        yield problem("code.path", str(folder), f"no Python in {MODULE}{line}: {error.args[0]}", "mend it")
        return
    if len(found) != 1:
        names = ", ".join(one.name for one in found) or "no class"
        yield problem(
            "code.path",
            str(folder),
            f"{names} in {MODULE}, and exactly one `{BASE_CLASS}` is served",
            f"write one `class Name({BASE_CLASS}):`",
        )
        return
    one = found[0]
    if "infer" not in one.methods and not one.inherits:
        yield problem(
            "code.path", str(folder), f"class {one.name} has no method `infer`", "write `def infer(self, …)`"
        )
    if one.concurrency is not None and concurrency > one.concurrency:
        yield problem(
            "scaling.concurrency",
            concurrency,
            f"above concurrency={one.concurrency} of class {one.name} in {file}",
            f"lower it, or set `concurrency = {concurrency}` in the class where its code allows that",
        )


def services_in(text: str) -> list[Found]:
    """The service classes of a module's source. Raises SyntaxError or ValueError where it is no Python."""
    found = []
    for node in ast.parse(text).body:
        if not isinstance(node, ast.ClassDef):
            continue
        bases = [
            base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "") for base in node.bases
        ]
        if BASE_CLASS not in bases:
            continue
        methods = {one.name for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)}
        found.append(Found(node.name, _concurrency(node), frozenset(methods), len(bases) > 1))
    return found


def _concurrency(node: ast.ClassDef) -> int | None:
    for one in node.body:
        targets = (
            one.targets
            if isinstance(one, ast.Assign)
            else [one.target]
            if isinstance(one, ast.AnnAssign)
            else []
        )
        if any(isinstance(target, ast.Name) and target.id == "concurrency" for target in targets):
            value = getattr(one, "value", None)
            plain = isinstance(value, ast.Constant) and isinstance(value.value, int)
            return value.value if plain else None  # type: ignore[union-attr]
    return 1


def _lock_problems(lock: Path) -> Iterator[Problem]:
    renew = f"write it with `uv pip compile requirements.in --generate-hashes -o {LOCK}`"
    if not lock.is_file():
        yield problem("code.path", str(lock.parent), f"a folder without {LOCK}", renew)
        return
    text = lock.read_text()
    pins = list(_PIN.finditer(text))
    pinned = {re.sub(r"[-_.]+", "-", pin[1]).lower() for pin in pins}
    missing = [name for name in NEEDED if name not in pinned]
    if missing:
        needs = f"without {', '.join(missing)}, which the server needs"
        yield problem("code.path", str(lock), needs, f"name them in requirements.in and {renew}")
    ends = [pin.start() for pin in pins[1:]] + [len(text)]
    open_to_change = [
        pin[1] for pin, end in zip(pins, ends, strict=True) if "--hash=sha256:" not in text[pin.end() : end]
    ]
    if open_to_change:
        yield problem("code.path", str(lock), f"without a hash for {', '.join(open_to_change)}", renew)
