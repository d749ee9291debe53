"""Load balancers, target groups and listeners."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from holdfast_sandbox.plugins.aws.model import Call, Client, Row, Source, Tags, Update, Values, camel, pascal
from holdfast_sandbox.plugins.aws.session import ProviderError

_LB_TAGS: Final = Tags(
    add="add_tags",
    remove="remove_tags",
    owner=("ResourceArns", "@id"),
    plural=True,
    read=Call("describe_tags", {"ResourceArns": lambda values: [values.id]}),
    path="TagDescriptions[0].Tags",
)

_LB_ATTRIBUTES: Final = {
    "idleTimeout": "idle_timeout.timeout_seconds",
    "enableDeletionProtection": "deletion_protection.enabled",
    "enableHttp2": "routing.http2.enabled",
    "dropInvalidHeaderFields": "routing.http.drop_invalid_header_fields.enabled",
    "enableCrossZoneLoadBalancing": "load_balancing.cross_zone.enabled",
}
"""Settings of a load balancer that the API keeps as attributes."""
_LB_USUAL: Final = {
    "idleTimeout": "60",
    "enableDeletionProtection": "false",
    "enableHttp2": "true",
    "dropInvalidHeaderFields": "false",
    "enableCrossZoneLoadBalancing": "false",
}
"""What AWS's provider makes of a setting that nobody declares."""
_TG_USUAL: Final = {"deregistrationDelay": "300", "slowStart": "0"}
_TG_ATTRIBUTES: Final = {
    "deregistrationDelay": "deregistration_delay.timeout_seconds",
    "preserveClientIp": "preserve_client_ip.enabled",
    "loadBalancingAlgorithmType": "load_balancing.algorithm.type",
    "slowStart": "slow_start.duration_seconds",
}
_TCP_IDLE: Final = "tcp.idle_timeout.seconds"


def _attributes(
    values: Values, names: Mapping[str, str], usual: Mapping[str, str], present: list[dict[str, str]]
) -> list[dict[str, str]]:
    """What is declared; what is not but was changed once goes back to what is usual."""
    now = {one["Key"]: one["Value"] for one in present}
    wanted = {key: _as_text(values[name]) for name, key in names.items() if values.get(name) is not None}
    back = {names[name]: value for name, value in usual.items() if now.get(names[name], value) != value}
    return [{"Key": key, "Value": value} for key, value in {**back, **wanted}.items()]


def _modify_balancer(client: Client, values: Values) -> None:
    present = client.describe_load_balancer_attributes(LoadBalancerArn=values.id)["Attributes"]
    changes = _attributes(values, _LB_ATTRIBUTES, _LB_USUAL, present)
    if changes:
        client.modify_load_balancer_attributes(LoadBalancerArn=values.id, Attributes=changes)


def _modify_target_group(client: Client, values: Values) -> None:
    present = client.describe_target_group_attributes(TargetGroupArn=values.id)["Attributes"]
    changes = _attributes(values, _TG_ATTRIBUTES, _TG_USUAL, present)
    if changes:
        client.modify_target_group_attributes(TargetGroupArn=values.id, Attributes=changes)


def _as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _read_listener(client: Client, values: Values) -> Any:
    found = client.describe_listeners(ListenerArns=[values.id])["Listeners"]
    if not found:
        return None
    attributes = client.describe_listener_attributes(ListenerArn=values.id)["Attributes"]
    return {**found[0], "Attributes": _read_attributes(attributes, {"tcpIdleTimeoutSeconds": _TCP_IDLE})}


def _read_attributes(found: list[dict[str, str]], names: Mapping[str, str]) -> dict[str, Any]:
    by_key = {one["Key"]: one["Value"] for one in found}
    return {name: _from_text(by_key.get(key)) for name, key in names.items()}


def _from_text(value: str | None) -> Any:
    if value is None:
        return None
    if value in ("true", "false"):
        return value == "true"
    return int(value) if value.isdigit() else value


def _create_balancer(client: Client, values: Values) -> Any:
    given: dict[str, Any] = {
        "Name": values["name"],
        "Type": values.get("loadBalancerType", "application"),
        "Scheme": "internal" if values.get("internal") else "internet-facing",
    }
    mappings = [pascal(one) for one in values.get("subnetMappings", [])]
    given |= {"SubnetMappings": mappings} if mappings else {"Subnets": values.get("subnets", [])}
    if values.get("securityGroups"):
        given["SecurityGroups"] = values["securityGroups"]
    if values.get("ipAddressType"):
        given["IpAddressType"] = values["ipAddressType"]
    return client.create_load_balancer(**given)["LoadBalancers"][0]


def _read_balancer(client: Client, values: Values) -> Any:
    found = client.describe_load_balancers(LoadBalancerArns=[values.id])["LoadBalancers"]
    if not found:
        return None
    attributes = client.describe_load_balancer_attributes(LoadBalancerArn=values.id)["Attributes"]
    return {**found[0], "Attributes": _read_attributes(attributes, _LB_ATTRIBUTES)}


def _read_target_group(client: Client, values: Values) -> Any:
    found = client.describe_target_groups(TargetGroupArns=[values.id])["TargetGroups"]
    if not found:
        return None
    attributes = client.describe_target_group_attributes(TargetGroupArn=values.id)["Attributes"]
    read = _read_attributes(attributes, _TG_ATTRIBUTES)
    # Pulumi's schema has this one as text.
    read["preserveClientIp"] = (
        None if read["preserveClientIp"] is None else _as_text(read["preserveClientIp"])
    )
    return {**found[0], "Attributes": read}


_HEALTH: Final = {
    "protocol": "HealthCheckProtocol",
    "port": "HealthCheckPort",
    "path": "HealthCheckPath",
    "enabled": "HealthCheckEnabled",
    "interval": "HealthCheckIntervalSeconds",
    "timeout": "HealthCheckTimeoutSeconds",
    "healthyThreshold": "HealthyThresholdCount",
    "unhealthyThreshold": "UnhealthyThresholdCount",
}


def _health(values: Values) -> dict[str, Any]:
    check = values.get("healthCheck", {})
    made = {field: check[name] for name, field in _HEALTH.items() if check.get(name) is not None}
    if "HealthCheckPort" in made:
        made["HealthCheckPort"] = str(made["HealthCheckPort"])
    if check.get("matcher"):
        made["Matcher"] = {"HttpCode": check["matcher"]}
    return made


def _create_target_group(client: Client, values: Values) -> Any:
    given: dict[str, Any] = {"Name": values["name"], **_health(values)}
    for name, field in (
        ("port", "Port"),
        ("protocol", "Protocol"),
        ("protocolVersion", "ProtocolVersion"),
        ("vpcId", "VpcId"),
        ("targetType", "TargetType"),
    ):
        if values.get(name) is not None:
            given[field] = values[name]
    return client.create_target_group(**given)["TargetGroups"][0]


def _modify_health(client: Client, values: Values) -> None:
    client.modify_target_group(TargetGroupArn=values.id, **_health(values))


def _actions(values: Values) -> list[dict[str, Any]]:
    made = []
    for order, action in enumerate(values.get("defaultActions", []), start=1):
        unmodelled = sorted(name for name in action if name.startswith("authenticate") and action[name])
        if unmodelled:
            raise ProviderError(
                f"the sandbox's listeners do not model {', '.join(unmodelled)}: without it everybody would be let "
                "through; leave the listener out of the sandbox's stack"
            )
        one: dict[str, Any] = {"Type": action["type"], "Order": action.get("order", order)}
        if action.get("targetGroupArn"):
            one["TargetGroupArn"] = action["targetGroupArn"]
        for name, field in (
            ("redirect", "RedirectConfig"),
            ("fixedResponse", "FixedResponseConfig"),
        ):
            if action.get(name):
                one[field] = pascal(action[name])
        if action.get("forward"):
            groups = [
                {"TargetGroupArn": group["arn"], "Weight": group.get("weight", 1)}
                for group in action["forward"]["targetGroups"]
            ]
            one["ForwardConfig"] = {"TargetGroups": groups}
            if action["forward"].get("stickiness"):
                sticky = action["forward"]["stickiness"]
                one["ForwardConfig"]["TargetGroupStickinessConfig"] = {
                    "Enabled": bool(sticky.get("enabled")),
                    "DurationSeconds": int(sticky["duration"]),
                }
        made.append(one)
    return made


def _declared_actions(found: Any, _values: Values) -> list[dict[str, Any]]:
    made = []
    for action in found["DefaultActions"]:
        one: dict[str, Any] = {"type": action["Type"]}
        if action.get("TargetGroupArn"):
            one["targetGroupArn"] = action["TargetGroupArn"]
        for name, field in (
            ("redirect", "RedirectConfig"),
            ("fixedResponse", "FixedResponseConfig"),
        ):
            if action.get(field):
                one[name] = camel(action[field])
        if action.get("ForwardConfig") and not action.get("TargetGroupArn"):
            one["forward"] = {
                "targetGroups": [
                    {"arn": group["TargetGroupArn"], "weight": group.get("Weight", 1)}
                    for group in action["ForwardConfig"]["TargetGroups"]
                ]
            }
            sticky = action["ForwardConfig"].get("TargetGroupStickinessConfig", {})
            if sticky.get("Enabled"):
                one["forward"]["stickiness"] = {"enabled": True, "duration": sticky["DurationSeconds"]}
        made.append(one)
    return made


_LISTENER: Final[Mapping[str, Source]] = {
    "Port": "port",
    "Protocol": "protocol",
    "SslPolicy": "sslPolicy",
    "Certificates": lambda values: (
        [{"CertificateArn": values["certificateArn"]}] if values.get("certificateArn") else None
    ),
    "AlpnPolicy": lambda values: [values["alpnPolicy"]] if values.get("alpnPolicy") else None,
    "DefaultActions": _actions,
}

ROWS: Final = (
    Row(
        token="aws:lb/loadBalancer:LoadBalancer",
        service="elbv2",
        name="name",
        name_length=32,
        create=_create_balancer,
        identity="LoadBalancerArn",
        read=_read_balancer,
        outputs={
            "arn": "LoadBalancerArn",
            "arnSuffix": lambda found, _values: found["LoadBalancerArn"].partition(":loadbalancer/")[2],
            "name": "LoadBalancerName",
            "dnsName": "DNSName",
            "zoneId": "CanonicalHostedZoneId",
            "vpcId": "VpcId",
            "loadBalancerType": "Type",
            "ipAddressType": "IpAddressType",
            "internal": lambda found, _values: found["Scheme"] == "internal",
            "securityGroups": "SecurityGroups",
            "subnets": lambda found, _values: [zone["SubnetId"] for zone in found["AvailabilityZones"]],
            **{name: f"Attributes.{name}" for name in _LB_ATTRIBUTES},
        },
        updates=(
            Update(
                tuple(_LB_ATTRIBUTES),
                _modify_balancer,
                after_create=True,
            ),
            Update(
                ("ipAddressType",),
                Call("set_ip_address_type", {"LoadBalancerArn": "@id", "IpAddressType": "ipAddressType"}),
            ),
            Update(
                ("securityGroups",),
                Call("set_security_groups", {"LoadBalancerArn": "@id", "SecurityGroups": "securityGroups"}),
            ),
            Update(("subnets",), Call("set_subnets", {"LoadBalancerArn": "@id", "Subnets": "subnets"})),
        ),
        delete=Call("delete_load_balancer", {"LoadBalancerArn": "@id"}),
        tags=_LB_TAGS,
        inputs=("namePrefix", "subnetMappings"),
        computed=frozenset({"ipAddressType", "securityGroups", "subnets"}),
    ),
    Row(
        token="aws:lb/targetGroup:TargetGroup",
        service="elbv2",
        name="name",
        name_length=32,
        create=_create_target_group,
        identity="TargetGroupArn",
        read=_read_target_group,
        outputs={
            "arn": "TargetGroupArn",
            "arnSuffix": lambda found, _values: found["TargetGroupArn"].rpartition(":")[2],
            "name": "TargetGroupName",
            "port": "Port",
            "protocol": "Protocol",
            "vpcId": "VpcId",
            "targetType": "TargetType",
            "loadBalancerArns": "LoadBalancerArns",
            **{name: f"Attributes.{name}" for name in _TG_ATTRIBUTES},
            "healthCheck": lambda found, _values: {
                **{name: found.get(field) for name, field in _HEALTH.items() if found.get(field) is not None},
                "matcher": found.get("Matcher", {}).get("HttpCode"),
            },
        },
        updates=(
            Update(("healthCheck",), _modify_health),
            Update(
                tuple(_TG_ATTRIBUTES),
                _modify_target_group,
                after_create=True,
            ),
        ),
        delete=Call("delete_target_group", {"TargetGroupArn": "@id"}),
        tags=_LB_TAGS,
        inputs=("namePrefix", "protocolVersion"),
        computed=frozenset({"healthCheck", "preserveClientIp", "loadBalancingAlgorithmType"}),
    ),
    Row(
        token="aws:lb/listener:Listener",
        service="elbv2",
        required=("loadBalancerArn", "defaultActions"),
        unique=("loadBalancerArn", "port"),
        create=Call("create_listener", {"LoadBalancerArn": "loadBalancerArn", **_LISTENER}),
        identity="Listeners[0].ListenerArn",
        read=_read_listener,
        outputs={
            "arn": "ListenerArn",
            "loadBalancerArn": "LoadBalancerArn",
            "port": "Port",
            "protocol": "Protocol",
            "sslPolicy": "SslPolicy",
            "certificateArn": "Certificates[0].CertificateArn",
            "defaultActions": _declared_actions,
            "tcpIdleTimeoutSeconds": "Attributes.tcpIdleTimeoutSeconds",
        },
        updates=(
            Update(
                ("port", "protocol", "sslPolicy", "certificateArn", "alpnPolicy", "defaultActions"),
                Call("modify_listener", {"ListenerArn": "@id", **_LISTENER}),
            ),
            Update(
                ("tcpIdleTimeoutSeconds",),
                Call(
                    "modify_listener_attributes",
                    {
                        "ListenerArn": "@id",
                        "Attributes": lambda values: [
                            {"Key": _TCP_IDLE, "Value": str(values.get("tcpIdleTimeoutSeconds", 350))}
                        ],
                    },
                ),
                after_create=True,
            ),
        ),
        delete=Call("delete_listener", {"ListenerArn": "@id"}),
        tags=_LB_TAGS,
    ),
)
