"""EC2 route tables and routes."""

from __future__ import annotations

from typing import Any, Final

from holdfast_sandbox.plugins.aws.model import Call, Client, Row, Update, Values
from holdfast_sandbox.plugins.aws.tables.ec2 import EC2_TAGS, arn, described, owner

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


_INLINE_DESTINATIONS: Final = {
    "cidrBlock": "DestinationCidrBlock",
    "ipv6CidrBlock": "DestinationIpv6CidrBlock",
    "destinationPrefixListId": "DestinationPrefixListId",
}
"""As `_DESTINATIONS`, for a route that is declared inside its table."""


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
    client.delete_route(RouteTableId=table, **{_kind(destination): destination})


def _kind(destination: str) -> str:
    if destination.startswith("pl-"):
        return "DestinationPrefixListId"
    return "DestinationIpv6CidrBlock" if ":" in destination else "DestinationCidrBlock"


def _put_routes(client: Client, values: Values) -> None:
    """Routes that are declared inside their table; those of its VPC stay."""
    if values.get("routes") is None:
        return
    for route in client.describe_route_tables(RouteTableIds=[values.id])["RouteTables"][0]["Routes"]:
        if _is_declarable(route):
            present = {field: route[field] for field in _DESTINATIONS.values() if route.get(field)}
            client.delete_route(RouteTableId=values.id, **present)
    fields = {**_INLINE_DESTINATIONS, **_TARGETS}
    for route in values["routes"]:
        given = {field: route[name] for name, field in fields.items() if route.get(name)}
        client.create_route(RouteTableId=values.id, **given)


def _is_declarable(route: dict[str, Any]) -> bool:
    """Not the VPC's own route, nor those that its endpoints bring along."""
    has_destination = any(route.get(field) for field in _DESTINATIONS.values())
    leads_to = str(route.get("GatewayId"))
    return has_destination and leads_to != "local" and not leads_to.startswith("vpce-")


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
    fields = {**_INLINE_DESTINATIONS, **_TARGETS}
    return [
        {name: route[field] for name, field in fields.items() if route.get(field)}
        for route in found["Routes"]
        if _is_declarable(route)
    ]


def _read_association(client: Client, values: Values) -> Any:
    tables = client.describe_route_tables(
        Filters=[{"Name": "association.route-table-association-id", "Values": [values.id]}]
    )["RouteTables"]
    for table in tables:
        for association in table["Associations"]:
            if association["RouteTableAssociationId"] == values.id:
                return association
    return None


ROWS: Final = (
    Row(
        token="aws:ec2/routeTable:RouteTable",
        service="ec2",
        required=("vpcId",),
        create=Call("create_route_table", {"VpcId": "vpcId"}),
        identity="RouteTable.RouteTableId",
        read=described("describe_route_tables", "RouteTableIds"),
        found="RouteTables[0]",
        outputs={
            "arn": arn("route-table"),
            "ownerId": owner,
            "vpcId": "VpcId",
            "routes": _declared_routes,
        },
        updates=(Update(("routes",), _put_routes, after_create=True),),
        computed=frozenset({"routes"}),
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
)
