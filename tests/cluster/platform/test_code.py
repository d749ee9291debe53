"""From an empty folder to an answer of one's own code: the guide, as it stands, on a real cluster."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from authoring import Author
from pages import blocks

from holdfast_contract import names
from holdfast_sandbox import codeimages
from pulumi_holdfast import building
from pulumi_holdfast.plan.code import plan_code

pytestmark = pytest.mark.timeout(400)

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "guides" / "your-own-code.md"
ENOUGH_S = 60.0
"""What an author may wait, from `holdfast init` to the first answer, on a sandbox that is up."""


def test_the_guide_leads_from_nothing_to_an_answer_in_three_commands_within_a_minute(
    author: Author, platform: Any, wait: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    init, up, infer, change, again, build = (
        one.text for one in blocks(GUIDE.read_text()) if one.mark == "run"
    )
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
