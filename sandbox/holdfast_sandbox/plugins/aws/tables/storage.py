"""S3 buckets and their settings, and ECR."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from holdfast_sandbox.plugins.aws.model import (
    Call,
    Client,
    Row,
    Source,
    Tags,
    Update,
    Values,
    camel,
    pascal,
)

_NAMES: Final = {
    "id": "ID",
    "sseAlgorithm": "SSEAlgorithm",
    "kmsMasterKeyId": "KMSMasterKeyID",
}
"""Fields of S3 whose spelling does not follow the rule."""


def _create_bucket(client: Client, values: Values) -> None:
    region = values.get("region") or values.session.region
    more: dict[str, Any] = {}
    if region != "us-east-1":
        more["CreateBucketConfiguration"] = {"LocationConstraint": region}
    if values.get("objectLockEnabled"):
        more["ObjectLockEnabledForBucket"] = True
    client.create_bucket(Bucket=values["bucket"], **more)


def _read_bucket(client: Client, values: Values) -> dict[str, str]:
    client.head_bucket(Bucket=values.id)
    region = client.get_bucket_location(Bucket=values.id).get("LocationConstraint") or "us-east-1"
    return {
        "bucket": values.id,
        "arn": f"arn:aws:s3:::{values.id}",
        "bucketDomainName": f"{values.id}.s3.amazonaws.com",
        "bucketRegionalDomainName": f"{values.id}.s3.{region}.amazonaws.com",
        "bucketRegion": region,
    }


def _delete_bucket(client: Client, values: Values) -> None:
    if values.get("forceDestroy"):
        for page in client.get_paginator("list_object_versions").paginate(Bucket=values.id):
            for item in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
                client.delete_object(Bucket=values.id, Key=item["Key"], VersionId=item["VersionId"])
    client.delete_bucket(Bucket=values.id)


def _tag_bucket(client: Client, values: Values, tags: Mapping[str, str]) -> None:
    if tags:
        listed = [{"Key": name, "Value": value} for name, value in tags.items()]
        client.put_bucket_tagging(Bucket=values.id, Tagging={"TagSet": listed})
    else:
        client.delete_bucket_tagging(Bucket=values.id)


BUCKET: Final = Row(
    token="aws:s3/bucket:Bucket",
    service="s3",
    name="bucket",
    name_length=63,
    create=_create_bucket,
    identity=lambda _answer, values: values["bucket"],
    read=_read_bucket,
    outputs={
        name: name
        for name in ("bucket", "arn", "bucketDomainName", "bucketRegionalDomainName", "bucketRegion")
    },
    delete=_delete_bucket,
    tags=Tags(
        replace=_tag_bucket,
        read=Call("get_bucket_tagging", {"Bucket": "@id"}),
        path="TagSet",
    ),
    inputs=("bucketPrefix", "objectLockEnabled"),
    local=frozenset({"forceDestroy"}),
)


def _setting(
    *,
    token: str,
    put: tuple[str, Mapping[str, Source]],
    get: str,
    outputs: Mapping[str, Any],
    delete: str | Callable[[Client, Values], Any],
    required: tuple[str, ...] = (),
    inputs: tuple[str, ...],
    local: frozenset[str] = frozenset({"expectedBucketOwner"}),
    json: frozenset[str] = frozenset(),
) -> Row:
    """A setting of a bucket: its id is the bucket's, creating and changing it are the same call."""
    write = Call(put[0], {"Bucket": lambda values: values.get("bucket") or values.id, **put[1]})
    return Row(
        token=token,
        service="s3",
        required=("bucket", *required),
        unique=("bucket",),
        create=write,
        identity=lambda _answer, values: values["bucket"],
        read=Call(get, {"Bucket": "@id"}),
        outputs={"bucket": lambda _found, values: values.id, **outputs},
        updates=(Update(inputs, write),),
        delete=Call(delete, {"Bucket": "@id"}) if isinstance(delete, str) else delete,
        local=local,
        json=json,
    )


def _suspend(client: Client, values: Values) -> None:
    # Versioning cannot be taken away from a bucket, only stopped.
    client.put_bucket_versioning(Bucket=values.id, VersioningConfiguration={"Status": "Suspended"})


_BLOCKS: Final = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")

SETTINGS: Final = (
    _setting(
        token="aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
        put=(
            "put_bucket_lifecycle_configuration",
            {"LifecycleConfiguration": lambda values: {"Rules": _rules(values["rules"])}},
        ),
        get="get_bucket_lifecycle_configuration",
        outputs={"rules": lambda found, _values: camel(found["Rules"], _NAMES)},
        delete="delete_bucket_lifecycle",
        required=("rules",),
        inputs=("rules",),
    ),
    _setting(
        token="aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
        put=(
            "put_public_access_block",
            {
                "PublicAccessBlockConfiguration": lambda values: {
                    pascal_name(name): bool(values.get(name)) for name in _BLOCKS
                }
            },
        ),
        get="get_public_access_block",
        outputs={name: f"PublicAccessBlockConfiguration.{name[:1].upper()}{name[1:]}" for name in _BLOCKS},
        delete="delete_public_access_block",
        local=frozenset(),
        inputs=_BLOCKS,
    ),
    _setting(
        token="aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
        put=(
            "put_bucket_encryption",
            {"ServerSideEncryptionConfiguration": lambda values: {"Rules": pascal(values["rules"], _NAMES)}},
        ),
        get="get_bucket_encryption",
        outputs={
            "rules": lambda found, _values: camel(found["ServerSideEncryptionConfiguration"]["Rules"], _NAMES)
        },
        delete="delete_bucket_encryption",
        required=("rules",),
        inputs=("rules",),
    ),
    _setting(
        token="aws:s3/bucketVersioning:BucketVersioning",
        put=(
            "put_bucket_versioning",
            {
                "VersioningConfiguration": lambda values: {
                    "Status": values["versioningConfiguration"]["status"]
                }
            },
        ),
        get="get_bucket_versioning",
        outputs={"versioningConfiguration": lambda found, _values: {"status": found.get("Status")}},
        delete=_suspend,
        required=("versioningConfiguration",),
        inputs=("versioningConfiguration",),
    ),
    _setting(
        token="aws:s3/bucketPolicy:BucketPolicy",
        put=("put_bucket_policy", {"Policy": "policy"}),
        get="get_bucket_policy",
        outputs={"policy": "Policy"},
        delete="delete_bucket_policy",
        required=("policy",),
        local=frozenset(),
        inputs=("policy",),
        json=frozenset({"policy"}),
    ),
    _setting(
        token="aws:s3/bucketOwnershipControls:BucketOwnershipControls",
        put=(
            "put_bucket_ownership_controls",
            {
                "OwnershipControls": lambda values: {
                    "Rules": [{"ObjectOwnership": values["rule"]["objectOwnership"]}]
                }
            },
        ),
        get="get_bucket_ownership_controls",
        outputs={
            "rule": lambda found, _values: {
                "objectOwnership": found["OwnershipControls"]["Rules"][0]["ObjectOwnership"]
            }
        },
        delete="delete_bucket_ownership_controls",
        required=("rule",),
        local=frozenset(),
        inputs=("rule",),
    ),
)


def pascal_name(name: str) -> str:
    """One field in the API's spelling."""
    return name[:1].upper() + name[1:]


def _rules(rules: list[dict[str, Any]]) -> Any:
    # S3 wants a filter in every rule; Pulumi lets it be left out.
    return pascal([{"filter": {"prefix": ""}, **rule} for rule in rules], _NAMES)


def _read_repository(client: Client, values: Values) -> Any:
    return client.describe_repositories(repositoryNames=[values.id])["repositories"][0]


REPOSITORY: Final = Row(
    token="aws:ecr/repository:Repository",
    service="ecr",
    name="name",
    name_length=256,
    create=Call(
        "create_repository",
        {
            "repositoryName": "name",
            "imageTagMutability": "imageTagMutability",
            "imageScanningConfiguration": "imageScanningConfiguration",
            "encryptionConfiguration": lambda values: next(
                (
                    {"encryptionType": one.get("encryptionType", "AES256")}
                    | ({"kmsKey": one["kmsKey"]} if one.get("kmsKey") else {})
                    for one in values.get("encryptionConfigurations", [])
                ),
                None,
            ),
        },
    ),
    identity="repository.repositoryName",
    read=_read_repository,
    outputs={
        "name": "repositoryName",
        "arn": "repositoryArn",
        "registryId": "registryId",
        "repositoryUrl": "repositoryUri",
        "imageTagMutability": "imageTagMutability",
        "imageScanningConfiguration": "imageScanningConfiguration",
        "encryptionConfigurations": lambda found, _values: (
            [found["encryptionConfiguration"]] if found.get("encryptionConfiguration") else None
        ),
    },
    updates=(
        Update(
            ("imageTagMutability",),
            Call(
                "put_image_tag_mutability",
                {
                    "repositoryName": "@id",
                    "imageTagMutability": lambda values: values.get("imageTagMutability", "MUTABLE"),
                },
            ),
        ),
        Update(
            ("imageScanningConfiguration",),
            Call(
                "put_image_scanning_configuration",
                {
                    "repositoryName": "@id",
                    "imageScanningConfiguration": lambda values: values.get(
                        "imageScanningConfiguration", {"scanOnPush": False}
                    ),
                },
            ),
        ),
    ),
    delete=Call(
        "delete_repository",
        {"repositoryName": "@id", "force": lambda values: bool(values.get("forceDelete"))},
    ),
    tags=Tags(
        add="tag_resource",
        remove="untag_resource",
        owner=("resourceArn", "arn"),
        read=Call("list_tags_for_resource", {"resourceArn": "arn"}),
        path="tags",
        tags_parameter="tags",
        keys_parameter="tagKeys",
    ),
    local=frozenset({"forceDelete"}),
)

LIFECYCLE_POLICY: Final = Row(
    token="aws:ecr/lifecyclePolicy:LifecyclePolicy",
    service="ecr",
    required=("repository", "policy"),
    unique=("repository",),
    create=Call("put_lifecycle_policy", {"repositoryName": "repository", "lifecyclePolicyText": "policy"}),
    identity=lambda _answer, values: values["repository"],
    read=Call("get_lifecycle_policy", {"repositoryName": "@id"}),
    outputs={
        "repository": "repositoryName",
        "registryId": "registryId",
        "policy": "lifecyclePolicyText",
    },
    updates=(
        Update(
            ("policy",),
            Call("put_lifecycle_policy", {"repositoryName": "@id", "lifecyclePolicyText": "policy"}),
        ),
    ),
    delete=Call("delete_lifecycle_policy", {"repositoryName": "@id"}),
    json=frozenset({"policy"}),
)

ROWS: Final = (BUCKET, *SETTINGS, REPOSITORY, LIFECYCLE_POLICY)
