"""The catalogue of templates, and cloning one into stack code."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast_cli import stackcode
from holdfast_cli.errors import CommandError
from holdfast_cli.exits import Exit

Run = Callable[..., Any]
CODE = '''"""Endpoints."""

import pulumi_holdfast as holdfast


def declare(platform: holdfast.Platform) -> None:
    """All of them."""
    # a comment that must stay
    holdfast.Endpoint("receipts", {"platform": platform, "template": "ocr"})


def other() -> None: ...
'''
ADDED = """    holdfast.Endpoint(
        "papers",
        {
            "platform": platform,
            "template": "ocr",
        },
    )
"""


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stack code where the command looks for it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stacks").mkdir()
    path = tmp_path / "stacks" / "endpoints.py"
    path.write_text(CODE)
    path.chmod(0o640)
    return path


def test_a_clone_adds_lines_and_changes_no_other(holdfast: Run, stack: Path) -> None:
    done = holdfast("clone", "ocr", "--name", "papers", "--yes")
    line = '    holdfast.Endpoint("receipts", {"platform": platform, "template": "ocr"})\n'
    assert stack.read_text() == CODE.replace(line, line + ADDED)
    assert '+        "papers",' in done.out
    assert "next: pulumi preview" in done.err
    assert stat.S_IMODE(stack.stat().st_mode) == 0o640
    assert [file.name for file in stack.parent.iterdir()] == ["endpoints.py"]


def test_options_become_arguments(holdfast: Run, stack: Path) -> None:
    holdfast(
        "clone", "ocr", "--name", "a", "-y", "--max-replicas", "4", "--registry-secret", "sandbox/registry"
    )
    assert '"scaling": {"max_replicas": 4},' in stack.read_text()
    assert '"registry_credentials": {"secret": "sandbox/registry"},' in stack.read_text()


def test_a_dry_run_shows_and_changes_nothing(holdfast: Run, stack: Path) -> None:
    assert '+        "papers",' in holdfast("clone", "ocr", "--name", "papers", "--dry-run").out
    assert stack.read_text() == CODE


def test_a_name_that_is_taken_is_refused(holdfast: Run, stack: Path) -> None:
    done = holdfast("clone", "ocr", "--name", "receipts", "--yes", expect=Exit.EXISTS)
    assert "stacks/endpoints.py declares an endpoint 'receipts' already; nothing was changed" in done.err
    assert stack.read_text() == CODE


def test_without_a_terminal_it_wants_yes(holdfast: Run, stack: Path) -> None:
    assert "give --yes" in holdfast("clone", "ocr", "--name", "papers", expect=Exit.USAGE).err
    assert stack.read_text() == CODE


@pytest.mark.parametrize("name", ["Upper", "9lives", "a" * 41, "a_b", "-a", ""])
def test_a_name_that_no_endpoint_can_have_is_refused(name: str, holdfast: Run, stack: Path) -> None:
    done = holdfast("clone", "ocr", f"--name={name}", "--yes", expect=Exit.USAGE)
    assert "not a DNS label of at most 40 characters" in done.err


def test_an_unknown_template_names_the_nearest(holdfast: Run, stack: Path) -> None:
    done = holdfast("clone", "orc", "--name", "papers", expect=Exit.NOT_FOUND)
    assert "no template 'orc'" in done.err
    assert "did you mean ocr?" in done.err


def test_a_missing_file_says_where_to_run_it(
    holdfast: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert (
        "run it from the project's folder" in holdfast("clone", "ocr", "--name", "a", expect=Exit.USAGE).err
    )


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (
            "import pulumi_holdfast\ndef declare(p):\n  pass\n",
            'import pulumi_holdfast\ndef declare(p):\n  pulumi_holdfast.Endpoint(\n      "x",\n',
        ),
        (
            "from pulumi_holdfast import Endpoint\ndef declare(p):\n    a = 1\n    return a\n",
            "    a = 1\n    Endpoint(\n",
        ),
        (
            "import pulumi_holdfast as hf\ndef declare(p):\n    if p:\n        f()\n# end\n",
            "        f()\n    hf.Endpoint(\n",
        ),
    ],
)
def test_the_lines_go_to_the_end_of_the_function_whatever_its_style(code: str, expected: str) -> None:
    made = stackcode.with_endpoint(stackcode.read("s.py", code), "x", {"template": "t"})
    assert expected in made
    assert '"platform": p,' in made


@pytest.mark.parametrize(
    "code",
    [
        CODE.replace("\n", "\r\n"),
        CODE.replace("import", "\f\nimport", 1),
        CODE.replace("comment", "comment\u2028of two parts"),
        CODE.replace('    holdfast.Endpoint("receipts"', '    pass  # none yet: "'),
        CODE.rstrip("\n"),
    ],
    ids=[
        "line ends of Windows",
        "a form feed",
        "a line separator",
        "a pass with a comment",
        "no last line end",
    ],
)
def test_a_clone_keeps_every_character_that_was_there(code: str, holdfast: Run, stack: Path) -> None:
    stack.write_text(code, encoding="utf-8", newline="")
    holdfast("clone", "ocr", "--name", "papers", "--yes")
    made = stack.read_bytes().decode()
    added = ADDED.replace("\n", "\r\n") if "\r\n" in code else ADDED
    assert added in made
    kept, after = made.split(added)
    assert kept.rstrip().splitlines()[-1] == code[: code.index("def other")].rstrip().splitlines()[-1]
    assert (kept + after).rstrip("\n") == code.rstrip("\n")


def test_stack_code_that_is_not_utf_8_is_left_alone(holdfast: Run, stack: Path) -> None:
    stack.write_bytes(b"# caf\xe9\n")
    done = holdfast("clone", "ocr", "--name", "papers", "--yes", expect=Exit.USAGE)
    assert "endpoints.py is not UTF-8 text; nothing was changed\n  next: save it as UTF-8" in done.err


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def declare(p:\n", "s.py, line 1"),
        ("import os\n", "has no `import pulumi_holdfast` or no function `declare"),
        ("import pulumi_holdfast\ndef declare(): ...\n", "or no function `declare"),
        (
            "import pulumi_holdfast\ndef declare(p): pass\n",
            "line 2: `declare` ends with a statement that shares",
        ),
    ],
)
def test_code_of_another_shape_is_left_alone(code: str, message: str) -> None:
    with pytest.raises(CommandError) as caught:
        stackcode.read("s.py", code)
    assert message in caught.value.message
    assert caught.value.remedy


def test_templates_are_listed_and_described(holdfast: Run) -> None:
    assert "ocr" in [line.split()[0] for line in holdfast("templates").out.splitlines()]
    assert {"name", "version", "input_path"} <= set(json.loads(holdfast("templates", "--json").out)[0])
    assert "holdfast clone ocr --name NAME" in holdfast("templates", "ocr").err
    assert json.loads(holdfast("templates", "ocr", "--json").out)["name"] == "ocr"


# --- the cluster ----------------------------------------------------------------------------------------------
