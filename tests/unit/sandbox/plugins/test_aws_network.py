"""Networks of the AWS stand-in: routes, gateways, security groups, zones and log groups."""

from __future__ import annotations

from typing import Any

import pytest
from aws_in_process import Aws, Refused

VPC = "aws:ec2/vpc:Vpc"
TABLE = "aws:ec2/routeTable:RouteTable"
ROUTE = "aws:ec2/route:Route"
GATEWAY = "aws:ec2/internetGateway:InternetGateway"
GROUP = "aws:ec2/securityGroup:SecurityGroup"
RULE = "aws:ec2/securityGroupRule:SecurityGroupRule"
SINGLE = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
RECORD = "aws:route53/record:Record"
ZONE = "aws:route53/zone:Zone"
LOG_GROUP = "aws:cloudwatch/logGroup:LogGroup"


def _prefix_list(aws: Aws, name: str = "own") -> str:
    made = aws.client("ec2").create_managed_prefix_list(
        PrefixListName=name, AddressFamily="IPv4", MaxEntries=2
    )
    return str(made["PrefixList"]["PrefixListId"])


def _routes(aws: Aws, table: str) -> list[dict[str, Any]]:
    found = aws.client("ec2").describe_route_tables(RouteTableIds=[table])["RouteTables"][0]["Routes"]
    return [route for route in found if route.get("GatewayId") != "local"]


def test_a_route_to_a_prefix_list_is_deleted(aws: Aws) -> None:
    vpc = aws.create(VPC, cidrBlock="10.0.0.0/16")
    table, gateway = aws.create(TABLE, vpcId=vpc.id), aws.create(GATEWAY, vpcId=vpc.id)
    route = aws.create(
        ROUTE, routeTableId=table.id, destinationPrefixListId=_prefix_list(aws), gatewayId=gateway.id
    )
    asked: list[dict[str, Any]] = []
    # Moto finds the route by any of the fields; AWS does not.
    events = aws.client("ec2").meta.events
    events.register(
        "provide-client-params.ec2.DeleteRoute", lambda params, **_: asked.append(params), "asked"
    )
    route.delete()
    events.unregister("provide-client-params.ec2.DeleteRoute", unique_id="asked")
    assert not _routes(aws, table.id)
    prefix_list = route.state.plain["destinationPrefixListId"]
    assert asked == [{"RouteTableId": table.id, "DestinationPrefixListId": prefix_list}]


def test_routes_inside_a_table_may_lead_to_ipv6_and_prefix_lists(aws: Aws) -> None:
    vpc = aws.create(VPC, cidrBlock="10.0.0.0/16")
    gateway = aws.create(GATEWAY, vpcId=vpc.id)
    routes = [
        {"cidrBlock": "0.0.0.0/0", "gatewayId": gateway.id},
        {"ipv6CidrBlock": "::/0", "gatewayId": gateway.id},
        {"destinationPrefixListId": _prefix_list(aws), "gatewayId": gateway.id},
    ]
    table = aws.create(TABLE, vpcId=vpc.id, routes=routes)
    table.update(routes=routes[1:])
    assert len(_routes(aws, table.id)) == 2
    assert table.refresh()
    assert not table.diff().diffs


def test_a_table_whose_routes_are_refused_does_not_stay(aws: Aws) -> None:
    vpc = aws.create(VPC, cidrBlock="10.0.0.0/16")
    before = len(aws.client("ec2").describe_route_tables()["RouteTables"])
    with pytest.raises(Refused, match=r"CreateRoute was refused: InvalidInternetGatewayID\.NotFound"):
        aws.create_only(TABLE, vpcId=vpc.id, routes=[{"cidrBlock": "0.0.0.0/0", "gatewayId": "igw-0"}])
    assert len(aws.client("ec2").describe_route_tables()["RouteTables"]) == before


def test_a_gateway_moves_to_another_network_in_place(aws: Aws) -> None:
    first, second = (aws.create(VPC, cidrBlock=cidr) for cidr in ("10.0.0.0/16", "10.1.0.0/16"))
    gateway = aws.create(GATEWAY, vpcId=first.id)
    assert gateway.update(vpcId=second.id)["vpcId"] == second.id
    assert not gateway.diff().diffs


def test_rules_inside_a_group_are_the_same_however_the_api_puts_them_together(aws: Aws) -> None:
    vpc = aws.create(VPC, cidrBlock="10.0.0.0/16")
    https = {"protocol": "tcp", "fromPort": 443, "toPort": 443}
    group = aws.create(
        GROUP,
        name="web",
        vpcId=vpc.id,
        ingress=[
            {**https, "cidrBlocks": ["10.1.0.0/16"], "description": "office"},
            {**https, "cidrBlocks": ["10.2.0.0/16"]},
            {**https, "prefixListIds": [_prefix_list(aws)]},
        ],
    )
    aws.client("ec2").revoke_security_group_ingress(
        GroupId=group.id, IpProtocol="tcp", FromPort=443, ToPort=443, CidrIp="10.2.0.0/16"
    )
    assert group.refresh()
    assert list(group.diff(ingress=[{**https, "cidrBlocks": ["10.2.0.0/16"]}]).diffs) == ["ingress"]


def test_a_rule_that_is_gone_is_not_taken_for_another_of_the_same_ports(aws: Aws) -> None:
    vpc = aws.create(VPC, cidrBlock="10.0.0.0/16")
    group = aws.create(GROUP, name="web", vpcId=vpc.id)
    common = {"type": "ingress", "securityGroupId": group.id, "protocol": "tcp", "fromPort": 1, "toPort": 2}
    aws.create(RULE, **common, cidrBlocks=["10.1.0.0/16"])
    listed = aws.create(RULE, **common, prefixListIds=[_prefix_list(aws)])
    listed.delete()
    assert not listed.refresh()


def test_a_rule_is_described_anew_in_place(aws: Aws) -> None:
    vpc = aws.create(VPC, cidrBlock="10.0.0.0/16")
    group = aws.create(GROUP, name="web", vpcId=vpc.id)
    common = {"type": "ingress", "securityGroupId": group.id, "protocol": "tcp", "fromPort": 1, "toPort": 2}
    rule = aws.create(RULE, **common, cidrBlocks=["10.1.0.0/16"], description="old")
    rule.update(description="new")
    found = aws.client("ec2").describe_security_groups(GroupIds=[group.id])["SecurityGroups"][0]
    assert found["IpPermissions"][0]["IpRanges"] == [{"CidrIp": "10.1.0.0/16", "Description": "new"}]


def test_a_rule_of_its_own_is_changed_in_place(aws: Aws) -> None:
    vpc = aws.create(VPC, cidrBlock="10.0.0.0/16")
    group = aws.create(GROUP, name="web", vpcId=vpc.id)
    rule = aws.create(
        SINGLE, securityGroupId=group.id, ipProtocol="tcp", fromPort=1, toPort=2, cidrIpv4="10.1.0.0/16"
    )
    rule.update(toPort=3, cidrIpv4="10.2.0.0/16")
    found = aws.client("ec2").describe_security_groups(GroupIds=[group.id])["SecurityGroups"][0]
    (permission,) = found["IpPermissions"]
    assert (permission["ToPort"], permission["IpRanges"][0]["CidrIp"]) == (3, "10.2.0.0/16")
    assert rule.refresh()
    assert not rule.diff().diffs
    assert list(rule.diff(cidrIpv4=None, cidrIpv6="::/0").replaces) == ["cidrIpv6"]


def test_records_of_one_name_are_told_apart_by_their_set_identifier(aws: Aws) -> None:
    zone = aws.create(ZONE, name="example.test")
    one = aws.create(RECORD, zoneId=zone.id, name="_a_b.example.test", type="TXT", ttl=60, records=['"v"'])
    assert one.id == f"{zone.id}_" + "_a_b.example.test_TXT"
    common = {"zoneId": zone.id, "name": "www.example.test", "type": "CNAME", "ttl": 60}
    blue = aws.create(RECORD, **common, setIdentifier="blue", records=["blue.example.test"])
    green = aws.create(RECORD, **common, setIdentifier="green", records=["green.example.test"])
    assert green.id == f"{zone.id}_www.example.test_CNAME_green"
    blue.delete()
    assert not blue.refresh()
    assert green.refresh()


def test_a_private_zone_serves_all_networks_that_are_declared(aws: Aws) -> None:
    ids = [aws.create(VPC, cidrBlock=f"10.{number}.0.0/16").id for number in range(3)]
    zone = aws.create(ZONE, name="internal.test", vpcs=[{"vpcId": ids[0]}, {"vpcId": ids[1]}])
    zone.update(vpcs=[{"vpcId": ids[1]}, {"vpcId": ids[2]}])
    found = aws.client("route53").get_hosted_zone(Id=zone.id)["VPCs"]
    assert {one["VPCId"] for one in found} == set(ids[1:])
    assert not zone.diff().diffs


def test_a_log_group_that_outlives_its_program_is_not_deleted(aws: Aws) -> None:
    group = aws.create(LOG_GROUP, name="/kept", skipDestroy=True)
    group.delete()
    assert group.refresh()
    group.update(skipDestroy=None)
    group.delete()
    assert not group.refresh()


def test_a_log_group_is_not_replaced_because_its_key_changes(aws: Aws) -> None:
    group = aws.create(LOG_GROUP, name="/kept")
    with pytest.raises(Refused, match="the AWS stand-in cannot change the key of the log group /kept"):
        group.update(kmsKeyId="arn:aws:kms:us-east-1:123456789012:key/one")
