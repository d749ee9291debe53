"""A platform on AWS declared beside a program of a test, and what it could leave behind in the stand-in."""

from __future__ import annotations

import json
from typing import Any

from aws_args import aws_args

RECORDS = "holdfast-stand-in-records"
"""Where the stand-in writes down what it cannot do."""


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
