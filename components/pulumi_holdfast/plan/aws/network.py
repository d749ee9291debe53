"""The network: subnets, routes, and the way to AWS's own services."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pulumi_holdfast.plan.aws.resource import Planned, out, tags
from pulumi_holdfast.spec.aws import AwsSpec, Nat

SLOTS_BITS: Final = 3
"""Room for eight zones, however many are declared: a zone that is added later moves no subnet."""
PUBLIC_BITS: Final = 8
"""A public subnet is this much longer than the VPC's prefix: load balancers and NAT gateways alone live there."""
ANYWHERE: Final = "0.0.0.0/0"


@dataclass(frozen=True, slots=True)
class Subnets:
    """The address ranges of one zone."""

    zone: str
    private: str
    public: str


@dataclass(frozen=True, slots=True)
class Network:
    """What other parts use: ids, as holes where the network is made here."""

    vpc_id: str
    private: tuple[str, ...]
    public: tuple[str, ...]
    zones: tuple[str, ...] = ()
    """Of the private subnets, in their order. Empty for an existing network."""

    def private_in(self, zones: Sequence[str]) -> list[str]:
        """Private subnets of these zones; all of them where no zone is named."""
        if not zones:
            return list(self.private)
        return [subnet for subnet, zone in zip(self.private, self.zones, strict=True) if zone in zones]


def subnets(cidr: str, zones: Sequence[str]) -> tuple[Subnets, ...]:
    """The layout of a VPC: its lower half in eight parts for nodes and pods, small public ones in its upper half.

    A zone's place is its place in the declaration, so that one added at the end moves nothing.
    Raises ValueError for more than eight zones.
    """
    if len(zones) > 1 << SLOTS_BITS:
        raise ValueError(f"{len(zones)} zones, above {1 << SLOTS_BITS}: leave some out")
    vpc = ipaddress.IPv4Network(cidr)
    lower, upper = vpc.subnets(prefixlen_diff=1)
    private = list(lower.subnets(prefixlen_diff=SLOTS_BITS))
    public = list(upper.subnets(prefixlen_diff=PUBLIC_BITS - 1))
    return tuple(Subnets(zone, str(private[slot]), str(public[slot])) for slot, zone in enumerate(zones))


def network_of(spec: AwsSpec) -> Network:
    """The network as other parts see it."""
    existing = spec.network.existing
    if existing is not None:
        return Network(existing.vpc_id, existing.private_subnet_ids, existing.public_subnet_ids)
    zones = spec.network.zones
    return Network(
        out("vpc"),
        tuple(out(f"private-{zone}") for zone in zones),
        tuple(out(f"public-{zone}") for zone in zones),
        zones,
    )


def network(spec: AwsSpec) -> list[Planned]:
    """VPC, subnets, routes and endpoints; nothing where the network exists."""
    if spec.network.existing is not None:
        return []
    vpc = Planned(
        "vpc",
        "aws:ec2/vpc:Vpc",
        {
            "cidrBlock": spec.network.cidr,
            "enableDnsHostnames": True,
            "enableDnsSupport": True,
            "tags": tags(spec, "vpc"),
        },
    )
    return [vpc, *_public(spec), *_nat(spec), *_private(spec), *_endpoints(spec)]


def _public(spec: AwsSpec) -> list[Planned]:
    planned = [
        Planned(
            "internet",
            "aws:ec2/internetGateway:InternetGateway",
            {"vpcId": out("vpc"), "tags": tags(spec, "internet")},
        ),
        _table(spec, "public"),
        Planned(
            "public-internet",
            "aws:ec2/route:Route",
            {
                "routeTableId": out("public"),
                "destinationCidrBlock": ANYWHERE,
                "gatewayId": out("internet"),
            },
        ),
    ]
    for one in subnets(spec.network.cidr, spec.network.zones):
        planned += _subnet(spec, f"public-{one.zone}", one.zone, one.public, "public", "elb")
    return planned


def _table(spec: AwsSpec, child: str) -> Planned:
    return Planned(child, "aws:ec2/routeTable:RouteTable", {"vpcId": out("vpc"), "tags": tags(spec, child)})


def _subnet(spec: AwsSpec, child: str, zone: str, cidr: str, table: str, balancer: str) -> list[Planned]:
    """No address of the internet's by default, in public ones either: who needs one asks for it."""
    more = {f"kubernetes.io/role/{balancer}": "1"}
    if balancer == "internal-elb":
        more["karpenter.sh/discovery"] = spec.name
    return [
        Planned(
            child,
            "aws:ec2/subnet:Subnet",
            {
                "vpcId": out("vpc"),
                "cidrBlock": cidr,
                "availabilityZone": zone,
                "mapPublicIpOnLaunch": False,
                "tags": tags(spec, child, more),
            },
        ),
        Planned(
            f"{child}-routes",
            "aws:ec2/routeTableAssociation:RouteTableAssociation",
            {"routeTableId": out(table), "subnetId": out(child)},
        ),
    ]


def nat_zones(spec: AwsSpec) -> tuple[str, ...]:
    """The zones that have a NAT gateway."""
    counts = {Nat.NONE: 0, Nat.ONE: 1, Nat.PER_ZONE: len(spec.network.zones)}
    return spec.network.zones[: counts[spec.network.nat]]


def _nat(spec: AwsSpec) -> list[Planned]:
    planned = []
    for zone in nat_zones(spec):
        planned += [
            Planned(
                f"nat-{zone}-address",
                "aws:ec2/eip:Eip",
                {"domain": "vpc", "tags": tags(spec, f"nat-{zone}")},
                after=("internet",),
            ),
            Planned(
                f"nat-{zone}",
                "aws:ec2/natGateway:NatGateway",
                {
                    "allocationId": out(f"nat-{zone}-address", "allocationId"),
                    "subnetId": out(f"public-{zone}"),
                    "tags": tags(spec, f"nat-{zone}"),
                },
                after=("public-internet",),
            ),
        ]
    return planned


def _private(spec: AwsSpec) -> list[Planned]:
    planned = []
    with_nat = nat_zones(spec)
    for one in subnets(spec.network.cidr, spec.network.zones):
        table = f"private-{one.zone}-table"
        planned.append(_table(spec, table))
        if with_nat:
            nearest = one.zone if one.zone in with_nat else with_nat[0]
            planned.append(
                Planned(
                    f"private-{one.zone}-internet",
                    "aws:ec2/route:Route",
                    {
                        "routeTableId": out(table),
                        "destinationCidrBlock": ANYWHERE,
                        "natGatewayId": out(f"nat-{nearest}"),
                    },
                )
            )
        planned += _subnet(spec, f"private-{one.zone}", one.zone, one.private, table, "internal-elb")
    return planned


def _endpoints(spec: AwsSpec) -> list[Planned]:
    service = f"com.amazonaws.{spec.region}"
    planned = [
        Planned(
            "endpoint-s3",
            "aws:ec2/vpcEndpoint:VpcEndpoint",
            {
                "vpcId": out("vpc"),
                "serviceName": f"{service}.s3",
                "vpcEndpointType": "Gateway",
                "routeTableIds": [out(f"private-{zone}-table") for zone in spec.network.zones],
                "tags": tags(spec, "endpoint-s3"),
            },
        )
    ]
    if spec.network.endpoints:
        planned.append(
            Planned(
                "endpoints",
                "aws:ec2/securityGroup:SecurityGroup",
                {
                    "vpcId": out("vpc"),
                    "description": "AWS services, reached from inside the network",
                    "ingress": [
                        {
                            "protocol": "tcp",
                            "fromPort": 443,
                            "toPort": 443,
                            "cidrBlocks": [spec.network.cidr],
                        }
                    ],
                    "tags": tags(spec, "endpoints"),
                },
            )
        )
    for name in spec.network.endpoints:
        child = f"endpoint-{name.value.replace('.', '-')}"
        planned.append(
            Planned(
                child,
                "aws:ec2/vpcEndpoint:VpcEndpoint",
                {
                    "vpcId": out("vpc"),
                    "serviceName": f"{service}.{name.value}",
                    "vpcEndpointType": "Interface",
                    "privateDnsEnabled": True,
                    "subnetIds": [out(f"private-{zone}") for zone in spec.network.zones],
                    "securityGroupIds": [out("endpoints")],
                    "tags": tags(spec, child),
                },
            )
        )
    return planned
