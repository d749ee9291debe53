"""Functions of the AWS stand-in that read."""

from __future__ import annotations

import pytest
from aws_in_process import Aws, Refused

POLICY_DOCUMENT = "aws:iam/getPolicyDocument:getPolicyDocument"
ZONE = "aws:route53/getZone:getZone"


def test_the_same_policy_document_has_the_same_id_in_every_process(aws: Aws) -> None:
    found = aws.invoke(POLICY_DOCUMENT, statements=[{"actions": ["s3:GetObject"], "resources": ["*"]}])
    assert found.plain["id"] == "314950858"


def test_the_public_and_the_private_zone_of_one_name_are_told_apart(aws: Aws) -> None:
    vpc = aws.client("ec2").create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    route53 = aws.client("route53")
    private = route53.create_hosted_zone(
        Name="example.test",
        CallerReference="a",
        VPC={"VPCRegion": "us-east-1", "VPCId": vpc},
        HostedZoneConfig={"PrivateZone": True},
    )["HostedZone"]["Id"]
    with pytest.raises(Refused, match=r"there is no public hosted zone example\.test"):
        aws.invoke(ZONE, name="example.test")
    public = route53.create_hosted_zone(Name="example.test", CallerReference="b")["HostedZone"]["Id"]
    assert aws.invoke(ZONE, name="example.test").plain["id"] == public.rpartition("/")[2]
    found = aws.invoke(ZONE, name="example.test", privateZone=True)
    assert found.plain["id"] == private.rpartition("/")[2]
    assert aws.invoke(ZONE, zoneId=found.plain["id"]).plain["privateZone"] is True
