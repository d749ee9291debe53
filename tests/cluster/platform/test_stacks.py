"""The project's own stack code, worked on as its README says: plain `pulumi` in a terminal, from `stacks/`."""

from __future__ import annotations

import json
import shutil
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pulumi_project import Project, Pulumi

from holdfast_contract import names, tokens

pytestmark = pytest.mark.timeout(400)

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "templates" / "ocr" / "examples"


@pytest.fixture
def endpoint() -> str:
    """The name of `receipts` here: whoever uses this sandbox may have one."""
    return f"receipts-{uuid.uuid4().hex[:5]}"


@pytest.fixture
def stacks(platform: Any, tmp_path: Path, endpoint: str) -> Iterator[Project]:
    """A copy of the project with an endpoint stack of this test's; commands run in its folder `stacks`."""
    folder = tmp_path / "stacks"
    shutil.copy(ROOT / "Pulumi.yaml", tmp_path)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    folder.mkdir()
    for module in (ROOT / "stacks").glob("*.py"):
        shutil.copy(module, folder)
    code = folder / "endpoints.py"
    code.write_text(code.read_text().replace('"receipts"', f'"{endpoint}"'))
    made = Project(folder, Pulumi(dict(platform.sandbox.environment)), stack=f"sandbox-{endpoint}")
    made.run("stack", "init", f"organization/holdfast/{made.stack}")
    try:
        made.run("config", "set", "holdfast:sharedStack", "organization/holdfast/sandbox-shared")
        declared = json.dumps([tokens.declare(platform.token)])
        made.run("config", "set", "--plaintext", "holdfast:tokens", declared)
        yield made
    finally:
        made.run("destroy", "--yes", "--skip-preview", timeout_s=200)
        made.run("stack", "rm", "--yes", "--force")


def test_every_command_of_pulumi_works_from_the_folder_and_the_endpoint_reads_a_receipt(
    stacks: Project, platform: Any, endpoint: str, wait: Any
) -> None:
    steps = {name: step for name, step in stacks.steps().items() if step != "read"}
    assert steps[endpoint] == "create"
    stacks.up()
    assert endpoint in stacks.outputs()["endpoints"]

    picture = EXAMPLES / "receipt.png"
    answer = json.loads(platform.command("holdfast", "infer", endpoint, "-d", f"@{picture}"))

    assert answer["text"] == json.loads((EXAMPLES / "receipt.answer.json").read_text())["text"]
    (pod,) = platform.pods(endpoint)
    ran = {one["name"]: one["imageID"] for one in pod["status"]["containerStatuses"]}
    assert ran[names.MODEL_CONTAINER] == platform.template
    stacks.run("refresh", "--yes", "--skip-preview")
    stacks.expect_no_changes()
    kept = f"{endpoint}-from-before"
    platform.sandbox.kubectl.run("create", "configmap", kept, "-n", names.ENDPOINTS_NAMESPACE)
    place = f"{names.ENDPOINTS_NAMESPACE}/{kept}"
    flags = ("--yes", "--generate-code=false", "--protect=false")
    stacks.run("import", "kubernetes:core/v1:ConfigMap", kept, place, *flags)
    assert stacks.resource(kept)["id"] == place
    assert stacks.steps()[kept] == "delete"

    stacks.run("destroy", "--yes", "--skip-preview", timeout_s=200)

    label = f"{names.LABEL_ENDPOINT}={endpoint}"
    wait("nothing is left of it", lambda: platform.objects(label) == [], timeout_s=60)
    assert kept not in platform.sandbox.kubectl.run("get", "configmaps", "-n", names.ENDPOINTS_NAMESPACE)
