"""`Endpoint(code=…)` under the real engine: a preview builds nothing, an update once, unchanged code is no diff."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest
from pulumi_project import Project

from holdfast_cli.main import main
from pulumi_holdfast.plan.code import plan_code

# Seven runs of the engine in one test: on a busy machine they take longer than the usual limit.
pytestmark = pytest.mark.timeout(300)

BUILDER = """
import json, sys
from pathlib import Path
store, log = Path(__file__).with_name("store.json"), Path(__file__).with_name("log")
known = json.loads(store.read_text()) if store.exists() else {}
with log.open("a") as file:
    print(sys.argv[1], file=file)
if sys.argv[1] == "build":
    known[sys.argv[-1]] = "sha256:" + f"{len(known) + 1:064x}"
    store.write_text(json.dumps(known))
if sys.argv[-1] not in known:
    sys.exit(4)
print(known[sys.argv[-1]])
"""
PROGRAM = """
import pulumi_holdfast as holdfast
from pulumi_holdfast.plan.identities import worker_key

platform = holdfast.Platform.from_contract(
    holdfast.PlatformContract(
        base_url="http://gateway", nats_url="nats://n", scaler_address="s:1", worker_image="w:1"
    ),
    key=worker_key("a broker's secret that only tests know"),
)
holdfast.Endpoint(
    "hello", {"platform": platform, "code": {"path": "hello", "repository": "registry.example.com/team/hello"}}
)
"""


class Coded:
    """A project with an endpoint from code, and a builder that writes down what it is asked."""

    def __init__(self, project: Project, tools: Path) -> None:
        self.project = project
        self.folder = project.folder / "hello"
        self._log = tools / "log"
        script = tools / "builder.py"
        script.write_text(BUILDER)
        project.environment["HOLDFAST_BUILDER"] = shlex.join([sys.executable, str(script)])
        project.environment["XDG_CACHE_HOME"] = str(tools)
        assert main(["init", "hello", "--folder", str(self.folder)]) == 0
        project.run("config", "set", "kubernetes:renderYamlToDirectory", str(tools / "rendered"))
        project.run("config", "set", "kubernetes:enableConfigMapMutable", "true")
        project.write(PROGRAM)

    def asked(self) -> list[str]:
        return self._log.read_text().split() if self._log.exists() else []

    def image(self) -> str:
        containers = self.project.resource("hello-deployment")["inputs"]["spec"]["template"]["spec"][
            "containers"
        ]
        return str(containers[0]["image"])


@pytest.fixture
def coded(project: Project, tmp_path: Path) -> Coded:
    tools = tmp_path / "tools"
    tools.mkdir()
    return Coded(project, tools)


def test_code_is_built_once_pinned_and_built_again_only_when_it_changes(coded: Coded) -> None:
    tag = plan_code(coded.folder).tag

    preview = coded.project.preview()
    assert f"`pulumi up` builds and pushes registry.example.com/team/hello:{tag}" in preview
    assert set(coded.asked()) == {"digest"}

    coded.project.up()
    assert coded.asked().count("build") == 1
    assert coded.image() == f"registry.example.com/team/hello:{tag}@sha256:{1:064x}"

    assert coded.project.steps() == {}
    coded.project.expect_no_changes()
    assert coded.asked().count("build") == 1

    service = coded.folder / "service.py"
    service.write_text(service.read_text().replace('"Hello"', '"Moin"'))
    assert coded.project.steps() == {"hello-document": "update", "hello-deployment": "update"}
    coded.project.up()
    assert coded.image() == f"registry.example.com/team/hello:{plan_code(coded.folder).tag}@sha256:{2:064x}"


def test_what_cannot_be_served_stops_the_preview_with_the_remedy(coded: Coded) -> None:
    (coded.folder / "service.py").write_text("class Hello(Service):\n    pass\n")
    done = coded.project.attempt("preview")
    assert done.returncode != 0
    assert (
        'code.path is "hello", class Hello has no method `infer`: write `def infer(self, …)`' in done.stdout
    )


def test_without_a_builder_the_preview_warns_and_the_update_stops(coded: Coded, tmp_path: Path) -> None:
    del coded.project.environment["HOLDFAST_BUILDER"]
    tools = [part for part in coded.project.pulumi.environment["PATH"].split(":") if "/usr" not in part]
    coded.project.environment["PATH"] = ":".join([tools[0], tools[1]])
    said = "nothing on this machine builds images: install buildah or Docker with buildx"
    preview = coded.project.preview()
    assert f"`pulumi up` on this machine would fail: {said}" in preview
    done = coded.project.attempt("up", "--yes", "--skip-preview")
    assert done.returncode != 0
    assert said in done.stdout
    assert "Traceback" not in done.stdout


def test_the_record_of_what_was_pushed_holds_references_and_digests_alone(
    coded: Coded, tmp_path: Path
) -> None:
    coded.project.up()
    found = json.loads((tmp_path / "tools" / "holdfast" / "pushed-code.json").read_text())
    assert list(found.values()) == [f"sha256:{1:064x}"]
