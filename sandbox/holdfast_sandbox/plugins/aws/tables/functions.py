"""Functions that read: `aws.get_…`."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from typing import Any, Final

from holdfast_sandbox.plugins.aws.model import Function, Session
from holdfast_sandbox.plugins.aws.session import ProviderError

Arguments = Mapping[str, Any]


def _caller_identity(session: Session, _given: Arguments) -> dict[str, Any]:
    found = session.client("sts").get_caller_identity()
    account = found["Account"]
    return {"id": account, "accountId": account, "arn": found["Arn"], "userId": found["UserId"]}


def _region(session: Session, given: Arguments) -> dict[str, Any]:
    name = given.get("name") or given.get("region") or session.region
    return {
        "id": name,
        "name": name,
        "region": name,
        "description": name,
        "endpoint": f"ec2.{name}.amazonaws.com",
    }


def _partition(_session: Session, _given: Arguments) -> dict[str, Any]:
    return {
        "id": "aws",
        "partition": "aws",
        "dnsSuffix": "amazonaws.com",
        "reverseDnsPrefix": "com.amazonaws",
    }


def _availability_zones(session: Session, given: Arguments) -> dict[str, Any]:
    filters = [{"Name": one["name"], "Values": one["values"]} for one in given.get("filters") or []]
    if given.get("state"):
        filters.append({"Name": "state", "Values": [given["state"]]})
    found = session.client("ec2").describe_availability_zones(Filters=filters)["AvailabilityZones"]
    left_out = {*(given.get("excludeNames") or ()), *(given.get("excludeZoneIds") or ())}
    zones = [zone for zone in found if zone["ZoneName"] not in left_out and zone["ZoneId"] not in left_out]
    return {
        "id": session.region,
        "region": session.region,
        "names": sorted(zone["ZoneName"] for zone in zones),
        "zoneIds": sorted(zone["ZoneId"] for zone in zones),
        "groupNames": sorted({zone.get("GroupName", session.region) for zone in zones}),
        **{name: given[name] for name in ("state", "filters", "excludeNames") if given.get(name)},
    }


def _secret(session: Session, given: Arguments) -> dict[str, Any]:
    wanted = given.get("arn") or given.get("name")
    if not wanted:
        raise ProviderError("aws:secretsmanager/getSecret:getSecret needs `arn` or `name`")
    found = session.client("secretsmanager").describe_secret(SecretId=wanted)
    return {
        "id": found["ARN"],
        "arn": found["ARN"],
        "name": found["Name"],
        "description": found.get("Description", ""),
        "kmsKeyId": found.get("KmsKeyId", ""),
        "policy": "",
        "createdDate": found.get("CreatedDate"),
        "lastChangedDate": found.get("LastChangedDate"),
        "tags": {tag["Key"]: tag["Value"] for tag in found.get("Tags", [])},
        "region": session.region,
    }


def _secret_version(session: Session, given: Arguments) -> dict[str, Any]:
    stage, version = given.get("versionStage") or "AWSCURRENT", given.get("versionId")
    which = {"VersionId": version} if version else {"VersionStage": stage}
    found = session.client("secretsmanager").get_secret_value(SecretId=given["secretId"], **which)
    return {
        "id": f"{given['secretId']}|{found['VersionId']}",
        "arn": found["ARN"],
        "secretId": given["secretId"],
        "secretString": found.get("SecretString", ""),
        # Base64, as the resource takes it: the value need not be text.
        "secretBinary": base64.b64encode(found.get("SecretBinary", b"")).decode(),
        "versionId": found["VersionId"],
        "versionStage": stage,
        "versionStages": found.get("VersionStages", []),
        "createdDate": found.get("CreatedDate"),
        "region": session.region,
    }


def _policy_document(_session: Session, given: Arguments) -> dict[str, Any]:
    statements: list[dict[str, Any]] = []
    for source in given.get("sourcePolicyDocuments") or []:
        statements += _listed(json.loads(source).get("Statement", []))
    statements += [_statement(one) for one in given.get("statements") or []]
    for source in given.get("overridePolicyDocuments") or []:
        for one in _listed(json.loads(source).get("Statement", [])):
            statements = [kept for kept in statements if not one.get("Sid") or kept.get("Sid") != one["Sid"]]
            statements.append(one)
    document: dict[str, Any] = {"Version": given.get("version") or "2012-10-17"}
    if given.get("policyId"):
        document["Id"] = given["policyId"]
    document["Statement"] = statements
    return {
        # The same in every process, which Python's hash of a text is not.
        "id": str(zlib.crc32(json.dumps(document, sort_keys=True).encode())),
        "json": json.dumps(document, indent=2),
        "minifiedJson": json.dumps(document, separators=(",", ":")),
        **{name: value for name, value in given.items() if value is not None},
    }


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _statement(given: Arguments) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if given.get("sid"):
        made["Sid"] = given["sid"]
    made["Effect"] = given.get("effect") or "Allow"
    fields = (
        ("actions", "Action"),
        ("notActions", "NotAction"),
        ("resources", "Resource"),
        ("notResources", "NotResource"),
    )
    for name, field in fields:
        if given.get(name):
            made[field] = _one_or_many(given[name])
    for name, field in (("principals", "Principal"), ("notPrincipals", "NotPrincipal")):
        if given.get(name):
            made[field] = _principals(given[name])
    for condition in given.get("conditions") or []:
        tests = made.setdefault("Condition", {}).setdefault(condition["test"], {})
        tests[condition["variable"]] = _one_or_many(condition["values"])
    return made


def _principals(given: list[Arguments]) -> Any:
    merged: dict[str, list[str]] = {}
    for one in given:
        merged.setdefault(one["type"], []).extend(one["identifiers"])
    if merged == {"*": ["*"]}:
        return "*"
    return {kind: _one_or_many(identifiers) for kind, identifiers in merged.items()}


def _one_or_many(values: list[str]) -> Any:
    return values[0] if len(values) == 1 else sorted(values, reverse=True)


def _parameter(session: Session, given: Arguments) -> dict[str, Any]:
    found = session.client("ssm").get_parameter(Name=given["name"], WithDecryption=True)["Parameter"]
    secret = found["Type"] == "SecureString"
    return {
        "id": found["Name"],
        "arn": found["ARN"],
        "name": found["Name"],
        "type": found["Type"],
        "value": found["Value"],
        "insecureValue": "" if secret else found["Value"],
        "version": found["Version"],
        "region": session.region,
    }


def _zone(session: Session, given: Arguments) -> dict[str, Any]:
    client = session.client("route53")
    wanted = (str(given.get("name") or "").rstrip(".") + ".", bool(given.get("privateZone")))
    for page in client.get_paginator("list_hosted_zones").paginate():
        for zone in page["HostedZones"]:
            number = zone["Id"].rpartition("/")[2]
            private = zone.get("Config", {}).get("PrivateZone", False)
            # One name can have a zone for the world and others inside networks.
            if number == given.get("zoneId") or (zone["Name"], private) == wanted:
                servers = client.get_hosted_zone(Id=number).get("DelegationSet", {}).get("NameServers", [])
                return {
                    "id": number,
                    "zoneId": number,
                    "arn": f"arn:aws:route53:::hostedzone/{number}",
                    "name": zone["Name"].rstrip("."),
                    "nameServers": servers,
                    "privateZone": private,
                    "callerReference": zone["CallerReference"],
                    "comment": zone.get("Config", {}).get("Comment", ""),
                    "resourceRecordSetCount": zone.get("ResourceRecordSetCount", 0),
                }
    kind = "private" if given.get("privateZone") else "public"
    which = (
        f"hosted zone {given['zoneId']}" if given.get("zoneId") else f"{kind} hosted zone {given.get('name')}"
    )
    raise ProviderError(f"aws:route53/getZone:getZone: there is no {which}")


FUNCTIONS: Final = {
    function.token: function
    for function in (
        Function("aws:index/getCallerIdentity:getCallerIdentity", _caller_identity),
        Function("aws:index/getRegion:getRegion", _region),
        Function("aws:index/getPartition:getPartition", _partition),
        Function("aws:index/getAvailabilityZones:getAvailabilityZones", _availability_zones),
        Function("aws:iam/getPolicyDocument:getPolicyDocument", _policy_document),
        Function("aws:secretsmanager/getSecret:getSecret", _secret),
        Function(
            "aws:secretsmanager/getSecretVersion:getSecretVersion",
            _secret_version,
            secrets=frozenset({"secretString", "secretBinary"}),
        ),
        Function("aws:ssm/getParameter:getParameter", _parameter, secrets=frozenset({"value"})),
        Function("aws:route53/getZone:getZone", _zone),
    )
}
