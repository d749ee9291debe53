"""Launch templates, scaling tags, node groups, and what is only recorded."""

from __future__ import annotations

from typing import Any

import pytest
from aws_in_process import Aws, Refused
from botocore.exceptions import ClientError

TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
TAG = "aws:autoscaling/tag:Tag"
CLUSTER = "aws:eks/cluster:Cluster"
NODE_GROUP = "aws:eks/nodeGroup:NodeGroup"
ADDON = "aws:eks/addon:Addon"
ROLE = "arn:aws:iam::123456789012:role/nodes"


def _versions(aws: Aws, identity: str) -> list[dict[str, Any]]:
    found = aws.client("ec2").describe_launch_template_versions(LaunchTemplateId=identity)
    return sorted(found["LaunchTemplateVersions"], key=lambda one: one["VersionNumber"])


def test_the_tags_of_a_launch_template_keep_their_spelling(aws: Aws) -> None:
    template = aws.create(
        TEMPLATE,
        name="nodes",
        ebsOptimized="true",
        blockDeviceMappings=[{"deviceName": "/dev/sda1", "ebs": {"encrypted": "true", "volumeSize": 20}}],
        tagSpecifications=[{"resourceType": "instance", "tags": {"team": "true"}}],
    )
    data = _versions(aws, template.id)[0]["LaunchTemplateData"]
    assert data["TagSpecifications"] == [
        {"ResourceType": "instance", "Tags": [{"Key": "team", "Value": "true"}]}
    ]
    assert data["EbsOptimized"] is True
    assert data["BlockDeviceMappings"][0]["Ebs"]["Encrypted"] is True


def test_a_changed_description_and_default_version_reach_the_launch_template(aws: Aws) -> None:
    template = aws.create(TEMPLATE, name="nodes", instanceType="t3.small", description="first")
    template.update(description="second")
    assert [one.get("VersionDescription") for one in _versions(aws, template.id)] == ["first", "second"]
    assert template.update(defaultVersion=2)["defaultVersion"] == 2
    assert not template.diff().diffs


def _nodes(aws: Aws) -> Any:
    vpc = aws.client("ec2").create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = aws.client("ec2").create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/20")["Subnet"]["SubnetId"]
    aws.client("eks").create_cluster(name="c", roleArn=ROLE, resourcesVpcConfig={"subnetIds": [subnet]})
    return aws.create_only(
        NODE_GROUP,
        clusterName="c",
        nodeGroupName="n",
        nodeRoleArn=ROLE,
        subnetIds=[subnet],
        scalingConfig={"minSize": 0, "maxSize": 2, "desiredSize": 0},
    )


def test_a_node_group_leaves_nothing_behind(aws: Aws) -> None:
    nodes = _nodes(aws)
    scaling = aws.client("autoscaling")
    assert scaling.describe_launch_configurations()["LaunchConfigurations"]
    nodes.delete()
    assert not scaling.describe_auto_scaling_groups()["AutoScalingGroups"]
    assert not scaling.describe_launch_configurations()["LaunchConfigurations"]


def test_a_node_group_whose_scaling_group_is_refused_does_not_stay(aws: Aws) -> None:
    refusal = ClientError({"Error": {"Code": "LimitExceeded", "Message": "no"}}, "CreateAutoScalingGroup")
    aws.session.failing["create_auto_scaling_group"] = refusal
    with pytest.raises(Refused, match="CreateAutoScalingGroup was refused: LimitExceeded: no"):
        _nodes(aws)
    assert not aws.client("eks").list_nodegroups(clusterName="c")["nodegroups"]
    assert not aws.client("autoscaling").describe_launch_configurations()["LaunchConfigurations"]


def test_a_cluster_is_not_replaced_because_its_encryption_is_declared(aws: Aws) -> None:
    vpc = aws.client("ec2").create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = aws.client("ec2").create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/20")["Subnet"]["SubnetId"]
    cluster = aws.create(CLUSTER, name="c", roleArn=ROLE, vpcConfig={"subnetIds": [subnet]})
    encryption = {"resources": ["secrets"], "provider": {"keyArn": "arn:aws:kms:us-east-1:1:key/k"}}
    with pytest.raises(Refused, match="cannot change the encryption of the cluster c: "):
        cluster.update(encryptionConfig=encryption)


def test_the_key_of_a_scaling_tag_is_not_changed_under_its_old_id(aws: Aws) -> None:
    group = _nodes(aws).state.plain["resources"][0]["autoscalingGroups"][0]["name"]
    tag = aws.create(
        TAG, autoscalingGroupName=group, tag={"key": "a", "value": "1", "propagateAtLaunch": True}
    )
    tag.update(tag={"key": "a", "value": "2", "propagateAtLaunch": True})
    with pytest.raises(Refused, match=r"cannot give the tag a of the auto scaling group .* another key"):
        tag.update(tag={"key": "b", "value": "2", "propagateAtLaunch": True})
    found = aws.client("autoscaling").describe_tags()["Tags"]
    assert [(one["Key"], one["Value"]) for one in found if one["ResourceId"] == group] == [("a", "2")]


def test_addons_are_recorded_in_every_region(aws: Aws) -> None:
    for number, region in enumerate(("eu-west-1", "eu-central-1", "us-east-1", "eu-west-1")):
        addon = aws.create(ADDON, clusterName="c", addonName=f"a{number}", region=region)
        addon.delete()
        assert not addon.refresh()
