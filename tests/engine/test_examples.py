"""The examples for platform teams, each previewed by the real engine without an account and without a cluster."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pulumi_project import Project, Pulumi

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
MAX_LINES = 60
NOWHERE = "http://127.0.0.1:9"
"""A port that nothing listens on: whoever asks AWS fails."""
BROKER_SECRET = "hush-31bc-never-in-plain-text-anywhere"
SHARED = {"servicesImage": "ghcr.io/acme/services:1", "baseUrl": "https://gpu.acme.example"}
pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def copy(pulumi: Pulumi, tmp_path: Path) -> Any:
    """Copies an example and makes its stack, with neither an account nor a cluster."""

    def copied(example: str, settings: Mapping[str, str], *, secret: bool = True) -> Project:
        folder = tmp_path / example.replace("/", "-")
        shutil.copytree(EXAMPLES / example, folder, ignore=shutil.ignore_patterns("__pycache__"))
        nothing = {"AWS_ENDPOINT_URL": NOWHERE, "KUBECONFIG": str(folder / "none")}
        made = Project(folder, pulumi, nothing)
        made.run("stack", "init", "dev")
        for key, value in settings.items():
            made.run("config", "set", "--plaintext", key, value)
        if secret:
            made.run("config", "set", "--secret", "brokerSecret", BROKER_SECRET)
        return made

    return copied


def previewed(project: Project) -> dict[str, dict[str, Any]]:
    """What a preview would make, by name; everything is new and the secret is not shown."""
    output = project.run("preview", "--json", timeout_s=200)
    assert BROKER_SECRET not in output
    steps = json.loads(output[output.index("{") :])["steps"]
    assert {step["op"] for step in steps} <= {"create", "read"}
    return {step["urn"].rpartition("::")[2]: step["newState"] for step in steps}


def namespaces(made: Mapping[str, dict[str, Any]]) -> set[str]:
    """Where the objects of a cluster would be."""
    inputs = [state["inputs"] for state in made.values() if state["type"].startswith("kubernetes:")]
    return {str(one["metadata"]["namespace"]) for one in inputs if "namespace" in one.get("metadata", {})}


def test_every_program_is_short_and_every_example_says_what_one_sees() -> None:
    programs = sorted(EXAMPLES.rglob("__main__.py"))
    assert len(programs) == 6
    for program in programs:
        assert len(program.read_text().splitlines()) < MAX_LINES
    table = (EXAMPLES / "README.md").read_text()
    for folder in (path for path in EXAMPLES.iterdir() if path.is_dir()):
        assert f"[{folder.name}]({folder.name})" in table
        assert "preview shows" in (folder / "README.md").read_text()


def test_a_small_stack_is_a_platform_and_one_endpoint(copy: Any) -> None:
    made = previewed(copy("small", SHARED))
    assert made["holdfast"]["type"] == "holdfast:index:SharedStack"
    cost = made["chat"]["inputs"]["declared"]["cost"]
    assert cost["floor_usd_month"] == 0
    assert cost["ceiling_usd_month"] == pytest.approx(2 * 734.38, abs=0.02)


def test_each_team_sees_its_own_endpoints_on_the_platform_of_another_stack(copy: Any, tmp_path: Path) -> None:
    rendered = {"kubernetes:renderYamlToDirectory": str(tmp_path / "rendered")}
    copy("multi-team/platform", {**SHARED, **rendered}).up()
    reads = {"platformStack": "organization/gpu-platform/dev", **rendered}
    found = {}
    for team in ("search", "documents"):
        made = previewed(copy(f"multi-team/{team}", reads, secret=False))
        endpoints = [name for name, one in made.items() if one["type"] == "holdfast:index:Endpoint"]
        assert all(name.startswith(f"{team}-") for name in endpoints)
        assert not [one for one in made.values() if one["type"] == "holdfast:index:SharedStack"]
        found[team] = sorted(endpoints)
    assert found == {
        "search": ["search-embeddings"],
        "documents": ["documents-layout", "documents-layout-next"],
    }


def test_an_existing_cluster_gets_objects_in_two_namespaces_of_ours_and_no_chart(copy: Any) -> None:
    made = previewed(copy("existing-cluster", {"context": "acme-gpu", **SHARED}))
    assert namespaces(made) == {"gpu-platform", "gpu-endpoints"}
    kinds = {state["type"] for state in made.values()}
    assert not [kind for kind in kinds if "helm.sh" in kind or kind.startswith("aws:")]
    assert "kubernetes:monitoring.coreos.com/v1:PrometheusRule" in kinds
    (claim,) = made["holdfast-nats"]["inputs"]["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["storageClassName"] == "fast-ssd"
    assert made["transcribe"]["inputs"]["declared"].get("cost") is None
    pod = made["transcribe-deployment"]["inputs"]["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"acme.example/pool": "gpu"}


def test_an_air_gapped_platform_takes_every_image_and_chart_from_its_mirror(copy: Any) -> None:
    made = previewed(copy("air-gapped", {}))
    kinds = [state["type"] for state in made.values()]
    assert "aws:ec2/natGateway:NatGateway" not in kinds
    assert "aws:ec2/eip:Eip" not in kinds
    services = [one["inputs"] for one in made.values() if one["type"] == "aws:ec2/vpcEndpoint:VpcEndpoint"]
    assert len([one for one in services if one.get("vpcEndpointType") == "Interface"]) == 7
    charts = [one["inputs"] for one in made.values() if one["type"] == "kubernetes:helm.sh/v3:Release"]
    assert {one["name"] for one in charts} == {"keda", "external-secrets"}
    mirror = "123456789012.dkr.ecr.us-east-1.amazonaws.com/"
    assert all(one["chart"].startswith(f"oci://{mirror}charts/") for one in charts)
    objects = [one["inputs"] for one in made.values() if one["type"].startswith("kubernetes:apps/")]
    images = re.findall(r'"image": "([^"]+)"', json.dumps(objects))
    assert len(images) >= 4
    assert [image for image in images if not image.startswith(mirror)] == []
    assert made["gpu-balancer"]["inputs"]["internal"] is True
