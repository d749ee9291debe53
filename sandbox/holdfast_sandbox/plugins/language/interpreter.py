"""Which Python runs a program: from `runtime.options` of Pulumi.yaml, as the official host reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

TOOLCHAINS: Final = ("pip", "uv")


class InterpreterError(Exception):
    """The options name no interpreter that can be used."""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python to run programs with."""

    executable: Path
    """Its path; need not exist yet when `virtualenv` is set."""
    virtualenv: Path | None
    """The environment it belongs to, where the options name one; None: the one that runs the sandbox."""
    toolchain: str
    """What installs dependencies into `virtualenv`: `pip` or `uv`."""


def choose(options: Mapping[str, Any], root: Path, own: Path) -> Interpreter:
    """The interpreter for a program whose Pulumi.yaml is in `root`; `own` where the options name none.

    Raises InterpreterError for a toolchain that is not known here.
    """
    toolchain = str(options.get("toolchain") or "pip").lower()
    if toolchain not in TOOLCHAINS:
        raise InterpreterError(
            f"runtime.options.toolchain is {toolchain!r}, not one of {', '.join(TOOLCHAINS)}, which is what "
            "the sandbox's language host knows: make the environment yourself and name it in "
            "runtime.options.virtualenv"
        )
    named = options.get("virtualenv") or (".venv" if toolchain == "uv" else None)
    if not named:
        return Interpreter(own, None, toolchain)
    folder = root / str(named)
    return Interpreter(folder / "bin" / "python", folder, toolchain)


def usable(chosen: Interpreter) -> Interpreter:
    """The same interpreter. Raises InterpreterError where its environment is not there yet."""
    if chosen.virtualenv is not None and not chosen.executable.exists():
        raise InterpreterError(
            f"runtime.options.virtualenv is {chosen.virtualenv}, and there is no {chosen.executable}: run "
            "`pulumi install`, or name an environment that exists"
        )
    return chosen
