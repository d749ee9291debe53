"""EC2 launch templates, and auto scaling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from holdfast_sandbox.plugins.aws.model import Call, Client, Row, Update, Values, pascal
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
    "tagSpecifications",
)


def _template_data(values: Values) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for name in _TEMPLATE_FIELDS:
        if values.get(name) is not None:
            data[name[:1].upper() + name[1:]] = _typed(pascal(values[name]))
    if values.get("vpcSecurityGroupIds"):
        data["SecurityGroupIds"] = values["vpcSecurityGroupIds"]
    if values.get("iamInstanceProfile"):
        data["IamInstanceProfile"] = pascal(values["iamInstanceProfile"])
    if values.get("userData"):
        data["UserData"] = values["userData"]
    for one in data.get("TagSpecifications", []):
        one["Tags"] = [{"Key": key, "Value": value} for key, value in one.get("Tags", {}).items()]
    return data


def _typed(value: Any) -> Any:
    """Booleans that Pulumi's schema has as text (`"true"`)."""
    if isinstance(value, Mapping):
        return {name: _typed(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_typed(item) for item in value]
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


def _new_template_version(client: Client, values: Values) -> None:
    made = client.create_launch_template_version(
        LaunchTemplateId=values.id, LaunchTemplateData=_template_data(values)
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


_PUT_SCALING_TAG: Final = Call(
    "create_or_update_tags",
    {
        "Tags": lambda values: [
            {
                "ResourceId": values["autoscalingGroupName"],
                "ResourceType": "auto-scaling-group",
                "Key": values["tag"]["key"],
                "Value": values["tag"]["value"],
                "PropagateAtLaunch": bool(values["tag"].get("propagateAtLaunch")),
            }
        ]
    },
)


def _read_attachment(client: Client, values: Values) -> Any:
    groups = client.describe_auto_scaling_groups(AutoScalingGroupNames=[values["autoscalingGroupName"]])
    for group in groups["AutoScalingGroups"]:
        if values["lbTargetGroupArn"] in group.get("TargetGroupARNs", []):
            return {"group": group["AutoScalingGroupName"], "arn": values["lbTargetGroupArn"]}
    return None


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
            (*_TEMPLATE_FIELDS, "vpcSecurityGroupIds", "iamInstanceProfile", "userData", "description"),
            _new_template_version,
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
    unsure=frozenset({"latestVersion", "defaultVersion"}),
)

SCALING_TAG: Final = Row(
    token="aws:autoscaling/tag:Tag",
    service="autoscaling",
    required=("autoscalingGroupName", "tag"),
    create=_PUT_SCALING_TAG,
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
    updates=(Update(("tag",), _PUT_SCALING_TAG),),
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
