"""The buckets: bodies that are too large for the queue, and models' weights."""

from __future__ import annotations

from typing import Final

from pulumi_holdfast.plan.aws.resource import Json, Planned, document, out, tags
from pulumi_holdfast.spec.aws import AwsSpec

BODIES_PREFIX: Final = "bodies/"
STALE_UPLOAD_DAYS: Final = 1
_BUCKET: Final = "aws:s3/bucket:Bucket"


def bodies_bucket(spec: AwsSpec) -> str:
    """The bucket of bodies; a made one carries the account, for bucket names are the whole world's."""
    return spec.storage.bodies_bucket or f"{spec.name}-{spec.account}-{spec.region}-bodies"


def weights_bucket(spec: AwsSpec) -> str:
    """The bucket of weights."""
    return spec.storage.weights_bucket or f"{spec.name}-{spec.account}-{spec.region}-weights"


def storage(spec: AwsSpec) -> list[Planned]:
    """Those buckets that are not there already."""
    planned: list[Planned] = []
    stale = {
        "id": "stale-uploads",
        "status": "Enabled",
        "filter": {"prefix": ""},
        "abortIncompleteMultipartUpload": {"daysAfterInitiation": STALE_UPLOAD_DAYS},
    }
    if spec.storage.bodies_bucket is None:
        old = {
            "id": "bodies",
            "status": "Enabled",
            "filter": {"prefix": BODIES_PREFIX},
            "expiration": {"days": spec.storage.bodies_days},
        }
        # Bodies are gone within days anyway, so a bucket with some in it may be deleted.
        planned += _bucket(spec, "bodies", bodies_bucket(spec), [old, stale], force=True)
    if spec.storage.weights_bucket is None:
        planned += _bucket(spec, "weights", weights_bucket(spec), [stale], force=False)
    return planned


def _bucket(spec: AwsSpec, child: str, name: str, rules: list[Json], force: bool) -> list[Planned]:
    """Private, encrypted, TLS only."""
    bucket = out(child)
    refused = {
        "Sid": "TlsOnly",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [f"arn:{spec.partition}:s3:::{name}", f"arn:{spec.partition}:s3:::{name}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    return [
        Planned(child, _BUCKET, {"bucket": name, "forceDestroy": force, "tags": tags(spec, child)}),
        Planned(
            f"{child}-private",
            "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
            {
                "bucket": bucket,
                "blockPublicAcls": True,
                "blockPublicPolicy": True,
                "ignorePublicAcls": True,
                "restrictPublicBuckets": True,
            },
        ),
        Planned(
            f"{child}-encryption",
            "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
            {
                "bucket": bucket,
                "rules": [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "AES256"}}],
            },
        ),
        Planned(
            f"{child}-lifecycle",
            "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
            {"bucket": bucket, "rules": rules},
        ),
        Planned(
            f"{child}-policy",
            "aws:s3/bucketPolicy:BucketPolicy",
            {"bucket": bucket, "policy": document([refused])},
            after=(f"{child}-private",),
        ),
    ]
