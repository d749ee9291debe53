"""Secrets and keys of the AWS stand-in: versions, stages, policies, and secrets that are marked deleted."""

from __future__ import annotations

import base64

import pytest
from aws_in_process import Aws, Refused, Resource
from botocore.exceptions import ClientError
from pulumi.runtime.proto import provider_pb2

from holdfast_sandbox.plugins.aws.provider import AwsProvider
from holdfast_sandbox.plugins.aws.wire import encode

SECRET = "aws:secretsmanager/secret:Secret"
VERSION = "aws:secretsmanager/secretVersion:SecretVersion"
KEY = "aws:kms/key:Key"
READ_VERSION = "aws:secretsmanager/getSecretVersion:getSecretVersion"
POLICY = (
    '{"Version": "2012-10-17", "Statement": [{"Sid": "own", "Effect": "Allow", "Principal": '
    '{"AWS": "arn:aws:iam::123456789012:root"}, "Action": "kms:*", "Resource": "*"}]}'
)


def _secret_with_version(aws: Aws) -> tuple[Resource, Resource]:
    secret = aws.create(SECRET, name="db")
    return secret, aws.create(VERSION, secretId=secret.id, secretString="correct horse")


def test_a_secret_marked_deleted_is_gone_with_its_versions(aws: Aws) -> None:
    secret, version = _secret_with_version(aws)
    aws.client("secretsmanager").delete_secret(SecretId=secret.id)
    assert not version.refresh()
    assert not secret.refresh()


def test_deleting_what_is_marked_deleted_is_no_error(aws: Aws) -> None:
    secret, version = _secret_with_version(aws)
    secret.delete()
    version.delete()
    secret.delete()


def test_deleting_what_was_removed_for_good_is_no_error(aws: Aws) -> None:
    secret, version = _secret_with_version(aws)
    aws.client("secretsmanager").delete_secret(SecretId=secret.id, ForceDeleteWithoutRecovery=True)
    version.delete()
    secret.delete()


def test_a_secret_whose_creation_fails_half_way_leaves_its_name_free(aws: Aws) -> None:
    refusal = ClientError({"Error": {"Code": "MalformedPolicy", "Message": "no"}}, "PutResourcePolicy")
    aws.session.failing["put_resource_policy"] = refusal
    with pytest.raises(Refused, match="PutResourcePolicy was refused: MalformedPolicy"):
        aws.create(SECRET, name="db", policy=POLICY)
    del aws.session.failing["put_resource_policy"]
    assert aws.create(SECRET, name="db").state.plain["name"] == "db"


def test_a_policy_that_is_no_longer_declared_is_taken_off_the_secret(aws: Aws) -> None:
    secret = aws.create(SECRET, name="db", policy=POLICY)
    secret.update(policy=None)
    assert "ResourcePolicy" not in aws.client("secretsmanager").get_resource_policy(SecretId="db")


def test_a_key_keeps_the_policy_that_is_no_longer_declared(aws: Aws) -> None:
    key = aws.create(KEY, policy=POLICY)
    assert not key.diff(policy=None).diffs


def test_stages_move_in_place(aws: Aws) -> None:
    secret = aws.create(SECRET, name="db")
    current = aws.create_only(VERSION, secretId=secret.id, secretString="one")
    staged = aws.create(VERSION, secretId=secret.id, secretString="two", versionStages=["blue", "green"])
    staged.update(versionStages=["green", "AWSCURRENT"])
    found = aws.client("secretsmanager").describe_secret(SecretId="db")["VersionIdsToStages"]
    assert sorted(found[staged.id.rpartition("|")[2]]) == ["AWSCURRENT", "green"]
    assert "AWSCURRENT" not in found.get(current.id.rpartition("|")[2], [])
    assert not staged.diff(versionStages=None).diffs


def test_a_binary_value_is_stored_decoded_and_read_as_base64(aws: Aws) -> None:
    text = base64.b64encode(b"\x00\xff\x01").decode()
    secret = aws.create(SECRET, name="db")
    version = aws.create(VERSION, secretId=secret.id, secretBinary=text)
    stored = aws.client("secretsmanager").get_secret_value(SecretId="db")
    assert stored["SecretBinary"] == b"\x00\xff\x01"
    assert version.state.plain["secretBinary"] == text
    assert "secretBinary" in version.state.secret
    read = aws.invoke(READ_VERSION, secretId=secret.id)
    assert read.plain["secretBinary"] == text
    assert {"secretBinary", "secretString"} <= read.secret


def test_a_binary_value_that_is_no_base64_is_refused_without_its_value(aws: Aws) -> None:
    secret = aws.create(SECRET, name="db")
    with pytest.raises(Refused) as refused:
        aws.create(VERSION, secretId=secret.id, secretBinary="hunter two!")
    assert str(refused.value) == f"{VERSION}: secretBinary is not base64: encode it"


def test_secret_tags_are_secret_among_all_tags_too(aws: Aws) -> None:
    secret = aws.create(SECRET, secret=("tags",), name="db", tags={"pin": "4711"})
    assert {"tags", "tagsAll"} <= secret.state.secret


def test_secret_default_tags_of_a_provider_are_secret_among_all_tags(
    aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    configured = AwsProvider("")
    given = encode({"defaultTags": '{"tags": {"pin": "4711"}}'}, {"defaultTags"})
    configured.Configure(provider_pb2.ConfigureRequest(args=given), None)
    configured._session = aws.session
    aws.provider = configured
    secret = aws.create(SECRET, name="db")
    assert secret.state.plain["tagsAll"] == {"pin": "4711"}
    assert "tagsAll" in secret.state.secret


def test_tags_that_are_not_secret_stay_readable(aws: Aws) -> None:
    secret = aws.create(SECRET, name="db", tags={"team": "search"})
    assert secret.state.secret == frozenset()


def test_an_imported_key_need_not_declare_what_every_key_has(aws: Aws) -> None:
    made = aws.client("kms").create_key(Description="disks")["KeyMetadata"]["KeyId"]
    key = aws.adopt(KEY, made)
    undeclared = dict.fromkeys(key.inputs.plain.keys() - {"description"})
    assert not key.diff(**undeclared).diffs
    assert list(key.diff(**{**undeclared, "isEnabled": False}).diffs) == ["isEnabled"]
