"""Policy packs under the sandbox's language host: each runs in an environment of its own."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from locked_environment import locked_environment

PACK = Path(__file__).resolve().parents[1] / "support" / "policy_pack"
pytestmark = pytest.mark.timeout(400)

UNOWNED = """
    import pulumi_aws as aws
    aws.ecr.Repository("models")
    """
OWNED = """
    import pulumi_aws as aws
    aws.ecr.Repository("models", tags={"owner": "search"})
    """


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """The pack of `tests/support/policy_pack`, naming its environment as a pack does."""
    folder = tmp_path / "pack"
    shutil.copytree(PACK, folder)
    environment = locked_environment(PACK / "requirements.lock")
    (folder / "PulumiPolicy.yaml").write_text(
        f"runtime:\n  name: python\n  options:\n    virtualenv: {environment}\n"
    )
    return folder


def test_a_mandatory_rule_fails_the_preview_and_an_advisory_one_is_shown(
    project: Any, aws: Any, pack: Path
) -> None:
    project.write(UNOWNED)
    done = project.attempt("preview", "--policy-pack", str(pack))
    assert done.returncode != 0
    assert "tags.owner is missing: name the team that answers for this repository" in done.stdout
    assert "imageScanningConfiguration is missing: turn scanning on" in done.stdout
    assert aws.client("ecr").describe_repositories()["repositories"] == []


def test_what_keeps_the_rules_goes_through(project: Any, aws: Any, pack: Path) -> None:
    project.write(OWNED)
    shown = project.up("--policy-pack", str(pack))
    assert "imageScanningConfiguration is missing: turn scanning on" in shown
    assert len(aws.client("ecr").describe_repositories()["repositories"]) == 1


def test_a_pack_that_cannot_start_is_told(project: Any, aws: Any, pack: Path) -> None:
    (pack / "__main__.py").write_text("import no_such_module\n")
    project.write(OWNED)
    done = project.attempt("preview", "--policy-pack", str(pack))
    assert done.returncode != 0
    assert "No module named 'no_such_module'" in done.stdout
