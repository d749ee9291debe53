"""From an empty folder to an answer of one's own code: the guide, as it stands, on a real cluster."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pulumi_project import Project, Pulumi, new_project

from holdfast_contract import names, tokens
from holdfast_sandbox import codeimages
from pulumi_holdfast import building
from pulumi_holdfast.plan.code import plan_code

pytestmark = pytest.mark.timeout(400)

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "guides" / "your-own-code.md"
BLOCK = re.compile(r"^```sh run\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ENOUGH_S = 60.0
"""What an author may wait, from `holdfast init` to the first answer, on a sandbox that is up."""
PROJECT = f"""name: shop
main: stacks/
runtime: {{name: python, options: {{virtualenv: {sys.prefix}}}}}
"""
PROGRAM = """
import endpoints
import pulumi_holdfast as holdfast

endpoints.declare(
    holdfast.Platform.from_stack("organization/holdfast/sandbox-shared", tokens=[TOKEN])
)
"""
STACK_CODE = """import pulumi_holdfast as holdfast


def declare(platform: holdfast.Platform) -> None:
    pass
"""


@dataclass
class Author:
    """A terminal of the sandbox, in a project with stack code and nothing declared."""

    project: Project
    sandbox: Any
    token: str
    """Opens what the program declares."""
    seconds: list[float] = field(default_factory=list)
    """How long each command took."""

    def run(self, text: str) -> str:
        """One block of the guide; fails the test with its output."""
        began = time.monotonic()
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self.project.folder,
            env={**self.sandbox.environment, "HOLDFAST_TOKEN": self.token},
            capture_output=True,
            text=True,
            timeout=180,
        )
        self.seconds.append(time.monotonic() - began)
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def image(self) -> str:
        containers = self.project.resource("hello-deployment")["inputs"]["spec"]["template"]["spec"][
            "containers"
        ]
        return str(containers[0]["image"])


@pytest.fixture
def author(platform: Any, tmp_path: Path) -> Iterator[Author]:
    """The author's project; its stack is destroyed at the end."""
    project = new_project(tmp_path / "own", Pulumi(dict(platform.sandbox.environment)), stack="sandbox")
    (project.folder / "Pulumi.yaml").write_text(PROJECT)
    stacks = project.folder / "stacks"
    stacks.mkdir()
    (stacks / "endpoints.py").write_text(STACK_CODE)
    (stacks / "__main__.py").write_text(PROGRAM.replace("TOKEN", repr(tokens.declare(platform.token))))
    project.run("config", "set", "kubernetes:enableConfigMapMutable", "true")
    try:
        yield Author(project, platform.sandbox, platform.token)
    finally:
        project.run("destroy", "--yes", "--skip-preview", timeout_s=200)
        project.run("stack", "rm", "--yes", "--force")


def test_the_guide_leads_from_nothing_to_an_answer_in_three_commands_within_a_minute(
    author: Author, platform: Any, wait: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    init, up, infer, change, again, build = BLOCK.findall(GUIDE.read_text())
    assert all(text.strip().count("\n") == 0 for text in (init, up, infer)), "three commands"

    author.run(init)
    author.run(up)
    answer = author.run(infer)

    assert json.loads(answer) == {"greeting": "Hello, Ada! Hello, Ada!"}
    first = author.image()
    with capsys.disabled():
        parts = ", ".join(f"{one:.1f}" for one in author.seconds)
        print(f"\n  from nothing to an answer: {sum(author.seconds):.1f} s (init, up, infer: {parts})")
    assert sum(author.seconds) <= ENOUGH_S
    assert re.fullmatch(
        r"registry\.holdfast\.local:5000/holdfast/hello:c-[0-9a-f]{16}@sha256:[0-9a-f]{64}", first
    )
    # Reading the shared stack's outputs is no change.
    assert {step for step in author.project.steps().values() if step != "read"} == set()
    author.project.expect_no_changes()
    assert author.image() == first

    wrong = platform.call("hello", "/infer", content=b'{"nam": "Ada"}')
    assert wrong.status == 422
    assert 'nam is "Ada", no parameter of this route: did you mean name?' in wrong.json["detail"]

    assert plan_code(author.project.folder / "hello").tag in first
    author.run(change)
    moin = {"greeting": "Moin, Ada! Moin, Ada!"}
    wait("the changed code answers", lambda: json.loads(author.run(again)) == moin, timeout_s=90)
    assert author.run(build).strip() == author.image() != first

    pod = platform.pods("hello")[0]
    model = next(one for one in pod["spec"]["containers"] if one["name"] == names.MODEL_CONTAINER)
    assert model["securityContext"]["readOnlyRootFilesystem"]


def test_the_same_files_built_anew_give_the_same_digest(
    author: Author, capsys: pytest.CaptureFixture[str]
) -> None:
    author.run("holdfast init hello --stacks stacks/endpoints.py")
    service = author.project.folder / "hello" / "service.py"
    # Code that no build has seen, so that none of its steps comes from a cache of another test's.
    service.write_text(f"# {time.time_ns()}\n{service.read_text()}")
    first = author.run("holdfast build hello --push").strip()
    service.touch()
    paths = author.sandbox.paths
    plan = plan_code(author.project.folder / "hello")
    folder = author.project.folder / "context"
    building.write(plan, folder)

    began = time.monotonic()
    digest = codeimages.build(paths, folder, first.partition("@")[0], push=True, fresh=True)
    with capsys.disabled():
        print(f"\n  a build without any cache: {time.monotonic() - began:.1f} s")

    assert first.endswith(f"@{digest}")
