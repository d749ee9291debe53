"""EC2 networks: VPCs, subnets, gateways, endpoints."""

from __future__ import annotations

from typing import Any, Final

from botocore.exceptions import ClientError

from holdfast_sandbox.plugins.aws.model import Call, Client, Row, Update, Values
from holdfast_sandbox.plugins.aws.session import is_missing
from holdfast_sandbox.plugins.aws.tables.ec2 import EC2_TAGS, arn, described, owner


def attribute(name: str, parameter: str, otherwise: bool) -> Update:
    """An attribute of a VPC: each needs a call of its own."""
    return Update(
        (name,),
        Call(
            "modify_vpc_attribute",
            {"VpcId": "@id", parameter: lambda values: {"Value": bool(values.get(name, otherwise))}},
        ),
        after_create=True,
    )


def _read_vpc(client: Client, values: Values) -> Any:
    vpcs = client.describe_vpcs(VpcIds=[values.id])["Vpcs"]
    if not vpcs:
        return None
    tables = client.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [values.id]}])["RouteTables"]
    main = [t for t in tables if any(a.get("Main") for a in t["Associations"])]
    groups = client.describe_security_groups(
        Filters=[{"Name": "vpc-id", "Values": [values.id]}, {"Name": "group-name", "Values": ["default"]}]
    )["SecurityGroups"]
    support = client.describe_vpc_attribute(VpcId=values.id, Attribute="enableDnsSupport")
    names = client.describe_vpc_attribute(VpcId=values.id, Attribute="enableDnsHostnames")
    return {
        **vpcs[0],
        "MainTable": main[0]["RouteTableId"] if main else None,
        "DefaultGroup": groups[0]["GroupId"] if groups else None,
        "DnsSupport": support["EnableDnsSupport"]["Value"],
        "DnsHostnames": names["EnableDnsHostnames"]["Value"],
    }


def _attach_gateway(client: Client, values: Values) -> None:
    _detach_gateway(client, values)
    client.attach_internet_gateway(InternetGatewayId=values.id, VpcId=values["vpcId"])


def _detach_gateway(client: Client, values: Values) -> None:
    found = client.describe_internet_gateways(InternetGatewayIds=[values.id])["InternetGateways"]
    for attachment in found[0]["Attachments"] if found else ():
        client.detach_internet_gateway(InternetGatewayId=values.id, VpcId=attachment["VpcId"])


def _delete_gateway(client: Client, values: Values) -> None:
    _detach_gateway(client, values)
    client.delete_internet_gateway(InternetGatewayId=values.id)


def _read_nat(client: Client, values: Values) -> Any:
    found = client.describe_nat_gateways(NatGatewayIds=[values.id])["NatGateways"]
    return next((one for one in found if one["State"] not in ("deleted", "deleting")), None)


def _read_endpoint(client: Client, values: Values) -> Any:
    found = client.describe_vpc_endpoints(VpcEndpointIds=[values.id])["VpcEndpoints"]
    return next((one for one in found if one["State"].lower() not in ("deleted", "deleting")), None)


def _modify_endpoint(client: Client, values: Values) -> None:
    found = client.describe_vpc_endpoints(VpcEndpointIds=[values.id])["VpcEndpoints"][0]
    changes: dict[str, Any] = {}
    pairs = (
        ("routeTableIds", "RouteTableIds", "AddRouteTableIds", "RemoveRouteTableIds"),
        ("subnetIds", "SubnetIds", "AddSubnetIds", "RemoveSubnetIds"),
    )
    for name, field, add, remove in pairs:
        wanted, present = set(values.get(name, [])), set(found.get(field, []))
        if wanted - present:
            changes[add] = sorted(wanted - present)
        if present - wanted:
            changes[remove] = sorted(present - wanted)
    if values.get("policy"):
        changes["PolicyDocument"] = values["policy"]
    if changes:
        client.modify_vpc_endpoint(VpcEndpointId=values.id, **changes)


def _release(client: Client, values: Values) -> None:
    try:
        client.release_address(AllocationId=values.id)
    except ClientError as error:
        if not is_missing(error):
            raise


def _read_address(client: Client, values: Values) -> Any:
    found = client.describe_addresses(AllocationIds=[values.id])["Addresses"]
    return found[0] if found else None


ROWS: Final = (
    Row(
        token="aws:ec2/vpc:Vpc",
        service="ec2",
        create=Call("create_vpc", {"CidrBlock": "cidrBlock", "InstanceTenancy": "instanceTenancy"}),
        identity="Vpc.VpcId",
        read=_read_vpc,
        outputs={
            "arn": arn("vpc"),
            "ownerId": owner,
            "cidrBlock": "CidrBlock",
            "instanceTenancy": "InstanceTenancy",
            "mainRouteTableId": "MainTable",
            "defaultRouteTableId": "MainTable",
            "defaultSecurityGroupId": "DefaultGroup",
            "enableDnsSupport": "DnsSupport",
            "enableDnsHostnames": "DnsHostnames",
        },
        updates=(
            attribute("enableDnsSupport", "EnableDnsSupport", True),
            attribute("enableDnsHostnames", "EnableDnsHostnames", False),
        ),
        delete=Call("delete_vpc", {"VpcId": "@id"}),
        tags=EC2_TAGS,
    ),
    Row(
        token="aws:ec2/subnet:Subnet",
        service="ec2",
        required=("vpcId",),
        unique=("vpcId", "cidrBlock"),
        create=Call(
            "create_subnet",
            {
                "VpcId": "vpcId",
                "CidrBlock": "cidrBlock",
                "AvailabilityZone": "availabilityZone",
                "AvailabilityZoneId": "availabilityZoneId",
            },
        ),
        identity="Subnet.SubnetId",
        read=described("describe_subnets", "SubnetIds"),
        found="Subnets[0]",
        outputs={
            "arn": "SubnetArn",
            "ownerId": owner,
            "vpcId": "VpcId",
            "cidrBlock": "CidrBlock",
            "availabilityZone": "AvailabilityZone",
            "availabilityZoneId": "AvailabilityZoneId",
            "mapPublicIpOnLaunch": "MapPublicIpOnLaunch",
        },
        updates=(
            Update(
                ("mapPublicIpOnLaunch",),
                Call(
                    "modify_subnet_attribute",
                    {
                        "SubnetId": "@id",
                        "MapPublicIpOnLaunch": lambda values: {
                            "Value": bool(values.get("mapPublicIpOnLaunch"))
                        },
                    },
                ),
                after_create=True,
            ),
        ),
        delete=Call("delete_subnet", {"SubnetId": "@id"}),
        tags=EC2_TAGS,
    ),
    Row(
        token="aws:ec2/internetGateway:InternetGateway",
        service="ec2",
        create=Call("create_internet_gateway", {}),
        identity="InternetGateway.InternetGatewayId",
        read=described("describe_internet_gateways", "InternetGatewayIds"),
        found="InternetGateways[0]",
        outputs={
            "arn": arn("internet-gateway"),
            "ownerId": owner,
            "vpcId": "Attachments[0].VpcId",
        },
        updates=(Update(("vpcId",), _attach_gateway, after_create=True),),
        computed=frozenset({"vpcId"}),
        delete=_delete_gateway,
        tags=EC2_TAGS,
    ),
    Row(
        token="aws:ec2/eip:Eip",
        service="ec2",
        create=Call("allocate_address", {"Domain": lambda values: values.get("domain", "vpc")}),
        identity="AllocationId",
        read=_read_address,
        outputs={
            "arn": arn("elastic-ip"),
            "allocationId": "AllocationId",
            "publicIp": "PublicIp",
            "domain": "Domain",
        },
        delete=_release,
        tags=EC2_TAGS,
    ),
    Row(
        token="aws:ec2/natGateway:NatGateway",
        service="ec2",
        create=Call(
            "create_nat_gateway",
            {
                "SubnetId": "subnetId",
                "AllocationId": "allocationId",
                "ConnectivityType": "connectivityType",
            },
        ),
        identity="NatGateway.NatGatewayId",
        read=_read_nat,
        outputs={
            "subnetId": "SubnetId",
            "connectivityType": "ConnectivityType",
            "allocationId": "NatGatewayAddresses[0].AllocationId",
            "publicIp": "NatGatewayAddresses[0].PublicIp",
            "privateIp": "NatGatewayAddresses[0].PrivateIp",
            "networkInterfaceId": "NatGatewayAddresses[0].NetworkInterfaceId",
        },
        delete=Call("delete_nat_gateway", {"NatGatewayId": "@id"}),
        tags=EC2_TAGS,
    ),
    Row(
        token="aws:ec2/vpcEndpoint:VpcEndpoint",
        service="ec2",
        required=("vpcId",),
        create=Call(
            "create_vpc_endpoint",
            {
                "VpcId": "vpcId",
                "ServiceName": "serviceName",
                "VpcEndpointType": "vpcEndpointType",
                "PolicyDocument": "policy",
                "RouteTableIds": "routeTableIds",
                "SubnetIds": "subnetIds",
                "SecurityGroupIds": "securityGroupIds",
                "PrivateDnsEnabled": "privateDnsEnabled",
            },
        ),
        identity="VpcEndpoint.VpcEndpointId",
        read=_read_endpoint,
        outputs={
            "arn": arn("vpc-endpoint"),
            "ownerId": owner,
            "vpcId": "VpcId",
            "serviceName": "ServiceName",
            "vpcEndpointType": "VpcEndpointType",
            "state": "State",
            "policy": "PolicyDocument",
            "routeTableIds": "RouteTableIds",
            "subnetIds": "SubnetIds",
            "networkInterfaceIds": "NetworkInterfaceIds",
            "dnsEntries": lambda found, _values: [
                {"dnsName": entry.get("DnsName"), "hostedZoneId": entry.get("HostedZoneId")}
                for entry in found.get("DnsEntries", [])
            ],
        },
        updates=(Update(("routeTableIds", "subnetIds", "policy"), _modify_endpoint),),
        delete=Call("delete_vpc_endpoints", {"VpcEndpointIds": lambda values: [values.id]}),
        tags=EC2_TAGS,
        inputs=("securityGroupIds", "privateDnsEnabled"),
        json=frozenset({"policy"}),
    ),
)
