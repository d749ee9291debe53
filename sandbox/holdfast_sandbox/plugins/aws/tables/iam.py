"""IAM: roles, policies, and what joins them."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from botocore.exceptions import ClientError

from holdfast_sandbox.plugins.aws.model import Call, Client, Row, Tags, Update, Values

_VERSIONS_KEPT: Final = 5
"""IAM's limit for versions of one policy."""
_USUAL_SESSION_S: Final = 3600
"""How long a role is lent where nobody says otherwise."""


def _text(name: str) -> Callable[[Values], str | None]:
    """A policy document: text, or an object that the SDK let through."""

    def text(values: Values) -> str | None:
        document = values.get(name)
        return document if document is None or isinstance(document, str) else json.dumps(document)

    return text


def _document(path: str) -> Any:
    """A document that boto3 has parsed, as text again."""
    return lambda found, _values: json.dumps(found[path]) if found.get(path) else None


def _read_policy(client: Client, values: Values) -> Any:
    policy = client.get_policy(PolicyArn=values.id)["Policy"]
    version = client.get_policy_version(PolicyArn=values.id, VersionId=policy["DefaultVersionId"])
    return {**policy, "Document": version["PolicyVersion"]["Document"]}


def _new_policy_version(client: Client, values: Values) -> None:
    versions = client.list_policy_versions(PolicyArn=values.id)["Versions"]
    if len(versions) >= _VERSIONS_KEPT:
        oldest = min(
            (version for version in versions if not version["IsDefaultVersion"]),
            key=lambda version: version["CreateDate"],
        )
        client.delete_policy_version(PolicyArn=values.id, VersionId=oldest["VersionId"])
    client.create_policy_version(
        PolicyArn=values.id,
        PolicyDocument=_text("policy")(values),
        SetAsDefault=True,
    )


def _delete_policy(client: Client, values: Values) -> None:
    for version in client.list_policy_versions(PolicyArn=values.id)["Versions"]:
        if not version["IsDefaultVersion"]:
            client.delete_policy_version(PolicyArn=values.id, VersionId=version["VersionId"])
    client.delete_policy(PolicyArn=values.id)


def _attachment(values: Values) -> tuple[str, str]:
    """An attachment's id is `<role>/<policy ARN>`."""
    role, _, arn = values.id.partition("/")
    return role, arn


def _read_attachment(client: Client, values: Values) -> Any:
    role, arn = _attachment(values)
    for page in client.get_paginator("list_attached_role_policies").paginate(RoleName=role):
        for policy in page["AttachedPolicies"]:
            if policy["PolicyArn"] == arn:
                return {"role": role, "policyArn": arn}
    return None


def _detach(client: Client, values: Values) -> None:
    role, arn = _attachment(values)
    client.detach_role_policy(RoleName=role, PolicyArn=arn)


def _delete_role(client: Client, values: Values) -> None:
    if values.get("forceDetachPolicies"):
        for policy in client.list_attached_role_policies(RoleName=values.id)["AttachedPolicies"]:
            client.detach_role_policy(RoleName=values.id, PolicyArn=policy["PolicyArn"])
    client.delete_role(RoleName=values.id)


def _inline(values: Values) -> tuple[str, str]:
    """An inline policy's id is `<role>:<name>`."""
    role, _, name = values.id.partition(":")
    return role, name


def _put_boundary(client: Client, values: Values) -> None:
    if values.get("permissionsBoundary"):
        client.put_role_permissions_boundary(
            RoleName=values.id, PermissionsBoundary=values["permissionsBoundary"]
        )
    else:
        client.delete_role_permissions_boundary(RoleName=values.id)


def _change_profile_role(client: Client, values: Values) -> None:
    profile = client.get_instance_profile(InstanceProfileName=values.id)["InstanceProfile"]
    for role in profile["Roles"]:
        client.remove_role_from_instance_profile(InstanceProfileName=values.id, RoleName=role["RoleName"])
    if values.get("role"):
        client.add_role_to_instance_profile(InstanceProfileName=values.id, RoleName=values["role"])


def _delete_profile(client: Client, values: Values) -> None:
    for role in client.get_instance_profile(InstanceProfileName=values.id)["InstanceProfile"]["Roles"]:
        with suppress(ClientError):
            client.remove_role_from_instance_profile(InstanceProfileName=values.id, RoleName=role["RoleName"])
    client.delete_instance_profile(InstanceProfileName=values.id)


ROLE: Final = Row(
    token="aws:iam/role:Role",
    service="iam",
    required=("assumeRolePolicy",),
    name="name",
    create=Call(
        "create_role",
        {
            "RoleName": "name",
            "AssumeRolePolicyDocument": _text("assumeRolePolicy"),
            "Description": "description",
            "MaxSessionDuration": "maxSessionDuration",
            "Path": "path",
            "PermissionsBoundary": "permissionsBoundary",
        },
    ),
    identity="Role.RoleName",
    read=Call("get_role", {"RoleName": "@id"}),
    found="Role",
    outputs={
        "name": "RoleName",
        "arn": "Arn",
        "uniqueId": "RoleId",
        "createDate": "CreateDate",
        "description": "Description",
        "maxSessionDuration": "MaxSessionDuration",
        "path": "Path",
        "permissionsBoundary": "PermissionsBoundary.PermissionsBoundaryArn",
        "assumeRolePolicy": _document("AssumeRolePolicyDocument"),
    },
    updates=(
        Update(
            ("description", "maxSessionDuration"),
            Call(
                "update_role",
                {
                    "RoleName": "@id",
                    "Description": lambda values: values.get("description", ""),
                    "MaxSessionDuration": lambda values: values.get("maxSessionDuration", _USUAL_SESSION_S),
                },
            ),
        ),
        Update(
            ("assumeRolePolicy",),
            Call(
                "update_assume_role_policy",
                {"RoleName": "@id", "PolicyDocument": _text("assumeRolePolicy")},
            ),
        ),
        Update(("permissionsBoundary",), _put_boundary),
    ),
    delete=_delete_role,
    tags=Tags(add="tag_role", remove="untag_role", owner=("RoleName", "@id")),
    inputs=("namePrefix",),
    local=frozenset({"forceDetachPolicies"}),
    usual={"maxSessionDuration": _USUAL_SESSION_S, "path": "/"},
    json=frozenset({"assumeRolePolicy"}),
)

POLICY: Final = Row(
    token="aws:iam/policy:Policy",
    service="iam",
    required=("policy",),
    name="name",
    name_length=128,
    create=Call(
        "create_policy",
        {
            "PolicyName": "name",
            "PolicyDocument": _text("policy"),
            "Description": "description",
            "Path": "path",
        },
    ),
    identity="Policy.Arn",
    read=_read_policy,
    outputs={
        "name": "PolicyName",
        "arn": "Arn",
        "policyId": "PolicyId",
        "path": "Path",
        "description": "Description",
        "attachmentCount": "AttachmentCount",
        "policy": _document("Document"),
    },
    updates=(Update(("policy",), _new_policy_version),),
    delete=_delete_policy,
    tags=Tags(add="tag_policy", remove="untag_policy", owner=("PolicyArn", "@id")),
    inputs=("namePrefix",),
    json=frozenset({"policy"}),
)

ROLE_POLICY_ATTACHMENT: Final = Row(
    token="aws:iam/rolePolicyAttachment:RolePolicyAttachment",
    service="iam",
    required=("role", "policyArn"),
    create=Call("attach_role_policy", {"RoleName": "role", "PolicyArn": "policyArn"}),
    identity=lambda _answer, values: f"{values['role']}/{values['policyArn']}",
    read=_read_attachment,
    outputs={"role": "role", "policyArn": "policyArn"},
    delete=_detach,
)

ROLE_POLICY: Final = Row(
    token="aws:iam/rolePolicy:RolePolicy",
    service="iam",
    required=("role", "policy"),
    name="name",
    name_length=128,
    create=Call(
        "put_role_policy", {"RoleName": "role", "PolicyName": "name", "PolicyDocument": _text("policy")}
    ),
    identity=lambda _answer, values: f"{values['role']}:{values['name']}",
    read=Call(
        "get_role_policy",
        {
            "RoleName": lambda values: _inline(values)[0],
            "PolicyName": lambda values: _inline(values)[1],
        },
    ),
    outputs={
        "role": "RoleName",
        "name": "PolicyName",
        "policy": _document("PolicyDocument"),
    },
    updates=(
        Update(
            ("policy",),
            Call(
                "put_role_policy",
                {"RoleName": "role", "PolicyName": "name", "PolicyDocument": _text("policy")},
            ),
        ),
    ),
    delete=Call(
        "delete_role_policy",
        {
            "RoleName": lambda values: _inline(values)[0],
            "PolicyName": lambda values: _inline(values)[1],
        },
    ),
    inputs=("namePrefix",),
    json=frozenset({"policy"}),
)

INSTANCE_PROFILE: Final = Row(
    token="aws:iam/instanceProfile:InstanceProfile",
    service="iam",
    name="name",
    name_length=128,
    create=Call("create_instance_profile", {"InstanceProfileName": "name", "Path": "path"}),
    identity="InstanceProfile.InstanceProfileName",
    read=Call("get_instance_profile", {"InstanceProfileName": "@id"}),
    found="InstanceProfile",
    outputs={
        "name": "InstanceProfileName",
        "arn": "Arn",
        "uniqueId": "InstanceProfileId",
        "createDate": "CreateDate",
        "path": "Path",
        "role": "Roles[0].RoleName",
    },
    # Apart from creation, so that a profile whose role is refused is taken back.
    updates=(Update(("role",), _change_profile_role, after_create=True),),
    delete=_delete_profile,
    tags=Tags(
        add="tag_instance_profile", remove="untag_instance_profile", owner=("InstanceProfileName", "@id")
    ),
    inputs=("namePrefix",),
)

OPEN_ID_CONNECT_PROVIDER: Final = Row(
    token="aws:iam/openIdConnectProvider:OpenIdConnectProvider",
    service="iam",
    required=("url", "clientIdLists"),
    unique=("url",),
    create=Call(
        "create_open_id_connect_provider",
        {
            "Url": "url",
            "ClientIDList": "clientIdLists",
            "ThumbprintList": lambda values: values.get("thumbprintLists", ["0" * 40]),
        },
    ),
    identity="OpenIDConnectProviderArn",
    read=Call("get_open_id_connect_provider", {"OpenIDConnectProviderArn": "@id"}),
    outputs={
        "arn": lambda _found, values: values.id,
        "url": lambda found, values: values.get("url") or f"https://{found['Url']}",
        "clientIdLists": "ClientIDList",
        "thumbprintLists": "ThumbprintList",
    },
    updates=(
        Update(
            ("thumbprintLists",),
            Call(
                "update_open_id_connect_provider_thumbprint",
                {"OpenIDConnectProviderArn": "@id", "ThumbprintList": "thumbprintLists"},
            ),
        ),
    ),
    delete=Call("delete_open_id_connect_provider", {"OpenIDConnectProviderArn": "@id"}),
    tags=Tags(
        add="tag_open_id_connect_provider",
        remove="untag_open_id_connect_provider",
        owner=("OpenIDConnectProviderArn", "@id"),
    ),
    computed=frozenset({"thumbprintLists"}),
)

ROWS: Final = (
    ROLE,
    POLICY,
    ROLE_POLICY_ATTACHMENT,
    ROLE_POLICY,
    INSTANCE_PROFILE,
    OPEN_ID_CONNECT_PROVIDER,
)
