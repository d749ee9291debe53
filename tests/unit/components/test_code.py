"""A folder of code as an endpoint: what preview finds by reading, what is built, and by what."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from pulumi_holdfast import building
from pulumi_holdfast.building import Builder, BuildError, Tool
from pulumi_holdfast.plan.code import plan_code, runtime_folder
from pulumi_holdfast.spec.code import NEEDED, services_in
from pulumi_holdfast.spec.parse import parse_endpoint
from pulumi_holdfast.spec.problems import SpecError
from pulumi_holdfast.spec.template import catalogue

REPOSITORY = "ghcr.io/acme/hello"
GOOD = "from holdfast_runtime import Service\n\nclass Hello(Service):\n    def infer(self, text: str) -> str: ...\n"
HASH = f"    --hash=sha256:{'0' * 64}\n"
LOCK = "".join(f"{name}==1.0 \\\n{HASH}" for name in NEEDED)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that can be served."""
    made = tmp_path / "hello"
    made.mkdir()
    (made / "service.py").write_text(GOOD)
    (made / "requirements.lock").write_text(LOCK)
    return made


def problems(folder: Path, **args: Any) -> list[str]:
    try:
        code = {"path": str(folder), "repository": REPOSITORY}
        parse_endpoint("hello", {"code": code, **args}, catalogue())
    except SpecError as error:
        return [str(problem) for problem in error.problems]
    return []


def test_a_folder_with_one_service_and_a_lock_is_fine(folder: Path) -> None:
    assert problems(folder) == []


def test_the_authors_code_is_read_and_never_imported(folder: Path) -> None:
    (folder / "service.py").write_text("raise SystemExit('imported')\n" + GOOD)
    assert problems(folder) == []


def test_a_folder_that_is_not_there_says_where_it_was_looked_for(tmp_path: Path) -> None:
    (found,) = problems(tmp_path / "nowhere")
    assert "no folder" in found
    assert str(tmp_path / "nowhere") in found
    assert found.endswith("make one with `holdfast init NAME`")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (None, "a folder without service.py: write the service class there"),
        ("class Hello(:", "no Python in service.py, line 1: invalid syntax: mend it"),
        ("class Hello:\n    pass\n", "no class in service.py, and exactly one `Service` is served"),
        (
            GOOD + GOOD.replace("Hello", "Other"),
            "Hello, Other in service.py, and exactly one `Service` is served",
        ),
        (
            "class Hello(Service):\n    pass\n",
            "class Hello has no method `infer`: write `def infer(self, …)`",
        ),
    ],
)
def test_what_cannot_be_served_is_found_at_preview(folder: Path, source: str | None, said: str) -> None:
    (folder / "service.py").unlink()
    if source is not None:
        (folder / "service.py").write_text(source)
    (found,) = problems(folder)
    assert found.startswith('code.path is "')
    assert said in found


def test_a_class_with_another_base_may_have_its_methods_from_there() -> None:
    (found,) = services_in("class Hello(Mixin, holdfast_runtime.Service):\n    concurrency: int = 4\n")
    assert (found.inherits, found.concurrency) == (True, 4)


def test_more_concurrency_than_the_class_allows_is_refused(folder: Path) -> None:
    (found,) = problems(folder, scaling={"concurrency": 4})
    assert found.startswith("scaling.concurrency is 4, above concurrency=1 of class Hello in ")
    (folder / "service.py").write_text(GOOD.replace("    def", "    concurrency = 4\n\n    def"))
    assert problems(folder, scaling={"concurrency": 4}) == []


@pytest.mark.parametrize(
    ("lock", "said"),
    [
        (None, "a folder without requirements.lock"),
        ("numpy==2.0 \\\n    --hash=sha256:00\n", "without pydantic, python-multipart, starlette, uvicorn"),
        (
            "".join(f"{name}==1.0\n" for name in NEEDED),
            "without a hash for pydantic, python-multipart, starlette, uvicorn",
        ),
        # Several hashes of one package, as of its wheels, are none of another's.
        (
            LOCK.replace(f"pydantic==1.0 \\\n{HASH}", "pydantic==1.0\n") + HASH * 3,
            "without a hash for pydantic:",
        ),
    ],
)
def test_a_lock_that_makes_no_image_is_found_at_preview(folder: Path, lock: str | None, said: str) -> None:
    (folder / "requirements.lock").unlink()
    if lock is not None:
        (folder / "requirements.lock").write_text(lock)
    (found,) = problems(folder)
    assert said in found
    assert "uv pip compile requirements.in --generate-hashes -o requirements.lock" in found


@pytest.mark.parametrize(
    ("repository", "said"),
    [
        ("https://ghcr.io/acme/x", "a URL"),
        ("ghcr.io/acme/x:1", "a repository with a tag or digest"),
        ("hello", "not a repository with its registry"),
        ("ghcr.io/Acme/x", "not a repository with its registry"),
    ],
)
def test_a_repository_has_its_registry_and_no_tag(folder: Path, repository: str, said: str) -> None:
    with pytest.raises(SpecError, match=f"code.repository is .*{said}"):
        parse_endpoint("hello", {"code": {"path": str(folder), "repository": repository}}, catalogue())


def test_the_registry_of_code_is_that_of_its_repository(folder: Path) -> None:
    code = {"path": str(folder), "repository": "localhost:5000/x"}
    assert parse_endpoint("hello", {"code": code}, catalogue()).registry == "localhost:5000"


def test_the_tag_follows_from_the_files_alone(folder: Path, tmp_path: Path) -> None:
    first = plan_code(folder)
    for hidden in (".git/config", "__pycache__/a.pyc", ".env", "venv/x"):
        (folder / hidden).parent.mkdir(exist_ok=True)
        (folder / hidden).write_text("x")
    (folder / "service.py").touch()
    assert plan_code(folder).tag == first.tag
    (folder / "more.txt").write_text("x")
    second = plan_code(folder)
    assert second.tag != first.tag
    assert first.tag.startswith("c-")
    (folder / "requirements.lock").write_text(LOCK.replace("1.0", "1.1"))
    assert plan_code(folder).tag not in {first.tag, second.tag}


def test_the_image_has_the_code_the_runtime_and_no_root(folder: Path) -> None:
    files = plan_code(folder).files
    assert "code/service.py" in files
    assert "runtime/holdfast_runtime/app.py" in files
    assert runtime_folder().name == "holdfast_runtime"
    recipe = files["Containerfile"].decode()
    assert "USER 65532:65532" in recipe
    assert "--require-hashes" in recipe
    assert 'LABEL dev.holdfast.health-check-path="/healthcheck"' in recipe


def test_what_is_there_builds_a_program_of_ones_own_first() -> None:
    def which(name: str) -> str | None:
        return f"/bin/{name}"

    assert building.find_builder({"HOLDFAST_BUILDER": "my tool"}, which) == Builder(
        Tool.PROGRAM, ("my", "tool")
    )
    assert building.find_builder({}, which).tool is Tool.BUILDAH
    assert (
        building.find_builder({}, lambda name: "/bin/docker" if name == "docker" else None).tool
        is Tool.DOCKER
    )
    with pytest.raises(BuildError, match="nothing on this machine builds images: install buildah or Docker"):
        building.find_builder({}, lambda name: None)


def test_every_builder_is_told_to_give_every_file_the_same_time() -> None:
    folder, note = Path("/context"), Path("/note")
    build, push = building.steps(
        Builder(Tool.BUILDAH, ("buildah",)), folder, f"{REPOSITORY}:c-1", push=True, note=note
    )
    assert build[:4] == ["buildah", "build", "--timestamp", "0"]
    assert push == [
        "buildah",
        "push",
        "--digestfile",
        "/note",
        f"{REPOSITORY}:c-1",
        f"docker://{REPOSITORY}:c-1",
    ]
    (docker,) = building.steps(
        Builder(Tool.DOCKER, ("docker",)), folder, f"{REPOSITORY}:c-1", push=True, note=note
    )
    assert "SOURCE_DATE_EPOCH=0" in docker
    assert f"type=image,push=true,name={REPOSITORY}:c-1,rewrite-timestamp=true" in docker


PROGRAM = """
import json, sys
from pathlib import Path
store = Path({store!r})
known = json.loads(store.read_text()) if store.exists() else {{}}
if sys.argv[1] == "digest":
    if sys.argv[2] not in known:
        sys.exit(4)
    print(known[sys.argv[2]])
else:
    if "broken" in sys.argv[-1]:
        print("no space left on device")
        sys.exit(1)
    folder = Path(sys.argv[-2])
    print(sorted(str(one.relative_to(folder)) for one in folder.rglob("*.py"))[0])
    known[sys.argv[-1]] = "sha256:" + "1" * 64
    store.write_text(json.dumps(known))
    print(known[sys.argv[-1]])
"""


@pytest.fixture
def program(tmp_path: Path) -> Builder:
    """A program that builds nothing and remembers what it pushed."""
    script = tmp_path / "builder.py"
    script.write_text(PROGRAM.format(store=str(tmp_path / "store.json")))
    return Builder(Tool.PROGRAM, (sys.executable, str(script)))


def test_what_was_pushed_is_found_again_by_its_tag(folder: Path, program: Builder, tmp_path: Path) -> None:
    plan = plan_code(folder)
    assert building.pushed(plan, REPOSITORY, program) is None
    built = building.build(plan, REPOSITORY, push=True, builder=program)
    assert built.reference == f"{REPOSITORY}:{plan.tag}@sha256:{'1' * 64}"
    assert building.pushed(plan, REPOSITORY, program) == built
    assert list(json.loads((tmp_path / "store.json").read_text())) == [f"{REPOSITORY}:{plan.tag}"]


def test_a_builder_that_is_not_there_is_named(folder: Path, tmp_path: Path) -> None:
    missing = Builder(Tool.PROGRAM, (str(tmp_path / "no-such-builder"),))
    with pytest.raises(BuildError, match="no-such-builder cannot be run: No such file or directory"):
        building.pushed(plan_code(folder), REPOSITORY, missing)


def test_a_build_that_fails_shows_the_end_of_what_the_tool_said(folder: Path, program: Builder) -> None:
    with pytest.raises(BuildError, match="ended with 1:\nno space left on device"):
        building.build(plan_code(folder), "ghcr.io/acme/broken", push=True, builder=program)
