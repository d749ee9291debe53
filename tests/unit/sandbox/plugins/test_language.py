"""Decisions of the language host: which Python, what is installed, what the user is told."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast_sandbox.plugins.language import executor, packages
from holdfast_sandbox.plugins.language.host import OWN, install_commands
from holdfast_sandbox.plugins.language.interpreter import InterpreterError, choose, usable


def test_without_options_it_is_the_interpreter_of_the_sandbox(tmp_path: Path) -> None:
    chosen = choose({}, tmp_path, OWN)
    assert (chosen.executable, chosen.virtualenv) == (OWN, None)
    assert install_commands(chosen, tmp_path, tmp_path) == []


def test_a_virtualenv_is_looked_for_beside_pulumi_yaml(tmp_path: Path) -> None:
    assert choose({"virtualenv": "venv"}, tmp_path, OWN).executable == tmp_path / "venv" / "bin" / "python"
    assert choose({"virtualenv": "/opt/env"}, tmp_path, OWN).executable == Path("/opt/env/bin/python")
    assert choose({"toolchain": "uv"}, tmp_path, OWN).virtualenv == tmp_path / ".venv"


def test_another_toolchain_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(InterpreterError) as raised:
        choose({"toolchain": "poetry"}, tmp_path, OWN)
    assert str(raised.value) == (
        "runtime.options.toolchain is 'poetry', not one of pip, uv, which is what the sandbox's language host "
        "knows: make the environment yourself and name it in runtime.options.virtualenv"
    )


def test_an_environment_that_is_not_there_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(InterpreterError, match="run `pulumi install`, or name an environment that exists"):
        usable(choose({"virtualenv": "venv"}, tmp_path, OWN))


def test_installing_makes_the_environment_and_takes_the_requirements(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("pulumi\n")
    chosen = choose({"virtualenv": "venv"}, tmp_path, OWN)
    make, fill = install_commands(chosen, tmp_path, tmp_path)
    assert make == [OWN, "-m", "venv", tmp_path / "venv"]
    assert fill == [chosen.executable, "-m", "pip", "install", "-r", tmp_path / "requirements.txt"]


def test_plugins_are_those_of_installed_packages_with_their_versions() -> None:
    found = {plugin["name"]: plugin for plugin in packages.installed()["plugins"]}
    assert {"aws", "kubernetes"} <= set(found)
    assert found["kubernetes"]["version"][0].isdigit()


def test_the_list_of_packages_also_works_as_a_script() -> None:
    shown = subprocess.run([sys.executable, packages.__file__], capture_output=True, text=True, check=True)
    names = {one["name"] for one in json.loads(shown.stdout)["dependencies"]}
    assert "pulumi" in names


def _raised_by(folder: Path, program: str) -> str:
    (folder / "__main__.py").write_text(program)
    with pytest.raises(Exception) as raised:  # noqa: PT011 any error of any program
        runpy.run_path(str(folder), run_name="__main__")
    return executor.describe(raised.value, folder)


def test_an_error_is_shown_from_the_users_code_on(tmp_path: Path) -> None:
    text = _raised_by(tmp_path, "def inner():\n    raise ValueError('boom')\n\ninner()\n")
    assert text.startswith("Program failed with an unhandled exception:\nTraceback")
    assert "runpy" not in text
    assert "ValueError: boom" in text


@pytest.mark.parametrize(
    "raising",
    [
        "import pulumi\nraise pulumi.RunError('say this')",
        "class E(Exception):\n    explains_itself = True\nraise E('say this')",
    ],
)
def test_an_error_that_explains_itself_has_no_traceback(tmp_path: Path, raising: str) -> None:
    text = _raised_by(tmp_path, raising)
    assert text.splitlines()[0] == "say this"
    assert text.splitlines()[1].startswith("  declared at __main__.py:")
    assert "Traceback" not in text


def test_a_validation_error_of_a_model_has_no_traceback(tmp_path: Path) -> None:
    text = _raised_by(tmp_path, "import pydantic\nclass M(pydantic.BaseModel):\n    size: int\nM(size='x')\n")
    assert "size" in text
    assert "Traceback" not in text
