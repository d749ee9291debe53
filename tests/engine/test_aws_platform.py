"""The component of a platform on AWS, under the real engine and the AWS stand-in's provider."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from aws_args import aws_args

PROGRAM = Path(__file__).parent / "programs" / "aws_platform.py"
POOLS = {
    "l4": {"kind": "managed", "instance_types": ["g6.xlarge", "g5.xlarge"]},
    "many": {"kind": "karpenter", "instance_types": ["g6.xlarge"], "ami_alias": "al2023@v20251120"},
    "auto": {"kind": "auto", "instance_types": ["g6e.xlarge"], "warm_spare": 1},
}
RECORDS = "holdfast-stand-in-records"
"""Where the stand-in writes down what it cannot do."""
pytestmark = pytest.mark.timeout(500)


@pytest.fixture
def platform(project: Any, aws: Any) -> Any:
    """A project with one platform; not yet brought up."""
    project.write(PROGRAM.read_text())
    return project


def declare(platform: Any, aws: Any, **changes: Any) -> None:
    """Write what is declared. The hosted zone is somebody else's, made before the stack."""
    zones = aws.client("route53").list_hosted_zones()["HostedZones"]
    zone = zones[0]["Id"] if zones else _zone(aws)
    ingress = {"domain": "gpu.example.com", "zone_id": zone.rpartition("/")[2], **changes.pop("ingress", {})}
    args = aws_args(ingress=ingress, **changes)
    (platform.folder / "platform.json").write_text(json.dumps(args))


def _zone(aws: Any) -> str:
    made = aws.client("route53").create_hosted_zone(Name="example.com", CallerReference="test")
    return str(made["HostedZone"]["Id"])


def leftovers(aws: Any) -> dict[str, Any]:
    """Whatever a platform could leave behind."""
    ec2, records = aws.client("ec2"), aws.client("route53")
    custom = [{"Name": "is-default", "Values": ["false"]}]
    zone = records.list_hosted_zones()["HostedZones"][0]["Id"]
    found = {
        "vpcs": ec2.describe_vpcs(Filters=custom)["Vpcs"],
        "addresses": ec2.describe_addresses()["Addresses"],
        "launch templates": ec2.describe_launch_templates()["LaunchTemplates"],
        "clusters": aws.client("eks").list_clusters()["clusters"],
        "scaling groups": aws.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"],
        "load balancers": aws.client("elbv2").describe_load_balancers()["LoadBalancers"],
        "target groups": aws.client("elbv2").describe_target_groups()["TargetGroups"],
        "certificates": aws.client("acm").list_certificates()["CertificateSummaryList"],
        "buckets": [one for one in aws.client("s3").list_buckets()["Buckets"] if one["Name"] != RECORDS],
        "recorded only": aws.client("s3").list_objects_v2(Bucket=RECORDS).get("Contents", []),
        "log groups": aws.client("logs").describe_log_groups()["logGroups"],
        "roles": [
            one for one in aws.client("iam").list_roles()["Roles"] if one["RoleName"].startswith("gpu-")
        ],
        "profiles": aws.client("iam").list_instance_profiles()["InstanceProfiles"],
        "queues": aws.client("sqs").list_queues().get("QueueUrls", []),
        "rules": aws.client("events").list_rules()["Rules"],
        "records": [
            one
            for one in records.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
            if one["Type"] not in ("NS", "SOA")
        ],
    }
    return {kind: things for kind, things in found.items() if things}


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
