"""The AWS stand-in's provider for every type: names, refresh, and what its errors show."""

from __future__ import annotations

import pytest
from aws_in_process import Aws, Refused, check, urn_of
from botocore.exceptions import ClientError

from holdfast_sandbox.plugins.aws.wire import UNKNOWN, Properties, decode, encode

LOG_GROUP = "aws:cloudwatch/logGroup:LogGroup"
SECRET = "aws:secretsmanager/secret:Secret"
VERSION = "aws:secretsmanager/secretVersion:SecretVersion"
SUBNET = "aws:ec2/subnet:Subnet"
VPC = "aws:ec2/vpc:Vpc"


def test_a_value_removed_from_outside_is_put_back(aws: Aws) -> None:
    group = aws.create(LOG_GROUP, name="pods", retentionInDays=7)
    aws.client("logs").delete_retention_policy(logGroupName="pods")
    assert group.refresh()
    assert "retentionInDays" not in group.inputs.plain
    assert "retentionInDays" not in group.state.plain
    group.update(retentionInDays=7)
    assert aws.client("logs").describe_log_groups()["logGroups"][0]["retentionInDays"] == 7


def test_what_the_api_never_shows_is_not_taken_for_removed(aws: Aws) -> None:
    secret = aws.create(SECRET, name="db", recoveryWindowInDays=0)
    assert secret.refresh()
    assert secret.inputs.plain["recoveryWindowInDays"] == 0


def test_a_network_is_imported_with_its_addresses(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.1.0/24", AvailabilityZone="us-east-1a")["Subnet"]
    assert aws.adopt(VPC, vpc).inputs.plain["cidrBlock"] == "10.9.0.0/16"
    adopted = aws.adopt(SUBNET, subnet["SubnetId"])
    assert adopted.inputs.plain["cidrBlock"] == "10.9.1.0/24"
    assert not adopted.diff().diffs
    assert not adopted.diff(availabilityZone=None).diffs


def test_a_prefix_that_a_preview_does_not_know_makes_a_name_that_it_does_not_know(aws: Aws) -> None:
    checked = check(aws.provider, urn_of(SECRET), {"namePrefix": UNKNOWN}, Properties({}, frozenset()))
    assert checked.plain["name"] is UNKNOWN


def test_a_refusal_that_repeats_a_secret_value_is_told_without_its_words(aws: Aws) -> None:
    secret = aws.create(SECRET, name="db")
    message = "the value 'correct horse' at 'secretString' is too short"
    refusal = ClientError({"Error": {"Code": "ValidationException", "Message": message}}, "PutSecretValue")
    aws.session.failing["put_secret_value"] = refusal
    with pytest.raises(Refused) as refused:
        aws.create(VERSION, secretId=secret.id, secretString="correct horse")
    assert str(refused.value) == (
        f"{VERSION}: thing: PutSecretValue was refused: ValidationException: "
        "(the API's words repeat a secret value and are left out)"
    )


def test_a_refusal_that_repeats_an_escaped_secret_value_is_told_without_its_words(aws: Aws) -> None:
    secret = aws.create(SECRET, name="db")
    message = 'cannot read {"pin": "a\\"b"}'
    refusal = ClientError({"Error": {"Code": "ValidationException", "Message": message}}, "PutSecretValue")
    aws.session.failing["put_secret_value"] = refusal
    with pytest.raises(Refused, match="are left out"):
        aws.create(VERSION, secretId=secret.id, secretString='a"b')


def test_a_refusal_without_a_secret_value_keeps_its_words(aws: Aws) -> None:
    secret = aws.create(SECRET, name="db")
    refusal = ClientError({"Error": {"Code": "Throttled", "Message": "try again"}}, "PutSecretValue")
    aws.session.failing["put_secret_value"] = refusal
    with pytest.raises(Refused, match=r"Throttled: try again$"):
        aws.create(VERSION, secretId=secret.id, secretString="correct horse")


def test_secret_values_are_found_at_every_depth() -> None:
    sent = encode({"tags": {"pin": "4711", "ports": [8080, True]}, "name": "db"}, {"tags"})
    assert decode(sent).secret_texts() == {"4711", "8080"}
