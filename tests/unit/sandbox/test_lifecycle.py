"""What `up` asks of a machine and says of a start, and when `status` calls a sandbox up."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast_sandbox import aws, builds, lifecycle, node, preflight, processes, recipes, registry
from holdfast_sandbox.addons import KEDA_DEPLOYMENTS
from holdfast_sandbox.errors import SandboxError
from holdfast_sandbox.paths import Paths
from holdfast_sandbox.progress import Progress

TOOLS = tuple(
    recipes.Recipe(name=name, version="1.2.3", packages=(".",), binaries=((name, name),))
    for name in ("a", "b")
)

FITTING = preflight.Machine(
    system="Linux",
    is_root=True,
    machine="x86_64",
    disk_free_gib=50,
    memory_gib=16,
    built=True,
    taken_ports=(),
    missing_packages=(),
    has_apt=True,
)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """Folders of a sandbox that was never up."""
    return Paths(state=tmp_path / "state", run=tmp_path / "run", cache=tmp_path / "cache")


@pytest.mark.parametrize(
    ("cached", "on_path", "built"),
    [("ab", "", True), ("a", "b", True), ("", "ab", True), ("a", "", False), ("", "b", False)],
)
def test_a_tool_on_path_needs_no_disk_to_be_built(
    cached: str, on_path: str, built: bool, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipes, "SOURCE", paths.cache)
    monkeypatch.setattr(builds, "RECIPES", TOOLS)
    for one in TOOLS:
        one.folder.mkdir(parents=True)
        if one.name in cached:
            (paths.cache / "tools" / one.key()).mkdir(parents=True)
            (paths.cache / "tools" / one.key() / "manifest.json").write_text("{}")
    monkeypatch.setattr(
        builds,
        "_installed",
        lambda one: builds.Built(one, paths.cache) if one.name in on_path else None,
    )
    asked: list[bool] = []

    def look(_: Paths, *, built: bool) -> preflight.Machine:
        asked.append(built)
        raise SandboxError("seen enough")

    monkeypatch.setattr(preflight, "look", look)
    with pytest.raises(SandboxError, match="seen enough"):
        lifecycle.up(paths, Progress(io.StringIO()))

    assert asked == [built]


@pytest.mark.parametrize(
    ("machine", "problem"),
    [
        (replace(FITTING, system="Darwin"), "system is Darwin"),
        (replace(FITTING, is_root=False), "user is not root"),
        (replace(FITTING, disk_free_gib=3.0), "free disk is 3.0 GiB"),
        (replace(FITTING, memory_gib=1.0), "memory is 1.0 GiB"),
        (replace(FITTING, taken_ports=(("127.0.0.1", 5000, "registry", "python3"),)), "port 127.0.0.1:5000"),
        (replace(FITTING, missing_packages=("runc",), has_apt=False), "runc not installed"),
    ],
)
def test_a_machine_that_does_not_fit_is_refused_before_anything_is_changed(
    machine: preflight.Machine, problem: str, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    def changed(*_: object) -> None:
        pytest.fail("something was changed")

    monkeypatch.setattr(preflight, "look", lambda *_, **__: machine)
    for module, name in (
        (preflight, "install"),
        (builds, "ensure"),
        (lifecycle, "_heal"),
        (lifecycle, "_alone"),
    ):
        monkeypatch.setattr(module, name, changed)
    found = sorted(paths.state.parent.iterdir())

    with pytest.raises(SandboxError, match=f"nothing was changed:\n  - {problem}"):
        lifecycle.up(paths, Progress(io.StringIO()))

    assert sorted(paths.state.parent.iterdir()) == found == []


@pytest.mark.parametrize("missing", ["", *KEDA_DEPLOYMENTS])
def test_a_sandbox_without_a_ready_pod_of_keda_is_not_up(
    missing: str, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Cluster:
        """Stands for kubectl: a Ready node, and a Deployment of the user's own that never gets ready."""

        def __init__(self, _: Paths) -> None:
            pass

        def text(self, *words: str) -> str:
            if "node" in words:
                return "True"
            if "pods" in words:
                held = {"state": {"waiting": {"reason": "CrashLoopBackOff"}}}
                pod = {"metadata": {"namespace": "holdfast", "name": "mine"}}
                return json.dumps({"items": [pod | {"status": {"containerStatuses": [held]}}]})
            assert words[:2] == ("-n", "keda")
            return json.dumps(
                {
                    "items": [
                        {
                            "metadata": {"name": name},
                            "status": {} if name == missing else {"availableReplicas": 1},
                        }
                        for name in KEDA_DEPLOYMENTS
                    ]
                }
            )

    monkeypatch.setattr(lifecycle, "Kubectl", Cluster)
    monkeypatch.setattr(node, "name", lambda _: "node")
    monkeypatch.setattr(processes, "running", lambda _: dict.fromkeys(lifecycle.EXPECTED, 7))
    monkeypatch.setattr(processes, "memory_mib", lambda _: 0.0)

    found = lifecycle.status(paths)

    assert (found.up, found.missing) == (not missing, [missing] if missing else [])
    assert [one["pod"] for one in found.waiting] == ["mine"], "told, but a user's endpoint is no part of it"


@pytest.mark.parametrize(
    ("ran_before", "started", "told"),
    [(False, True, False), (True, False, False), (True, True, True)],
)
def test_an_aws_stand_in_that_has_forgotten_says_so(
    ran_before: bool, started: bool, told: bool, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(paths: Paths, name: str, *_: object) -> bool:
        paths.log.mkdir(parents=True, exist_ok=True)
        (paths.log / f"{name}.log").touch()
        return started

    if ran_before:
        start(paths, "aws")
    monkeypatch.setattr(processes, "start", start)
    monkeypatch.setattr(processes, "wait_until", lambda *_: None)
    monkeypatch.setattr(aws, "put_secret", lambda *_: None)
    monkeypatch.setattr(registry, "password", lambda _: "secret")
    said = io.StringIO()

    aws.start(paths, Progress(said))

    words = (
        "the AWS stand-in was started anew and has forgotten all but the sandbox's own secrets: put yours in again; "
        "`pulumi refresh`, then `pulumi up`, brings back what a stack declares of `aws:`"
    )
    assert (words in said.getvalue()) == told
    assert told or not said.getvalue()
