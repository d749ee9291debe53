"""Secrets Manager and KMS."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

from holdfast_sandbox.plugins.aws.model import Call, Client, Row, Tags, Update, Values
from holdfast_sandbox.plugins.aws.session import ProviderError

_CURRENT: Final = "AWSCURRENT"
_VERSION_TOKEN: Final = "aws:secretsmanager/secretVersion:SecretVersion"


def _is_marked_deleted(client: Client, secret: str) -> bool:
    """A deleted secret can be described until its recovery window ends, and every other call is refused."""
    return bool(client.describe_secret(SecretId=secret).get("DeletedDate"))


def _delete_secret(client: Client, values: Values) -> None:
    if _is_marked_deleted(client, values.id):
        return
    window = values.get("recoveryWindowInDays", 30)
    how = {"RecoveryWindowInDays": window} if window else {"ForceDeleteWithoutRecovery": True}
    client.delete_secret(SecretId=values.id, **how)


def _put_secret_policy(client: Client, values: Values) -> None:
    if values.get("policy"):
        client.put_resource_policy(SecretId=values.id, ResourcePolicy=values["policy"])
    else:
        client.delete_resource_policy(SecretId=values.id)


def _secret_and_version(values: Values) -> tuple[str, str]:
    """A version's id is `<secret>|<version>`."""
    secret, _, version = values.id.partition("|")
    return secret, version


def _read_version(client: Client, values: Values) -> Any:
    secret, version = _secret_and_version(values)
    if _is_marked_deleted(client, secret):
        return None
    return client.get_secret_value(SecretId=secret, VersionId=version)


def _binary(values: Values) -> bytes | None:
    given = values.get("secretBinary")
    try:
        return None if given is None else base64.b64decode(given, validate=True)
    except binascii.Error:
        # Without its cause, which could show the value.
        raise ProviderError(f"{_VERSION_TOKEN}: secretBinary is not base64: encode it") from None


def _binary_text(found: Any, _values: Values) -> str | None:
    value = found.get("SecretBinary")
    return None if value is None else base64.b64encode(value).decode()


def _move_stages(client: Client, values: Values) -> None:
    secret, version = _secret_and_version(values)
    holders = client.describe_secret(SecretId=secret)["VersionIdsToStages"]
    wanted, present = set(values["versionStages"]), set(holders.get(version, []))
    for stage in sorted(wanted - present):
        holder = next((other for other, stages in holders.items() if stage in stages), None)
        taken = {"RemoveFromVersionId": holder} if holder else {}
        client.update_secret_version_stage(
            SecretId=secret, VersionStage=stage, MoveToVersionId=version, **taken
        )
    # The current one can only move to another version, never be taken away.
    for stage in sorted(present - wanted - {_CURRENT}):
        client.update_secret_version_stage(SecretId=secret, VersionStage=stage, RemoveFromVersionId=version)


def _delete_version(client: Client, values: Values) -> None:
    # A version goes when it has no stages left. The current one stays with its secret, as AWS has it.
    secret, version = _secret_and_version(values)
    if _is_marked_deleted(client, secret):
        return
    stages = client.get_secret_value(SecretId=secret, VersionId=version).get("VersionStages", [])
    for stage in stages:
        if stage != _CURRENT:
            client.update_secret_version_stage(
                SecretId=secret, VersionStage=stage, RemoveFromVersionId=version
            )


def _rotate_or_not(client: Client, values: Values) -> None:
    if values.get("enableKeyRotation"):
        client.enable_key_rotation(KeyId=values.id)
    else:
        client.disable_key_rotation(KeyId=values.id)


def _enable_or_not(client: Client, values: Values) -> None:
    if values.get("isEnabled", True):
        client.enable_key(KeyId=values.id)
    else:
        client.disable_key(KeyId=values.id)


def _read_key(client: Client, values: Values) -> Any:
    key = client.describe_key(KeyId=values.id)["KeyMetadata"]
    if key["KeyState"] == "PendingDeletion":
        return None
    rotation = client.get_key_rotation_status(KeyId=key["KeyId"])
    policy = client.get_key_policy(KeyId=key["KeyId"], PolicyName="default")["Policy"]
    return {**key, "Rotation": rotation["KeyRotationEnabled"], "Policy": policy}


def _read_alias(client: Client, values: Values) -> Any:
    for page in client.get_paginator("list_aliases").paginate():
        for alias in page["Aliases"]:
            if alias["AliasName"] == values.id:
                return alias
    return None


SECRET: Final = Row(
    token="aws:secretsmanager/secret:Secret",
    service="secretsmanager",
    name="name",
    name_length=512,
    create=Call("create_secret", {"Name": "name", "Description": "description", "KmsKeyId": "kmsKeyId"}),
    identity="ARN",
    read=Call("describe_secret", {"SecretId": "@id"}),
    found=lambda answer, _values: None if answer.get("DeletedDate") else answer,
    outputs={
        "name": "Name",
        "arn": "ARN",
        "description": "Description",
        "kmsKeyId": "KmsKeyId",
    },
    updates=(
        Update(
            ("description", "kmsKeyId"),
            Call(
                "update_secret",
                {
                    "SecretId": "@id",
                    "Description": lambda values: values.get("description", ""),
                    "KmsKeyId": "kmsKeyId",
                },
            ),
        ),
        Update(
            ("policy",),
            _put_secret_policy,
            after_create=True,
        ),
    ),
    delete=_delete_secret,
    # Deleted with a recovery window, its name would stay taken.
    take_back=Call("delete_secret", {"SecretId": "@id", "ForceDeleteWithoutRecovery": lambda _values: True}),
    tags=Tags(add="tag_resource", remove="untag_resource", owner=("SecretId", "@id")),
    inputs=("namePrefix",),
    local=frozenset({"recoveryWindowInDays", "forceOverwriteReplicaSecret"}),
    json=frozenset({"policy"}),
)

SECRET_VERSION: Final = Row(
    token=_VERSION_TOKEN,
    service="secretsmanager",
    required=("secretId",),
    create=Call(
        "put_secret_value",
        {
            "SecretId": "secretId",
            "SecretString": "secretString",
            "SecretBinary": _binary,
            "VersionStages": "versionStages",
        },
    ),
    identity=lambda answer, values: f"{values['secretId']}|{answer['VersionId']}",
    read=_read_version,
    outputs={
        "arn": "ARN",
        "secretId": lambda _found, values: _secret_and_version(values)[0],
        "secretString": "SecretString",
        "secretBinary": _binary_text,
        "versionId": "VersionId",
        "versionStages": "VersionStages",
    },
    updates=(Update(("versionStages",), _move_stages),),
    delete=_delete_version,
    inputs=("secretBinary",),
    computed=frozenset({"versionStages"}),
    secrets=frozenset({"secretString", "secretBinary"}),
)

KEY: Final = Row(
    token="aws:kms/key:Key",
    service="kms",
    create=Call(
        "create_key",
        {
            "Description": "description",
            "KeyUsage": "keyUsage",
            "KeySpec": "customerMasterKeySpec",
            "Policy": "policy",
            "MultiRegion": "multiRegion",
        },
    ),
    identity="KeyMetadata.KeyId",
    read=_read_key,
    outputs={
        "arn": "Arn",
        "keyId": "KeyId",
        "description": "Description",
        "keyUsage": "KeyUsage",
        "customerMasterKeySpec": "KeySpec",
        "isEnabled": "Enabled",
        "multiRegion": "MultiRegion",
        "enableKeyRotation": "Rotation",
        "policy": "Policy",
    },
    updates=(
        Update(
            ("description",),
            Call(
                "update_key_description",
                {"KeyId": "@id", "Description": lambda values: values.get("description", "")},
            ),
        ),
        Update(("enableKeyRotation",), _rotate_or_not, after_create=True),
        Update(("isEnabled",), _enable_or_not, after_create=True),
        Update(
            ("policy",),
            Call(
                "put_key_policy",
                {"KeyId": "@id", "PolicyName": lambda _values: "default", "Policy": "policy"},
            ),
        ),
    ),
    delete=Call(
        "schedule_key_deletion",
        {"KeyId": "@id", "PendingWindowInDays": lambda values: values.get("deletionWindowInDays", 30)},
    ),
    tags=Tags(
        add="tag_resource",
        remove="untag_resource",
        owner=("KeyId", "@id"),
        read=Call("list_resource_tags", {"KeyId": "@id"}),
        key="TagKey",
        value="TagValue",
    ),
    local=frozenset({"deletionWindowInDays", "bypassPolicyLockoutSafetyCheck"}),
    computed=frozenset({"policy"}),
    usual={"isEnabled": True},
    json=frozenset({"policy"}),
)

ALIAS: Final = Row(
    token="aws:kms/alias:Alias",
    service="kms",
    required=("targetKeyId",),
    name="name",
    name_prefix="alias/",
    name_length=256,
    create=Call("create_alias", {"AliasName": "name", "TargetKeyId": "targetKeyId"}),
    identity=lambda _answer, values: values["name"],
    read=_read_alias,
    outputs={
        "name": "AliasName",
        "arn": "AliasArn",
        "targetKeyId": "TargetKeyId",
        "targetKeyArn": lambda found, values: (
            f"{found['AliasArn'].rpartition(':')[0]}:key/{found['TargetKeyId'].rpartition('/')[2]}"
        ),
    },
    updates=(
        Update(("targetKeyId",), Call("update_alias", {"AliasName": "@id", "TargetKeyId": "targetKeyId"})),
    ),
    delete=Call("delete_alias", {"AliasName": "@id"}),
    inputs=("namePrefix",),
)

ROWS: Final = (SECRET, SECRET_VERSION, KEY, ALIAS)
