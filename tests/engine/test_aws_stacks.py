"""The project's own program on AWS: both layers, previewed without an account and without a cluster."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pulumi_project import Project, Pulumi

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "stacks" / "prod-shared.example.yaml"
BROKER_SECRET = "hush-77aa-never-in-plain-text-anywhere"
NOWHERE = "http://127.0.0.1:9"
"""A port that nothing listens on: whoever asks AWS fails."""
pytestmark = pytest.mark.timeout(300)


def layer(folder: Path, pulumi: Pulumi) -> Project:
    """The shared layer with the example's configuration, and neither an account nor a cluster."""
    skipped = shutil.ignore_patterns("Pulumi.*", "__pycache__")
    shutil.copytree(ROOT / "stacks", folder / "stacks", ignore=skipped)
    shutil.copy(ROOT / "Pulumi.yaml", folder)
    shutil.copy(EXAMPLE, folder / "stacks" / "Pulumi.prod-shared.yaml")
    (folder / ".venv").symlink_to(ROOT / ".venv")
    nothing = {"AWS_ENDPOINT_URL": NOWHERE, "KUBECONFIG": str(folder / "none")}
    project = Project(folder, pulumi, {"PULUMI_STACK": "prod-shared", **nothing})
    project.run("stack", "init", "organization/holdfast/prod-shared")
    project.run("config", "set", "--secret", "holdfast:brokerSecret", BROKER_SECRET)
    return project


@pytest.fixture(scope="module")
def made(
    make_pulumi: Callable[[Path], Pulumi], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    """Every resource that a preview of a new platform would make, by name: its type, inputs and outputs."""
    folder = tmp_path_factory.mktemp("aws")
    project = layer(folder / "checkout", make_pulumi(folder / "state"))
    output = project.run("preview", "--json", timeout_s=200)
    steps = json.loads(output[output.index("{") :])["steps"]
    assert {step["op"] for step in steps} == {"create"}
    assert BROKER_SECRET not in output
    return {step["urn"].rpartition("::")[2]: step["newState"] for step in steps}


def test_a_platform_on_aws_is_previewed_without_an_account_and_without_a_cluster(
    made: dict[str, dict[str, Any]],
) -> None:
    assert made["holdfast-cluster"]["type"] == "aws:eks/cluster:Cluster"
    assert made["holdfast-pool-l4"]["inputs"]["instanceTypes"] == ["g6.xlarge", "g6.2xlarge"]
    assert made["holdfast-balancer"]["inputs"]["idleTimeout"] == 930
    releases = {
        state["inputs"]["name"]: state["inputs"]["version"]
        for state in made.values()
        if state["type"] == "kubernetes:helm.sh/v3:Release"
    }
    assert releases == {
        "keda": "2.20.2",
        "external-secrets": "2.11.0",
        "device-plugin": "0.20.0",
        "cluster-autoscaler": "9.56.0",
        "karpenter": "1.14.1",
    }
    assert made["holdfast-addons-nodes-a10g-spot"]["inputs"]["kind"] == "NodePool"
    assert made["holdfast-addons-spare-a10g-spot"]["inputs"]["spec"]["replicas"] == 1
    (claim,) = made["holdfast-nats"]["inputs"]["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["storageClassName"] == "holdfast-gp3"
    service = made["holdfast-gateway-service"]["inputs"]["spec"]
    assert (service["type"], service["externalTrafficPolicy"]) == ("NodePort", "Local")
    assert service["ports"][0]["nodePort"] == 30080


def test_add_ons_come_after_identities_and_the_shared_stack_after_add_ons(
    made: dict[str, dict[str, Any]],
) -> None:
    def waits(provider: str) -> set[str]:
        return {urn.rpartition("::")[2] for urn in made[provider]["dependencies"]}

    assert {"holdfast-external-secrets-role-pods", "holdfast-system"} <= waits("cluster")
    assert {"holdfast-addons-keda", "holdfast-addons-external-secrets"} <= waits("cluster-ready")
    used = {
        name: state["provider"].split("::")[3]
        for name, state in made.items()
        if state["type"].startswith("kubernetes:")
    }
    assert {found for name, found in used.items() if name.startswith("holdfast-addons-")} == {"cluster"}
    shared = {found for name, found in used.items() if not name.startswith("holdfast-addons-")}
    assert shared == {"cluster-ready"}
    assert len(used) > 30


def test_large_bodies_go_into_the_bucket_that_the_gateway_may_enter(made: dict[str, dict[str, Any]]) -> None:
    (gateway,) = made["holdfast-gateway"]["inputs"]["spec"]["template"]["spec"]["containers"]
    env = {one["name"]: one.get("value") for one in gateway["env"]}
    bucket = made["holdfast-bodies"]["inputs"]["bucket"]
    assert env["HOLDFAST_BODIES_BUCKET"] == bucket
    policy = made["holdfast-gateway-role-policy"]["inputs"]["policy"]
    assert f"arn:aws:s3:::{bucket}/bodies/*" in policy


def test_a_wrong_setting_of_the_platform_is_told_as_it_stands(pulumi: Pulumi, tmp_path: Path) -> None:
    shared = layer(tmp_path / "checkout", pulumi)
    file = shared.folder / "stacks" / "Pulumi.prod-shared.yaml"
    settings = yaml.safe_load(file.read_text())
    settings["config"]["holdfast:aws"]["pools"]["l4"]["warm_spare"] = 9
    settings["config"]["holdfast:aws"]["ingress"]["kind"] = "nlb"
    file.write_text(yaml.safe_dump(settings))
    done = shared.attempt("preview")
    assert done.returncode != 0
    assert "pools.l4.warm_spare is 9, above max_nodes=8: lower it or raise max_nodes" in done.stdout
    assert "longest idle timeout of 350 s" in done.stdout
    assert "Traceback" not in done.stdout
