"""The tutorial, done as it stands: from an empty folder to an endpoint that is called, changed and gone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pages import Reader, blocks
from pulumi_project import Pulumi

from holdfast_contract import names

pytestmark = pytest.mark.timeout(400)

TUTORIAL = Path(__file__).resolve().parents[3] / "docs" / "tutorial.md"
MUST_BE_SHOWN = 12
"""Blocks with output: a page that shows none would always be right."""


@pytest.fixture
def reader(platform: Any, tmp_path: Path) -> Iterator[Reader]:
    """A newcomer with an empty folder, in a terminal of the sandbox. What they leave is taken away."""
    folder = tmp_path / "empty"
    folder.mkdir()
    environment = {k: v for k, v in platform.sandbox.environment.items() if k != "HOLDFAST_TOKEN"}
    made = Reader(folder, environment, tmp_path / "state")
    try:
        yield made
    finally:
        made.close()
        pulumi, project = Pulumi(environment), folder / "tutorial"
        # Where the page was followed to its end, there is none.
        if "tutorial/dev" in pulumi("stack", "ls", "--all", "--json", cwd=folder).stdout:
            pulumi("destroy", "--yes", "--skip-preview", "--stack", "dev", cwd=project, timeout_s=200)
            pulumi("stack", "rm", "--yes", "--force", "dev", cwd=project)


def test_the_tutorial_leads_from_an_empty_folder_to_an_endpoint_and_back(
    reader: Reader, platform: Any, wait: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    page = TUTORIAL.read_text()
    assert sum(block.language == "text" for block in blocks(page)) >= MUST_BE_SHOWN

    began = time.monotonic()
    done = reader.follow(page)

    with capsys.disabled():
        print(f"\n  the tutorial: {time.monotonic() - began:.1f} s")
        for block, seconds in sorted(done, key=lambda one: -one[1])[:5]:
            print(f"    {seconds:5.1f} s  {block.text.splitlines()[0]}")
    label = f"{names.LABEL_ENDPOINT}=greeter"
    wait("nothing is left of it", lambda: platform.objects(label) == [], timeout_s=60)
