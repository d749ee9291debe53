"""A whole EKS platform under the real engine and the AWS stand-in's provider."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).parent / "programs" / "eks_platform.py"
pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def platform(project: Any, aws: Any) -> Any:
    """A project that declares network, cluster, nodes, ingress and names; not yet brought up."""
    project.write(PROGRAM.read_text())
    return project


def test_an_eks_platform_comes_up_stays_changes_and_goes(platform: Any, aws: Any) -> None:
    steps = platform.steps()
    assert set(steps.values()) == {"create"}
    shown = platform.up()
    assert "aws:eks/addon:Addon is only recorded" in shown
    outputs = platform.outputs()
    assert outputs["endpoint"].startswith("https://")
    group = aws.client("autoscaling").describe_auto_scaling_groups(
        AutoScalingGroupNames=[outputs["scaling_group"]]
    )["AutoScalingGroups"][0]
    assert group["TargetGroupARNs"] == [outputs["targets"]]
    platform.expect_no_changes()
    platform.run("refresh", "--yes", "--skip-preview", "--expect-no-changes")

    _change_in_place(platform, aws, outputs)

    platform.run("destroy", "--yes", "--skip-preview")
    assert aws.client("eks").list_clusters()["clusters"] == []
    vpcs = aws.client("ec2").describe_vpcs(Filters=[{"Name": "is-default", "Values": ["false"]}])["Vpcs"]
    assert vpcs == []
    assert aws.client("elbv2").describe_load_balancers()["LoadBalancers"] == []
    assert aws.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"] == []


def _change_in_place(platform: Any, aws: Any, outputs: dict[str, Any]) -> None:
    """Settings and tags change without replacing anything."""
    for name, value in (
        ("idle_timeout", "900"),
        ("max_nodes", "8"),
        ("retention", "90"),
        ("second_port", "true"),
        ("project", "renamed"),
    ):
        platform.run("config", "set", name, value)
    assert set(platform.steps().values()) == {"update"}
    platform.up()
    attributes = aws.client("elbv2").describe_load_balancer_attributes(LoadBalancerArn=outputs["balancer"])
    assert {"Key": "idle_timeout.timeout_seconds", "Value": "900"} in attributes["Attributes"]
    groups = aws.client("ec2").describe_security_groups(GroupIds=[outputs["balancer_group"]])
    ports = {rule["FromPort"] for rule in groups["SecurityGroups"][0]["IpPermissions"]}
    assert ports == {443, 8443}
    assert aws.client("eks").describe_cluster(name="main")["cluster"]["tags"] == {"project": "renamed"}
    platform.expect_no_changes()


def test_what_the_stand_in_cannot_do_is_an_error_and_not_silence(platform: Any, aws: Any) -> None:
    platform.up()
    platform.run("config", "set", "version", "1.34")
    done = platform.attempt("up", "--yes", "--skip-preview")
    assert done.returncode != 0
    assert "the AWS stand-in cannot change the version of the cluster main" in done.stdout
