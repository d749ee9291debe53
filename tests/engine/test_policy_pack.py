"""Policy packs under the sandbox's language host: each runs in an environment of its own."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from holdfast_sandbox.paths import default_paths

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


@pytest.fixture(scope="session")
def policy_environment() -> Path:
    """An environment with pulumi-policy, which wants another protobuf than the rest; cached by its lock."""
    lock = PACK / "requirements.lock"
    key = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = default_paths().cache / "policy" / key
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        uv = Path(sys.executable).with_name("uv")
        subprocess.run(
            [
                uv,
                "pip",
                "install",
                "--quiet",
                "--require-hashes",
                "--python",
                folder / "bin" / "python",
                "-r",
                lock,
            ],
            check=True,
        )
        (folder / "complete").touch()
    return folder


@pytest.fixture
def pack(policy_environment: Path, tmp_path: Path) -> Path:
    """The pack of `tests/support/policy_pack`, naming its environment as a pack does."""
    folder = tmp_path / "pack"
    shutil.copytree(PACK, folder)
    (folder / "PulumiPolicy.yaml").write_text(
        f"runtime:\n  name: python\n  options:\n    virtualenv: {policy_environment}\n"
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
