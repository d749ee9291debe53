"""The network's plan: subnets that never overlap or move, and a way out for each."""

from __future__ import annotations

import ipaddress
import itertools
from typing import Any

import pytest
from aws_args import aws_args
from hypothesis import given
from hypothesis import strategies as st

from pulumi_holdfast.plan.aws.network import nat_zones, network, network_of, subnets
from pulumi_holdfast.plan.aws.resource import Planned
from pulumi_holdfast.spec.aws import AwsSpec, parse_aws

ZONES = [f"us-east-1{letter}" for letter in "abcdef"]


def planned(**section: Any) -> tuple[AwsSpec, dict[str, Planned]]:
    """The spec, and the network's plan by child."""
    spec = parse_aws("gpu", aws_args(network={"zones": tuple(ZONES[:3]), **section}))
    return spec, {one.child: one for one in network(spec)}


@st.composite
def vpcs(draw: st.DrawFn) -> str:
    """Any network that a spec accepts."""
    prefix = draw(st.integers(16, 19))
    first = draw(st.integers(0, (1 << prefix) - 1)) << (32 - prefix)
    return str(ipaddress.IPv4Network((first, prefix)))


@given(cidr=vpcs(), zones=st.integers(2, 6))
def test_subnets_are_disjoint_inside_the_network_and_large_enough(cidr: str, zones: int) -> None:
    vpc = ipaddress.IPv4Network(cidr)
    layout = subnets(cidr, ZONES[:zones])
    assert [one.zone for one in layout] == ZONES[:zones]
    ranges = [ipaddress.IPv4Network(text) for one in layout for text in (one.private, one.public)]
    assert all(one.subnet_of(vpc) for one in ranges)
    assert not any(left.overlaps(right) for left, right in itertools.combinations(ranges, 2))
    assert all(ipaddress.IPv4Network(one.private).num_addresses * 16 == vpc.num_addresses for one in layout)
    # A load balancer wants a /27 and eight free addresses in it.
    assert all(ipaddress.IPv4Network(one.public).prefixlen <= 27 for one in layout)


@given(cidr=vpcs(), zones=st.integers(2, 5))
def test_a_zone_added_at_the_end_moves_no_subnet(cidr: str, zones: int) -> None:
    assert subnets(cidr, ZONES[: zones + 1])[:zones] == subnets(cidr, ZONES[:zones])


def test_more_zones_than_the_layout_has_room_for_are_refused() -> None:
    with pytest.raises(ValueError, match="9 zones, above 8: leave some out"):
        subnets("10.0.0.0/16", [str(number) for number in range(9)])


@pytest.mark.parametrize(("nat", "count"), [("per-zone", 3), ("one", 1), ("none", 0)])
def test_each_private_subnet_leaves_by_the_nearest_nat_gateway_there_is(nat: str, count: int) -> None:
    spec, plan = planned(nat=nat)
    assert len(nat_zones(spec)) == count
    gateways = [one for one in plan.values() if one.type == "aws:ec2/natGateway:NatGateway"]
    assert len(gateways) == count
    for index, zone in enumerate(ZONES[:3]):
        route = plan.get(f"private-{zone}-internet")
        if count == 0:
            assert route is None
        else:
            assert route is not None
            used = ZONES[index if count == 3 else 0]
            assert route.props["natGatewayId"] == f"⟦nat-{used}.id⟧"


def test_aws_services_are_reached_without_nat() -> None:
    _, plan = planned()
    services = {
        one.props["serviceName"].rpartition("us-east-1.")[2]: one.props["vpcEndpointType"]
        for one in plan.values()
        if one.type == "aws:ec2/vpcEndpoint:VpcEndpoint"
    }
    assert services == {
        "s3": "Gateway",
        "ecr.api": "Interface",
        "ecr.dkr": "Interface",
        "secretsmanager": "Interface",
        "sts": "Interface",
    }
    assert plan["endpoints"].props["ingress"][0]["cidrBlocks"] == ["10.0.0.0/16"]


def test_nothing_gets_a_public_address_by_itself() -> None:
    _, plan = planned()
    found = [one for one in plan.values() if one.type == "aws:ec2/subnet:Subnet"]
    assert len(found) == 6
    assert not any(one.props["mapPublicIpOnLaunch"] for one in found)


def test_an_existing_network_is_used_and_nothing_of_it_is_made() -> None:
    existing = {"vpc_id": "vpc-1a2b", "private_subnet_ids": ("subnet-1", "subnet-2")}
    args = aws_args(network={"existing": {**existing, "public_subnet_ids": ("subnet-3", "subnet-4")}})
    spec = parse_aws("gpu", args)
    assert network(spec) == []
    assert network_of(spec).vpc_id == "vpc-1a2b"
    assert network_of(spec).private_in(()) == ["subnet-1", "subnet-2"]


def test_a_plan_names_only_children_that_come_before() -> None:
    _, plan = planned()
    before: set[str] = set()
    for one in plan.values():
        assert one.needs <= before, one.child
        before.add(one.child)
