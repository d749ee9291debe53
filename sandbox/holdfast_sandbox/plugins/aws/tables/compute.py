"""EC2 launch templates, and auto scaling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from holdfast_sandbox.plugins.aws.model import Call, Client, Row, Update, Values, pascal
from holdfast_sandbox.plugins.aws.session import ProviderError
from holdfast_sandbox.plugins.aws.tables.ec2 import EC2_TAGS, arn, described

_TEMPLATE_FIELDS: Final = (
    "imageId",
    "instanceType",
    "keyName",
    "ebsOptimized",
    "blockDeviceMappings",
    "metadataOptions",
    "monitoring",
    "networkInterfaces",
    "capacityReservationSpecification",
    "instanceMarketOptions",
    "placement",
)
_TEXT_BOOLEANS: Final = frozenset(
    {
        "ebsOptimized",
        "deleteOnTermination",
        "encrypted",
        "associatePublicIpAddress",
        "associateCarrierIpAddress",
    }
)
"""Booleans that Pulumi's schema has as text (`"true"`)."""


def _template_data(values: Values) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for name in _TEMPLATE_FIELDS:
        if values.get(name) is not None:
            data[name[:1].upper() + name[1:]] = pascal(
                _typed({name: values[name]})[name], {"securityGroups": "Groups"}
            )
    if values.get("vpcSecurityGroupIds"):
        data["SecurityGroupIds"] = values["vpcSecurityGroupIds"]
    if values.get("iamInstanceProfile"):
        data["IamInstanceProfile"] = pascal(values["iamInstanceProfile"])
    if values.get("userData"):
        data["UserData"] = values["userData"]
    if values.get("tagSpecifications"):
        data["TagSpecifications"] = [
            {
                "ResourceType": one["resourceType"],
                "Tags": [{"Key": key, "Value": value} for key, value in one.get("tags", {}).items()],
            }
            for one in values["tagSpecifications"]
        ]
    return data


def _typed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            name: {"true": True, "false": False}.get(item, item) if name in _TEXT_BOOLEANS else _typed(item)
            for name, item in value.items()
        }
    return [_typed(item) for item in value] if isinstance(value, list) else value


def _new_template_version(client: Client, values: Values) -> None:
    described = {"VersionDescription": values["description"]} if values.get("description") else {}
    made = client.create_launch_template_version(
        LaunchTemplateId=values.id, LaunchTemplateData=_template_data(values), **described
    )["LaunchTemplateVersion"]
    if values.get("updateDefaultVersion"):
        client.modify_launch_template(LaunchTemplateId=values.id, DefaultVersion=str(made["VersionNumber"]))


def _scaling_tag(values: Values) -> tuple[str, str]:
    """A tag's id is `<group>,<key>`."""
    group, _, key = values.id.partition(",")
    return group, key


def _read_scaling_tag(client: Client, values: Values) -> Any:
    group, key = _scaling_tag(values)
    filters = [{"Name": "auto-scaling-group", "Values": [group]}, {"Name": "key", "Values": [key]}]
    for tag in client.describe_tags(Filters=filters)["Tags"]:
        if tag["ResourceId"] == group and tag["Key"] == key:
            return tag
    return None


def _put_scaling_tag(client: Client, values: Values) -> None:
    tag = {
        "ResourceId": values["autoscalingGroupName"],
        "ResourceType": "auto-scaling-group",
        "Key": values["tag"]["key"],
        "Value": values["tag"]["value"],
        "PropagateAtLaunch": bool(values["tag"].get("propagateAtLaunch")),
    }
    client.create_or_update_tags(Tags=[tag])


def _read_attachment(client: Client, values: Values) -> Any:
    groups = client.describe_auto_scaling_groups(AutoScalingGroupNames=[values["autoscalingGroupName"]])
    for group in groups["AutoScalingGroups"]:
        if values["lbTargetGroupArn"] in group.get("TargetGroupARNs", []):
            return {"group": group["AutoScalingGroupName"], "arn": values["lbTargetGroupArn"]}
    return None


def _change_scaling_tag(client: Client, values: Values) -> None:
    group, key = _scaling_tag(values)
    if values["tag"]["key"] != key:
        raise ProviderError(
            f"the sandbox cannot give the tag {key} of the auto scaling group {group} another key: `pulumi up "
            "--replace` makes a new tag and removes the old one"
        )
    _put_scaling_tag(client, values)


LAUNCH_TEMPLATE: Final = Row(
    token="aws:ec2/launchTemplate:LaunchTemplate",
    service="ec2",
    name="name",
    name_length=128,
    create=Call(
        "create_launch_template",
        {
            "LaunchTemplateName": "name",
            "VersionDescription": "description",
            "LaunchTemplateData": _template_data,
        },
    ),
    identity="LaunchTemplate.LaunchTemplateId",
    read=described("describe_launch_templates", "LaunchTemplateIds"),
    found="LaunchTemplates[0]",
    outputs={
        "arn": arn("launch-template"),
        "name": "LaunchTemplateName",
        "defaultVersion": "DefaultVersionNumber",
        "latestVersion": "LatestVersionNumber",
    },
    updates=(
        Update(
            (
                *_TEMPLATE_FIELDS,
                "tagSpecifications",
                "vpcSecurityGroupIds",
                "iamInstanceProfile",
                "userData",
                "description",
            ),
            _new_template_version,
        ),
        Update(
            ("defaultVersion",),
            Call(
                "modify_launch_template",
                {"LaunchTemplateId": "@id", "DefaultVersion": lambda values: str(values["defaultVersion"])},
            ),
        ),
    ),
    delete=Call("delete_launch_template", {"LaunchTemplateId": "@id"}),
    tags=replace(
        EC2_TAGS,
        # Moto's descriptions of launch templates have no tags.
        read=Call("describe_tags", {"Filters": lambda v: [{"Name": "resource-id", "Values": [v.id]}]}),
    ),
    inputs=("namePrefix",),
    local=frozenset({"updateDefaultVersion"}),
    computed=frozenset({"defaultVersion"}),
    unsure=frozenset({"latestVersion", "defaultVersion"}),
)

SCALING_TAG: Final = Row(
    token="aws:autoscaling/tag:Tag",
    service="autoscaling",
    required=("autoscalingGroupName", "tag"),
    create=_put_scaling_tag,
    identity=lambda _answer, values: f"{values['autoscalingGroupName']},{values['tag']['key']}",
    read=_read_scaling_tag,
    outputs={
        "autoscalingGroupName": "ResourceId",
        "tag": lambda found, _values: {
            "key": found["Key"],
            "value": found["Value"],
            "propagateAtLaunch": found["PropagateAtLaunch"],
        },
    },
    updates=(Update(("tag",), _change_scaling_tag),),
    delete=Call(
        "delete_tags",
        {
            "Tags": lambda values: [
                {
                    "ResourceId": _scaling_tag(values)[0],
                    "ResourceType": "auto-scaling-group",
                    "Key": _scaling_tag(values)[1],
                }
            ]
        },
    ),
)

SCALING_ATTACHMENT: Final = Row(
    token="aws:autoscaling/attachment:Attachment",
    service="autoscaling",
    required=("autoscalingGroupName", "lbTargetGroupArn"),
    create=Call(
        "attach_load_balancer_target_groups",
        {
            "AutoScalingGroupName": "autoscalingGroupName",
            "TargetGroupARNs": lambda values: [values["lbTargetGroupArn"]],
        },
    ),
    identity=lambda _answer, values: f"{values['autoscalingGroupName']}/{values['lbTargetGroupArn']}",
    read=_read_attachment,
    outputs={"autoscalingGroupName": "group", "lbTargetGroupArn": "arn"},
    delete=Call(
        "detach_load_balancer_target_groups",
        {
            "AutoScalingGroupName": "autoscalingGroupName",
            "TargetGroupARNs": lambda values: [values["lbTargetGroupArn"]],
        },
    ),
)

ROWS: Final = (LAUNCH_TEMPLATE, SCALING_TAG, SCALING_ATTACHMENT)
