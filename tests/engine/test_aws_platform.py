"""The component of a platform on AWS, under the real engine and the AWS stand-in's provider."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from aws_project import declare, leftovers

PROGRAM = Path(__file__).parent / "programs" / "aws_platform.py"
POOLS = {
    "l4": {"kind": "managed", "instance_types": ["g6.xlarge", "g5.xlarge"]},
    "many": {"kind": "karpenter", "instance_types": ["g6.xlarge"], "ami_alias": "al2023@v20251120"},
    "auto": {"kind": "auto", "instance_types": ["g6e.xlarge"], "warm_spare": 1},
}
pytestmark = pytest.mark.timeout(500)


@pytest.fixture
def platform(project: Any, aws: Any) -> Any:
    """A project with one platform; not yet brought up."""
    project.write(PROGRAM.read_text())
    return project


def test_a_platform_comes_up_stays_and_leaves_nothing(platform: Any, aws: Any) -> None:
    declare(platform, aws, pools=POOLS)
    assert set(platform.steps().values()) == {"create"}
    platform.run("up", "--yes", "--skip-preview", timeout_s=300)
    outputs = platform.outputs()
    assert json.loads(outputs["kubeconfig"])["clusters"][0]["cluster"]["server"].startswith("https://")
    balancers = aws.client("elbv2")
    shown = balancers.describe_load_balancer_attributes(LoadBalancerArn=outputs["balancer"])["Attributes"]
    assert {"Key": "idle_timeout.timeout_seconds", "Value": "930"} in shown
    groups = aws.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    attached = [group for group in groups if group["TargetGroupARNs"]]
    assert len(attached) == 1
    tags = {tag["Key"]: tag["Value"] for group in groups for tag in group["Tags"]}
    assert tags["k8s.io/cluster-autoscaler/node-template/resources/nvidia.com/gpu"] == "1"
    events = aws.client("events")
    (target,) = events.list_targets_by_rule(Rule="gpu-interruptions-spot")["Targets"]
    assert target["Arn"].endswith(":gpu-us-east-1-interruptions")
    platform.run("up", "--yes", "--skip-preview", "--refresh", "--expect-no-changes", timeout_s=200)

    declare(platform, aws, pools=POOLS, ingress={"max_request_s": 1800})
    assert platform.steps() == {"gpu-balancer": "update"}

    platform.run("destroy", "--yes", "--skip-preview", timeout_s=300)
    keys = aws.client("kms")
    states = [keys.describe_key(KeyId=one["KeyId"])["KeyMetadata"] for one in keys.list_keys()["Keys"]]
    assert {state["KeyState"] for state in states if state["KeyManager"] == "CUSTOMER"} == {"PendingDeletion"}
    assert leftovers(aws) == {}
