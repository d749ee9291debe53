"""Certificates, DNS and log groups."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from holdfast_sandbox.plugins.aws.model import Call, Client, Row, Tags, Update, Values, pascal
from holdfast_sandbox.plugins.aws.session import ProviderError


def _options(found: Any, _values: Values) -> list[dict[str, Any]]:
    listed = []
    for option in found.get("DomainValidationOptions", []):
        record = option.get("ResourceRecord", {})
        listed.append(
            {
                "domainName": option["DomainName"],
                "resourceRecordName": record.get("Name"),
                "resourceRecordType": record.get("Type"),
                "resourceRecordValue": record.get("Value"),
            }
        )
    return listed


_CERTIFICATES: Final = (
    Row(
        token="aws:acm/certificate:Certificate",
        service="acm",
        create=Call(
            "request_certificate",
            {
                "DomainName": "domainName",
                "ValidationMethod": "validationMethod",
                "SubjectAlternativeNames": "subjectAlternativeNames",
                "KeyAlgorithm": "keyAlgorithm",
                "Options": lambda values: pascal(values["options"]) if values.get("options") else None,
            },
        ),
        identity="CertificateArn",
        read=Call("describe_certificate", {"CertificateArn": "@id"}),
        found="Certificate",
        outputs={
            "arn": "CertificateArn",
            "domainName": "DomainName",
            "status": "Status",
            "type": "Type",
            "notAfter": "NotAfter",
            "notBefore": "NotBefore",
            "domainValidationOptions": _options,
        },
        delete=Call("delete_certificate", {"CertificateArn": "@id"}),
        tags=Tags(
            add="add_tags_to_certificate",
            remove="remove_tags_from_certificate",
            owner=("CertificateArn", "@id"),
            read=Call("list_tags_for_certificate", {"CertificateArn": "@id"}),
            keys_parameter="Tags",
            remove_by_tags=True,
        ),
        inputs=("validationMethod", "subjectAlternativeNames", "keyAlgorithm", "options"),
    ),
    Row(
        token="aws:acm/certificateValidation:CertificateValidation",
        service="acm",
        required=("certificateArn",),
        # The stand-in needs no proof: a certificate that is there counts as validated.
        create=Call("describe_certificate", {"CertificateArn": "certificateArn"}),
        identity="Certificate.CertificateArn",
        read=Call("describe_certificate", {"CertificateArn": "@id"}),
        found="Certificate",
        outputs={"certificateArn": "CertificateArn"},
        delete=lambda _client, _values: None,
        inputs=("validationRecordFqdns",),
    ),
)


def _create_zone(client: Client, values: Values) -> Any:
    given: dict[str, Any] = {"Name": values["name"], "CallerReference": uuid.uuid4().hex}
    vpcs = values.get("vpcs", [])
    given["HostedZoneConfig"] = {
        "Comment": values.get("comment", "Managed by Pulumi"),
        "PrivateZone": bool(vpcs),
    }
    if vpcs:
        given["VPC"] = _vpc(vpcs[0], values)
    return client.create_hosted_zone(**given)


def _vpc(one: Mapping[str, Any], values: Values) -> dict[str, str]:
    region = one.get("vpcRegion") or values.get("region") or values.session.region
    return {"VPCId": one["vpcId"], "VPCRegion": region}


def _share_zone(client: Client, values: Values) -> None:
    """Bring the networks of a private zone to what is declared; it must never have none."""
    present = {one["VPCId"]: one for one in client.get_hosted_zone(Id=values.id).get("VPCs", [])}
    wanted = {one["vpcId"]: _vpc(one, values) for one in values.get("vpcs", [])}
    for name in wanted.keys() - present.keys():
        client.associate_vpc_with_hosted_zone(HostedZoneId=values.id, VPC=wanted[name])
    for name in present.keys() - wanted.keys():
        client.disassociate_vpc_from_hosted_zone(HostedZoneId=values.id, VPC=present[name])


def _delete_zone(client: Client, values: Values) -> None:
    if values.get("forceDestroy"):
        for page in client.get_paginator("list_resource_record_sets").paginate(HostedZoneId=values.id):
            changes = [
                {"Action": "DELETE", "ResourceRecordSet": record}
                for record in page["ResourceRecordSets"]
                if record["Type"] not in ("NS", "SOA")
            ]
            if changes:
                client.change_resource_record_sets(HostedZoneId=values.id, ChangeBatch={"Changes": changes})
    client.delete_hosted_zone(Id=values.id)


def _record_set(values: Values) -> dict[str, Any]:
    made: dict[str, Any] = {"Name": values["name"], "Type": values["type"]}
    aliases = values.get("aliases", [])
    if aliases:
        made["AliasTarget"] = {
            "HostedZoneId": aliases[0]["zoneId"],
            "DNSName": aliases[0]["name"],
            "EvaluateTargetHealth": bool(aliases[0].get("evaluateTargetHealth")),
        }
    else:
        made["TTL"] = values.get("ttl", 300)
        made["ResourceRecords"] = [{"Value": value} for value in values.get("records", [])]
    if values.get("setIdentifier"):
        made["SetIdentifier"] = values["setIdentifier"]
    return made


def _change_record(action: str) -> Call:
    return Call(
        "change_resource_record_sets",
        {
            "HostedZoneId": "zoneId",
            "ChangeBatch": lambda values: {
                "Changes": [{"Action": action, "ResourceRecordSet": _record_set(values)}]
            },
        },
    )


def _record(values: Values) -> tuple[str, str, str, str | None]:
    """A record's id is `<zone>_<name>_<type>`, and `_<set identifier>` where there are several of its name."""
    zone, _, rest = values.id.partition("_")
    # Names may have underscores; types are written in capitals.
    match = re.fullmatch(r"(?P<name>.*?)_(?P<kind>[A-Z]+)(?:_(?P<identifier>.+))?", rest)
    if match is None:
        raise ProviderError(
            f"{values.id} is no id of a record: those are <zone>_<name>_<type>[_<set identifier>]"
        )
    return zone, match["name"], match["kind"], match["identifier"]


def _plain(name: str) -> str:
    """As Route 53 writes a name, without the dot at the end: `*` is written as a code."""
    return name.rstrip(".").replace("\\052", "*")


def _read_record(client: Client, values: Values) -> Any:
    zone, name, kind, identifier = _record(values)
    for page in client.get_paginator("list_resource_record_sets").paginate(HostedZoneId=zone):
        for record in page["ResourceRecordSets"]:
            found = (_plain(record["Name"]), record["Type"], record.get("SetIdentifier"))
            if found == (_plain(name), kind, identifier):
                return {**record, "Zone": zone}
    return None


def _record_name(found: Any, values: Values) -> str:
    """With a dot at the end where it was declared so: certificates give such names."""
    name = str(found["Name"]).rstrip(".")
    return f"{name}." if str(values.get("name", "")).endswith(".") else name


_NAMES: Final = (
    Row(
        token="aws:route53/zone:Zone",
        service="route53",
        required=("name",),
        create=_create_zone,
        identity=lambda answer, _values: answer["HostedZone"]["Id"].rpartition("/")[2],
        read=Call("get_hosted_zone", {"Id": "@id"}),
        outputs={
            "zoneId": lambda _found, values: values.id,
            "arn": lambda _found, values: f"arn:aws:route53:::hostedzone/{values.id}",
            "name": lambda found, _values: found["HostedZone"]["Name"].rstrip("."),
            "comment": "HostedZone.Config.Comment",
            "nameServers": "DelegationSet.NameServers",
            "primaryNameServer": "DelegationSet.NameServers[0]",
            "vpcs": lambda found, _values: (
                [{"vpcId": one["VPCId"], "vpcRegion": one["VPCRegion"]} for one in found.get("VPCs", [])]
                or None
            ),
        },
        updates=(
            Update(("vpcs",), _share_zone, after_create=True),
            Update(
                ("comment",),
                Call("update_hosted_zone_comment", {"Id": "@id", "Comment": "comment"}),
            ),
        ),
        delete=_delete_zone,
        tags=Tags(
            add="change_tags_for_resource",
            remove="change_tags_for_resource",
            replace=lambda client, values, tags: _tag_zone(client, values, tags),
            read=Call(
                "list_tags_for_resource",
                {"ResourceType": lambda _values: "hostedzone", "ResourceId": "@id"},
            ),
            path="ResourceTagSet.Tags",
        ),
        local=frozenset({"forceDestroy"}),
    ),
    Row(
        token="aws:route53/record:Record",
        service="route53",
        required=("zoneId", "name", "type"),
        unique=("zoneId", "name", "type", "setIdentifier"),
        create=Call(
            "change_resource_record_sets",
            {
                "HostedZoneId": "zoneId",
                "ChangeBatch": lambda values: {
                    "Changes": [
                        {
                            "Action": "UPSERT" if values.get("allowOverwrite") else "CREATE",
                            "ResourceRecordSet": _record_set(values),
                        }
                    ]
                },
            },
        ),
        identity=lambda _answer, values: "_".join(
            [
                *(values[name] for name in ("zoneId", "name", "type")),
                *([values["setIdentifier"]] if values.get("setIdentifier") else []),
            ]
        ),
        read=_read_record,
        outputs={
            "zoneId": "Zone",
            "name": _record_name,
            "fqdn": lambda found, _values: found["Name"].rstrip("."),
            "type": "Type",
            "ttl": "TTL",
            "records": lambda found, _values: [r["Value"] for r in found.get("ResourceRecords", [])] or None,
            "setIdentifier": "SetIdentifier",
        },
        updates=(Update(("ttl", "records", "aliases"), _change_record("UPSERT")),),
        delete=_change_record("DELETE"),
        local=frozenset({"allowOverwrite"}),
    ),
)


def _tag_zone(client: Client, values: Values, tags: Mapping[str, str]) -> None:
    present = client.list_tags_for_resource(ResourceType="hostedzone", ResourceId=values.id)
    names = [tag["Key"] for tag in present["ResourceTagSet"]["Tags"] if tag["Key"] not in tags]
    changes: dict[str, Any] = {}
    if tags:
        changes["AddTags"] = [{"Key": name, "Value": value} for name, value in tags.items()]
    if names:
        changes["RemoveTagKeys"] = names
    if changes:
        client.change_tags_for_resource(ResourceType="hostedzone", ResourceId=values.id, **changes)


def _read_log_group(client: Client, values: Values) -> Any:
    for page in client.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=values.id):
        for group in page["logGroups"]:
            if group["logGroupName"] == values.id:
                return group
    return None


def _retain(client: Client, values: Values) -> None:
    if values.get("retentionInDays"):
        client.put_retention_policy(logGroupName=values.id, retentionInDays=values["retentionInDays"])
    else:
        client.delete_retention_policy(logGroupName=values.id)


def _no_other_key(_client: Client, values: Values) -> NoReturn:
    raise ProviderError(
        f"the AWS stand-in cannot change the key of the log group {values.id}: `pulumi up --replace` makes a new "
        "group, or leave the key as it is in the sandbox"
    )


def _delete_log_group(client: Client, values: Values) -> None:
    if not values.get("skipDestroy"):
        client.delete_log_group(logGroupName=values.id)


_LOG_GROUP: Final = Row(
    token="aws:cloudwatch/logGroup:LogGroup",
    service="logs",
    name="name",
    name_length=512,
    create=Call("create_log_group", {"logGroupName": "name", "kmsKeyId": "kmsKeyId"}),
    identity=lambda _answer, values: values["name"],
    read=_read_log_group,
    outputs={
        "name": "logGroupName",
        "arn": lambda found, _values: found["arn"].removesuffix(":*"),
        "retentionInDays": "retentionInDays",
        "kmsKeyId": "kmsKeyId",
    },
    updates=(
        Update(("retentionInDays",), _retain, after_create=True),
        Update(("kmsKeyId",), _no_other_key),
    ),
    delete=_delete_log_group,
    take_back=Call("delete_log_group", {"logGroupName": "@id"}),
    tags=Tags(
        add="tag_resource",
        remove="untag_resource",
        owner=("resourceArn", "arn"),
        read=Call("list_tags_for_resource", {"resourceArn": "arn"}),
        path="tags",
        key="",
        tags_parameter="tags",
        keys_parameter="tagKeys",
    ),
    inputs=("namePrefix",),
    local=frozenset({"skipDestroy"}),
)

ROWS: Final = (*_CERTIFICATES, *_NAMES, _LOG_GROUP)
