"""`holdfast init`, `serve` and `build`: from nothing to a service of one's own."""

from __future__ import annotations

import ast
import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast_cli.commands import serve
from holdfast_cli.exits import Exit
from pulumi_holdfast.spec.code import CodeSpec, problems_of

STACK = """import pulumi_holdfast as holdfast


def declare(platform: holdfast.Platform) -> None:
    pass
"""
Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with stack code, and no registry in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in ("HOLDFAST_REGISTRY", "HOLDFAST_REGISTRY_SECRET", "HOLDFAST_BUILDER"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks" / "endpoints.py").write_text(STACK)
    return tmp_path


def test_init_writes_what_preview_accepts_and_says_what_is_next(holdfast: Run, here: Path) -> None:
    done = holdfast("init", "hello")
    assert "next: holdfast serve hello" in done.err
    assert {file.name for file in (here / "hello").iterdir()} == {
        ".gitignore",
        "README.md",
        "request.json",
        "requirements.in",
        "requirements.lock",
        "service.py",
    }
    assert list(problems_of(CodeSpec(path="hello", repository="ghcr.io/acme/hello"), 1)) == []
    assert "class Hello(Service):" in (here / "hello" / "service.py").read_text()
    readme = (here / "hello" / "README.md").read_text()
    assert '"code": {"path": "hello", "repository": "registry.example.com/team/hello"}' in readme


def test_init_adds_the_endpoint_to_the_stack_code_as_seen_from_there(
    holdfast: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDFAST_REGISTRY", "ghcr.io/acme")
    monkeypatch.setenv("HOLDFAST_REGISTRY_SECRET", "acme/ghcr")
    holdfast("init", "two-words", "--stacks", "stacks/endpoints.py")
    text = (here / "stacks" / "endpoints.py").read_text()
    ast.parse(text)
    assert '"code": {"path": "../two-words", "repository": "ghcr.io/acme/two-words"}' in text
    assert '"registry_credentials": {"secret": "acme/ghcr"}' in text
    assert "pass" not in text
    assert "class TwoWords(Service):" in (here / "two-words" / "service.py").read_text()


def test_init_overwrites_nothing(holdfast: Run, here: Path) -> None:
    (here / "hello").mkdir()
    (here / "hello" / "mine.py").write_text("mine")
    done = holdfast("init", "hello", expect=Exit.EXISTS)
    assert "hello is there and not empty; nothing was written" in done.err
    assert [file.name for file in (here / "hello").iterdir()] == ["mine.py"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["init", "Hello"], "NAME is 'Hello', not a DNS label"),
        (["init", "hello", "--stacks", "stacks/endpoints.py"], "nothing says where the image goes"),
        (["init", "hello", "--repository", "r.io/x", "--stacks", "other.py"], "other.py cannot be read"),
    ],
)
def test_init_writes_nothing_where_something_is_wrong(
    holdfast: Run, here: Path, words: list[str], said: str
) -> None:
    done = holdfast(*words, expect=Exit.USAGE)
    assert said in done.err
    assert not (here / "hello").exists()
    assert (here / "stacks" / "endpoints.py").read_text() == STACK


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["init", "hello", "--repository", "r.io/x", "--stacks", "other.py"], "--stacks"),
        (["clone", "ocr", "--name", "mine", "--yes", "--file", "other.py"], "--file"),
    ],
)
def test_stack_code_that_cannot_be_read_is_named_with_the_option_that_names_another(
    holdfast: Run, here: Path, words: list[str], option: str
) -> None:
    said = holdfast(*words, expect=Exit.USAGE).err
    assert "other.py cannot be read: No such file or directory; nothing was changed" in said
    assert f"run it from the project's folder, or say with {option} where endpoints are declared" in said
    assert not (here / "other.py").exists()


def test_init_leaves_no_folder_where_the_name_is_declared_already(holdfast: Run, here: Path) -> None:
    words = ["init", "hello", "--repository", "r.io/x", "--stacks", "stacks/endpoints.py"]
    holdfast(*words)
    holdfast(*words, "--folder", "again", expect=Exit.EXISTS)
    assert not (here / "again").exists()


def test_build_tells_everything_that_would_stop_it(holdfast: Run, here: Path) -> None:
    (here / "hello").mkdir()
    (here / "hello" / "service.py").write_text("class Hello(Service):\n    pass\n")
    done = holdfast("build", "hello", expect=Exit.USAGE)
    assert "class Hello has no method `infer`" in done.err
    assert "a folder without requirements.lock" in done.err


def test_build_without_a_builder_says_what_to_install(
    holdfast: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holdfast("init", "hello")
    monkeypatch.setenv("PATH", str(here))
    done = holdfast("build", "hello", expect=Exit.FAILED)
    assert "nothing on this machine builds images: install buildah or Docker with buildx" in done.err


def test_build_prints_the_reference_with_the_digest_of_what_it_pushed(
    holdfast: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holdfast("init", "hello")
    script = here / "builder.py"
    script.write_text("import sys; print(sys.argv); print('sha256:' + '2' * 64)")
    monkeypatch.setenv("HOLDFAST_BUILDER", shlex.join([sys.executable, str(script)]))
    monkeypatch.setenv("HOLDFAST_REGISTRY", "ghcr.io/acme")
    done = holdfast("build", "hello", "--push", "--json")
    found = json.loads(done.out)
    assert found["digest"] == "sha256:" + "2" * 64
    assert found["reference"].startswith("ghcr.io/acme/hello:c-")
    assert holdfast("build", "hello").out.startswith("ghcr.io/acme/hello:c-")


def test_build_does_not_push_to_nowhere(holdfast: Run, here: Path) -> None:
    holdfast("init", "hello")
    done = holdfast("build", "hello", "--push", expect=Exit.USAGE)
    assert "nothing says where to push" in done.err


def test_serve_wants_a_service(holdfast: Run, here: Path) -> None:
    done = holdfast("serve", "nowhere", expect=Exit.NOT_FOUND)
    assert "make a folder with `holdfast init NAME`" in done.err


def test_serve_prints_the_test_request_as_curl(holdfast: Run, here: Path) -> None:
    holdfast("init", "hello")
    lines = serve.requests_to_try(Path("hello"), 8123)
    assert (
        "curl http://127.0.0.1:8123/ -H 'content-type: application/json' -d @hello/request.json" in lines[1]
    )


def test_a_change_is_one_of_a_file_that_matters(holdfast: Run, here: Path) -> None:
    holdfast("init", "hello")
    before = serve.stamps(Path("hello"))
    for ignored in ("__pycache__/a.pyc", ".git/x"):
        (here / "hello" / ignored).parent.mkdir()
        (here / "hello" / ignored).write_text("x")
    assert serve.stamps(Path("hello")) == before
    (here / "hello" / "service.py").write_text("other")
    assert serve.stamps(Path("hello")) != before
