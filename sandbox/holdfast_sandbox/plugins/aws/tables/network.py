"""EC2 networks: VPCs, subnets, gateways, routes, endpoints."""

from __future__ import annotations

from typing import Any, Final

from botocore.exceptions import ClientError

from holdfast_sandbox.plugins.aws.model import Call, Client, Extract, Row, Tags, Update, Values
from holdfast_sandbox.plugins.aws.session import is_missing

EC2_TAGS: Final = Tags(
    add="create_tags",
    remove="delete_tags",
    owner=("Resources", "@id"),
    keys_parameter="Tags",
    plural=True,
    remove_by_tags=True,
)
"""All of EC2 is tagged by the same two calls."""


def arn(kind: str) -> Extract:
    """An ARN, for resources whose descriptions have none."""
    return lambda _found, values: (
        f"arn:aws:ec2:{values.get('region') or values.session.region}:{values.session.account}:{kind}/{values.id}"
    )


def owner(_found: Any, values: Values) -> str:
    """The account that a resource belongs to."""
    return values.session.account


def described(method: str, parameter: str) -> Call:
    """A look at one resource by its id."""
    return Call(method, {parameter: lambda values: [values.id]})


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


def _attach_gateway(client: Client, values: Values) -> Any:
    made = client.create_internet_gateway()["InternetGateway"]
    if values.get("vpcId"):
        client.attach_internet_gateway(InternetGatewayId=made["InternetGatewayId"], VpcId=values["vpcId"])
    return made


def _delete_gateway(client: Client, values: Values) -> None:
    found = client.describe_internet_gateways(InternetGatewayIds=[values.id])["InternetGateways"]
    for attachment in found[0]["Attachments"] if found else ():
        client.detach_internet_gateway(InternetGatewayId=values.id, VpcId=attachment["VpcId"])
    client.delete_internet_gateway(InternetGatewayId=values.id)


_TARGETS: Final = {
    "gatewayId": "GatewayId",
    "natGatewayId": "NatGatewayId",
    "vpcEndpointId": "VpcEndpointId",
    "transitGatewayId": "TransitGatewayId",
    "networkInterfaceId": "NetworkInterfaceId",
    "vpcPeeringConnectionId": "VpcPeeringConnectionId",
    "egressOnlyGatewayId": "EgressOnlyInternetGatewayId",
}
"""Where a route can lead: Pulumi's name and the API's."""
_DESTINATIONS: Final = {
    "destinationCidrBlock": "DestinationCidrBlock",
    "destinationIpv6CidrBlock": "DestinationIpv6CidrBlock",
    "destinationPrefixListId": "DestinationPrefixListId",
}


def _destination(values: Values) -> str:
    return next(str(values[name]) for name in _DESTINATIONS if values.get(name))


def _route(values: Values) -> tuple[str, str]:
    """A route's id is `<table>_<destination>`."""
    table, _, destination = values.id.partition("_")
    return table, destination


def _read_route(client: Client, values: Values) -> Any:
    table, destination = _route(values)
    found = client.describe_route_tables(RouteTableIds=[table])["RouteTables"]
    for route in found[0]["Routes"] if found else ():
        if destination in (route.get(field) for field in _DESTINATIONS.values()):
            return {**route, "Table": table}
    return None


def _delete_route(client: Client, values: Values) -> None:
    table, destination = _route(values)
    kind = "DestinationIpv6CidrBlock" if ":" in destination else "DestinationCidrBlock"
    client.delete_route(RouteTableId=table, **{kind: destination})


def _create_route_table(client: Client, values: Values) -> Any:
    made = client.create_route_table(VpcId=values["vpcId"])["RouteTable"]
    _put_routes(client, Values(values.properties, made["RouteTableId"], values.session))
    return made


def _put_routes(client: Client, values: Values) -> None:
    """Routes that are declared inside their table; those of its VPC stay."""
    found = client.describe_route_tables(RouteTableIds=[values.id])["RouteTables"][0]
    wanted = values.get("routes", [])
    destinations = {str(route.get("cidrBlock") or route.get("ipv6CidrBlock")): route for route in wanted}
    for route in found["Routes"]:
        destination = route.get("DestinationCidrBlock") or route.get("DestinationIpv6CidrBlock")
        if _is_declarable(route) and values.get("routes") is not None:
            kind = "DestinationCidrBlock" if "." in destination else "DestinationIpv6CidrBlock"
            client.delete_route(RouteTableId=values.id, **{kind: destination})
    for destination, route in destinations.items():
        kind = "DestinationIpv6CidrBlock" if ":" in destination else "DestinationCidrBlock"
        targets = {field: route[name] for name, field in _TARGETS.items() if route.get(name)}
        client.create_route(RouteTableId=values.id, **{kind: destination}, **targets)


def _is_declarable(route: dict[str, Any]) -> bool:
    """Not the VPC's own route, nor those that its endpoints bring along."""
    has_destination = route.get("DestinationCidrBlock") or route.get("DestinationIpv6CidrBlock")
    return bool(has_destination) and route.get("GatewayId") != "local"


def _delete_route_table(client: Client, values: Values) -> None:
    found = client.describe_route_tables(RouteTableIds=[values.id])["RouteTables"]
    for association in found[0]["Associations"] if found else ():
        if not association.get("Main"):
            client.disassociate_route_table(AssociationId=association["RouteTableAssociationId"])
    client.delete_route_table(RouteTableId=values.id)


def _declared_routes(found: Any, values: Values) -> Any:
    # Routes that are resources of their own are not the table's: only what was declared inside is compared.
    if values.get("routes") is None:
        return None
    listed = []
    for route in found["Routes"]:
        if not _is_declarable(route):
            continue
        one = {name: route[field] for name, field in _TARGETS.items() if route.get(field)}
        one["cidrBlock"] = route.get("DestinationCidrBlock")
        listed.append({name: value for name, value in one.items() if value})
    return listed


def _read_association(client: Client, values: Values) -> Any:
    tables = client.describe_route_tables(
        Filters=[{"Name": "association.route-table-association-id", "Values": [values.id]}]
    )["RouteTables"]
    for table in tables:
        for association in table["Associations"]:
            if association["RouteTableAssociationId"] == values.id:
                return association
    return None


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
        create=_attach_gateway,
        identity="InternetGatewayId",
        read=described("describe_internet_gateways", "InternetGatewayIds"),
        found="InternetGateways[0]",
        outputs={
            "arn": arn("internet-gateway"),
            "ownerId": owner,
            "vpcId": "Attachments[0].VpcId",
        },
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
        token="aws:ec2/routeTable:RouteTable",
        service="ec2",
        required=("vpcId",),
        create=_create_route_table,
        identity="RouteTableId",
        read=described("describe_route_tables", "RouteTableIds"),
        found="RouteTables[0]",
        outputs={
            "arn": arn("route-table"),
            "ownerId": owner,
            "vpcId": "VpcId",
            "routes": _declared_routes,
        },
        updates=(Update(("routes",), _put_routes),),
        delete=_delete_route_table,
        tags=EC2_TAGS,
    ),
    Row(
        token="aws:ec2/route:Route",
        service="ec2",
        required=("routeTableId",),
        unique=("routeTableId", *_DESTINATIONS),
        create=Call(
            "create_route",
            {
                "RouteTableId": "routeTableId",
                **{field: name for name, field in {**_DESTINATIONS, **_TARGETS}.items()},
            },
        ),
        identity=lambda _answer, values: f"{values['routeTableId']}_{_destination(values)}",
        read=_read_route,
        outputs={
            "routeTableId": "Table",
            "origin": "Origin",
            "state": "State",
            **_DESTINATIONS,
            **_TARGETS,
        },
        updates=(
            Update(
                tuple(_TARGETS),
                Call(
                    "replace_route",
                    {
                        "RouteTableId": "routeTableId",
                        **{field: name for name, field in {**_DESTINATIONS, **_TARGETS}.items()},
                    },
                ),
            ),
        ),
        delete=_delete_route,
    ),
    Row(
        token="aws:ec2/routeTableAssociation:RouteTableAssociation",
        service="ec2",
        required=("routeTableId",),
        unique=("subnetId", "gatewayId"),
        create=Call(
            "associate_route_table",
            {"RouteTableId": "routeTableId", "SubnetId": "subnetId", "GatewayId": "gatewayId"},
        ),
        identity="AssociationId",
        read=_read_association,
        outputs={"routeTableId": "RouteTableId", "subnetId": "SubnetId", "gatewayId": "GatewayId"},
        delete=Call("disassociate_route_table", {"AssociationId": "@id"}),
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
