"""EC2 security groups and launch templates, and auto scaling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from holdfast_sandbox.plugins.aws.model import Call, Client, Row, Update, Values, pascal
from holdfast_sandbox.plugins.aws.tables.network import EC2_TAGS, arn, described, owner

_EVERYTHING: Final = "-1"


def _permission(rule: Mapping[str, Any], own_id: str) -> dict[str, Any]:
    """One rule as it is written inside a security group."""
    made: dict[str, Any] = {"IpProtocol": str(rule.get("protocol", _EVERYTHING))}
    if made["IpProtocol"] != _EVERYTHING:
        made["FromPort"], made["ToPort"] = int(rule.get("fromPort", 0)), int(rule.get("toPort", 0))
    described = {"Description": rule["description"]} if rule.get("description") else {}
    groups = [*(rule.get("securityGroups") or []), *([own_id] if rule.get("self") else [])]
    if rule.get("sourceSecurityGroupId"):
        groups.append(rule["sourceSecurityGroupId"])
    made["IpRanges"] = [{"CidrIp": cidr, **described} for cidr in rule.get("cidrBlocks") or []]
    made["Ipv6Ranges"] = [{"CidrIpv6": cidr, **described} for cidr in rule.get("ipv6CidrBlocks") or []]
    made["UserIdGroupPairs"] = [{"GroupId": group, **described} for group in groups]
    made["PrefixListIds"] = [{"PrefixListId": one} for one in rule.get("prefixListIds") or []]
    return {name: value for name, value in made.items() if value != []}


def _rules(permissions: list[dict[str, Any]], own_id: str) -> list[dict[str, Any]]:
    """The reverse of `_permission`."""
    listed = []
    for one in permissions:
        groups = [pair["GroupId"] for pair in one.get("UserIdGroupPairs", [])]
        ranges = [*one.get("IpRanges", []), *one.get("Ipv6Ranges", []), *one.get("UserIdGroupPairs", [])]
        listed.append(
            {
                "protocol": one["IpProtocol"],
                "fromPort": one.get("FromPort") if one.get("FromPort") not in (None, -1) else 0,
                "toPort": one.get("ToPort") if one.get("ToPort") not in (None, -1) else 0,
                "cidrBlocks": [entry["CidrIp"] for entry in one.get("IpRanges", [])],
                "ipv6CidrBlocks": [entry["CidrIpv6"] for entry in one.get("Ipv6Ranges", [])],
                "securityGroups": [group for group in groups if group != own_id],
                "self": own_id in groups,
                "description": next((r["Description"] for r in ranges if r.get("Description")), ""),
            }
        )
    return listed


def _create_group(client: Client, values: Values) -> Any:
    more = {"VpcId": values["vpcId"]} if values.get("vpcId") else {}
    made = client.create_security_group(
        GroupName=values["name"], Description=values.get("description", "Managed by Pulumi"), **more
    )
    group = Values(values.properties, made["GroupId"], values.session)
    # AWS lets a new group reach everything; Pulumi's provider takes that away, so that rules are what is declared.
    present = client.describe_security_groups(GroupIds=[group.id])["SecurityGroups"][0]
    if present["IpPermissionsEgress"]:
        client.revoke_security_group_egress(GroupId=group.id, IpPermissions=present["IpPermissionsEgress"])
    _put_rules(client, group)
    return made


def _put_rules(client: Client, values: Values) -> None:
    found = client.describe_security_groups(GroupIds=[values.id])["SecurityGroups"][0]
    for name, field, revoke, authorize in (
        ("ingress", "IpPermissions", "revoke_security_group_ingress", "authorize_security_group_ingress"),
        ("egress", "IpPermissionsEgress", "revoke_security_group_egress", "authorize_security_group_egress"),
    ):
        if values.get(name) is None:
            continue
        if found[field]:
            getattr(client, revoke)(GroupId=values.id, IpPermissions=found[field])
        wanted = [_permission(rule, values.id) for rule in values[name]]
        if wanted:
            getattr(client, authorize)(GroupId=values.id, IpPermissions=wanted)


def _declared(name: str, field: str) -> Any:
    def rules(found: Any, values: Values) -> Any:
        # Rules that are resources of their own are not the group's: only what was declared inside is compared.
        return None if values.get(name) is None else _rules(found[field], values.id)

    return rules


def _rule_call(way: str) -> Call:
    return Call(
        f"authorize_security_group_{way}",
        {
            "GroupId": "securityGroupId",
            "IpPermissions": lambda values: [_single(values)],
        },
    )


def _single(values: Values) -> dict[str, Any]:
    """One rule that is a resource of its own (`aws:vpc/securityGroup…Rule`)."""
    made: dict[str, Any] = {"IpProtocol": str(values["ipProtocol"])}
    if made["IpProtocol"] != _EVERYTHING:
        made["FromPort"], made["ToPort"] = int(values.get("fromPort", 0)), int(values.get("toPort", 0))
    described = {"Description": values["description"]} if values.get("description") else {}
    for name, kind, field in (
        ("cidrIpv4", "IpRanges", "CidrIp"),
        ("cidrIpv6", "Ipv6Ranges", "CidrIpv6"),
        ("referencedSecurityGroupId", "UserIdGroupPairs", "GroupId"),
        ("prefixListId", "PrefixListIds", "PrefixListId"),
    ):
        if values.get(name):
            made[kind] = [{field: values[name], **described}]
    return made


def _single_row(way: str) -> Row:
    return Row(
        token=f"aws:vpc/securityGroup{way.capitalize()}Rule:SecurityGroup{way.capitalize()}Rule",
        service="ec2",
        required=("securityGroupId", "ipProtocol"),
        unique=("securityGroupId",),
        create=_rule_call(way),
        identity="SecurityGroupRules[0].SecurityGroupRuleId",
        read=described("describe_security_group_rules", "SecurityGroupRuleIds"),
        found="SecurityGroupRules[0]",
        outputs={
            "arn": arn("security-group-rule"),
            "securityGroupRuleId": "SecurityGroupRuleId",
            "securityGroupId": "GroupId",
            "ipProtocol": "IpProtocol",
            "fromPort": lambda found, _values: found.get("FromPort") if found.get("FromPort") != -1 else None,
            "toPort": lambda found, _values: found.get("ToPort") if found.get("ToPort") != -1 else None,
            "cidrIpv4": "CidrIpv4",
            "cidrIpv6": "CidrIpv6",
            "referencedSecurityGroupId": "ReferencedGroupInfo.GroupId",
            "description": "Description",
        },
        delete=Call(
            f"revoke_security_group_{way}",
            {"GroupId": "securityGroupId", "SecurityGroupRuleIds": lambda values: [values.id]},
        ),
        tags=EC2_TAGS,
        inputs=("prefixListId",),
    )


def _authorize_rule(client: Client, values: Values) -> None:
    way = values["type"]
    getattr(client, f"authorize_security_group_{way}")(
        GroupId=values["securityGroupId"],
        IpPermissions=[_permission(values.properties, values["securityGroupId"])],
    )


def _revoke_rule(client: Client, values: Values) -> None:
    way = values["type"]
    getattr(client, f"revoke_security_group_{way}")(
        GroupId=values["securityGroupId"],
        IpPermissions=[_permission(values.properties, values["securityGroupId"])],
    )


def _read_rule(client: Client, values: Values) -> Any:
    groups = client.describe_security_groups(GroupIds=[values["securityGroupId"]])["SecurityGroups"]
    field = "IpPermissions" if values["type"] == "ingress" else "IpPermissionsEgress"
    wanted = _permission(values.properties, values["securityGroupId"])
    for one in groups[0][field] if groups else ():
        ports = [one.get(name) for name in ("IpProtocol", "FromPort", "ToPort")]
        if ports == [wanted.get(name) for name in ("IpProtocol", "FromPort", "ToPort")] and _within(
            wanted, one
        ):
            return dict(values.properties)
    return None


def _within(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    for kind, field in (("IpRanges", "CidrIp"), ("Ipv6Ranges", "CidrIpv6"), ("UserIdGroupPairs", "GroupId")):
        have = {entry.get(field) for entry in found.get(kind, [])}
        if not {entry[field] for entry in wanted.get(kind, [])} <= have:
            return False
    return True


_RULE_PROPERTIES: Final = (
    "type",
    "securityGroupId",
    "protocol",
    "fromPort",
    "toPort",
    "cidrBlocks",
    "ipv6CidrBlocks",
    "sourceSecurityGroupId",
    "self",
    "description",
)

_TEMPLATE_NAMES: Final = {"cpuOptions": "CpuOptions"}
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
            data[name[:1].upper() + name[1:]] = _typed(pascal(values[name], _TEMPLATE_NAMES))
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


SECURITY_GROUP: Final = Row(
    token="aws:ec2/securityGroup:SecurityGroup",
    service="ec2",
    name="name",
    name_length=255,
    create=_create_group,
    identity="GroupId",
    read=described("describe_security_groups", "GroupIds"),
    found="SecurityGroups[0]",
    outputs={
        "arn": arn("security-group"),
        "ownerId": owner,
        "name": "GroupName",
        "description": "Description",
        "vpcId": "VpcId",
        "ingress": _declared("ingress", "IpPermissions"),
        "egress": _declared("egress", "IpPermissionsEgress"),
    },
    updates=(Update(("ingress", "egress"), _put_rules),),
    delete=Call("delete_security_group", {"GroupId": "@id"}),
    tags=EC2_TAGS,
    inputs=("namePrefix",),
    local=frozenset({"revokeRulesOnDelete"}),
)

SECURITY_GROUP_RULE: Final = Row(
    token="aws:ec2/securityGroupRule:SecurityGroupRule",
    service="ec2",
    required=("type", "securityGroupId", "protocol", "fromPort", "toPort"),
    unique=("type", "securityGroupId", "protocol", "fromPort", "toPort"),
    create=_authorize_rule,
    identity=lambda _answer, values: (
        f"sgrule-{values['securityGroupId']}-{values['type']}-{values['protocol']}-{values['fromPort']}"
    ),
    read=_read_rule,
    outputs={name: name for name in _RULE_PROPERTIES},
    delete=_revoke_rule,
    inputs=("prefixListIds",),
)

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

ROWS: Final = (
    SECURITY_GROUP,
    SECURITY_GROUP_RULE,
    _single_row("ingress"),
    _single_row("egress"),
    LAUNCH_TEMPLATE,
    SCALING_TAG,
    SCALING_ATTACHMENT,
)
