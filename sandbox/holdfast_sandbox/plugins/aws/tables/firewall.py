"""EC2 security groups and their rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from holdfast_sandbox.plugins.aws.model import Call, Client, Row, Update, Values
from holdfast_sandbox.plugins.aws.tables.ec2 import EC2_TAGS, arn, described, owner

_EVERYTHING: Final = "-1"
_SOURCES: Final = {
    "IpRanges": "CidrIp",
    "Ipv6Ranges": "CidrIpv6",
    "UserIdGroupPairs": "GroupId",
    "PrefixListIds": "PrefixListId",
}
"""Where a permission lists what it lets in or out, and the field that says which."""


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
                "prefixListIds": [entry["PrefixListId"] for entry in one.get("PrefixListIds", [])],
                "securityGroups": [group for group in groups if group != own_id],
                "self": own_id in groups,
                "description": next((r["Description"] for r in ranges if r.get("Description")), ""),
            }
        )
    return listed


def _sources(permissions: list[dict[str, Any]]) -> set[tuple[Any, ...]]:
    """Every single source of some permissions: the API puts those with the same ports together."""
    listed = set()
    for one in permissions:
        ports = (one["IpProtocol"], *(one.get(name) for name in ("FromPort", "ToPort")))
        if one["IpProtocol"] == _EVERYTHING:
            ports = (_EVERYTHING,)
        for kind, field in _SOURCES.items():
            # Moto forgets the descriptions of prefix lists, so nothing here sets them.
            listed |= {(*ports, kind, s[field], s.get("Description") or "") for s in one.get(kind, [])}
    return listed


def _create_group(client: Client, values: Values) -> Any:
    more = {"VpcId": values["vpcId"]} if values.get("vpcId") else {}
    made = client.create_security_group(
        GroupName=values["name"], Description=values.get("description", "Managed by Pulumi"), **more
    )
    # AWS lets a new group reach everything; Pulumi's provider takes that away, so that rules are what is declared.
    present = client.describe_security_groups(GroupIds=[made["GroupId"]])["SecurityGroups"][0]
    if present["IpPermissionsEgress"]:
        client.revoke_security_group_egress(
            GroupId=made["GroupId"], IpPermissions=present["IpPermissionsEgress"]
        )
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
        declared = values.get(name)
        if declared is None:
            return None
        wanted = [_permission(rule, values.id) for rule in declared]
        return declared if _sources(wanted) == _sources(found[field]) else _rules(found[field], values.id)

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


def _modify_single(client: Client, values: Values) -> None:
    fields = {
        "IpProtocol": "ipProtocol",
        "CidrIpv4": "cidrIpv4",
        "CidrIpv6": "cidrIpv6",
        "ReferencedGroupId": "referencedSecurityGroupId",
        "PrefixListId": "prefixListId",
    }
    wanted = {field: str(values[name]) for field, name in fields.items() if values.get(name)}
    # -1 stands for every port.
    ports = {
        field: int(values.get(name, -1)) for field, name in (("FromPort", "fromPort"), ("ToPort", "toPort"))
    }
    client.modify_security_group_rules(
        GroupId=values["securityGroupId"],
        SecurityGroupRules=[
            {
                "SecurityGroupRuleId": values.id,
                "SecurityGroupRule": {**wanted, **ports, "Description": values.get("description", "")},
            }
        ],
    )


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
        # Moto changes no other source than an IPv4 one; with another, a rule is replaced.
        updates=(Update(("ipProtocol", "fromPort", "toPort", "cidrIpv4"), _modify_single),),
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


def _describe_rule(client: Client, values: Values) -> None:
    """A rule's description is changed beside the rule, which keeps letting through what it does."""
    wanted = _permission(values.properties, values["securityGroupId"])
    for kind in ("IpRanges", "Ipv6Ranges", "UserIdGroupPairs"):
        for source in wanted.get(kind, []):
            source["Description"] = values.get("description", "")
    getattr(client, f"update_security_group_rule_descriptions_{values['type']}")(
        GroupId=values["securityGroupId"], IpPermissions=[wanted]
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
    for kind, field in _SOURCES.items():
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
    updates=(Update(("ingress", "egress"), _put_rules, after_create=True),),
    computed=frozenset({"ingress", "egress"}),
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
    updates=(Update(("description",), _describe_rule),),
    delete=_revoke_rule,
    inputs=("prefixListIds",),
)

ROWS: Final = (SECURITY_GROUP, SECURITY_GROUP_RULE, _single_row("ingress"), _single_row("egress"))
