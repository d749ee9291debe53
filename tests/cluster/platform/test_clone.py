"""From a template to an answer: a clone, and two commands."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from authoring import Author

pytestmark = pytest.mark.timeout(400)

TEMPLATE = Path(__file__).resolve().parents[3] / "templates" / "embeddings" / "template.yaml"


def test_a_clone_answers_after_two_commands(
    author: Author, platform: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    example = yaml.safe_load(TEMPLATE.read_text())["examples"][0]
    body = shlex.quote(json.dumps(example["body_json"]))

    author.run("holdfast clone embeddings --name similar --yes")
    author.run("pulumi up --yes -s sandbox")
    answer = json.loads(author.run(f"holdfast infer similar -d {body}"))

    with capsys.disabled():
        parts = ", ".join(f"{one:.1f}" for one in author.seconds)
        print(f"\n  from a template to an answer: {sum(author.seconds):.1f} s (clone, up, infer: {parts})")
    assert len(author.seconds) == 3, "an edit and two commands"
    assert answer["data"][0]["embedding"]
    assert '"template": "embeddings"' in (author.project.folder / "stacks" / "endpoints.py").read_text()
    assert {step for step in author.project.steps().values() if step != "read"} == set()
