"""Who may talk to whom."""

from __future__ import annotations

from typing import Final

from holdfast_contract import names
from pulumi_holdfast.plan.manifest import Json, Manifest, Meta
from pulumi_holdfast.plan.wiring import hole
from pulumi_holdfast.spec.endpoint import Egress, EndpointSpec
from pulumi_holdfast.spec.observability import OTLP_PORT

API: Final = "networking.k8s.io/v1"
_PRIVATE: Final = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10"]
"""Never the internet: private networks, and the cloud's metadata address among the link-local ones."""
_POD_IDENTITY: Final = "169.254.170.23/32"
"""Where EKS Pod Identity's agent gives a pod the credentials of its role, on every node and nowhere else."""


def _port(port: int, protocol: str = "TCP") -> Json:
    return {"port": port, "protocol": protocol}


def _namespace(name: str) -> Json:
    return {"matchLabels": {"kubernetes.io/metadata.name": name}}


def dns_egress() -> Json:
    """Names may be looked up anywhere inside the cluster."""
    return {"to": [{"namespaceSelector": {}}], "ports": [_port(53, "UDP"), _port(53)]}


def replica_policy(spec: EndpointSpec, meta: Meta, selector: Json) -> Manifest:
    """Only who reads metrics connects to a replica (the kubelet's probes are exempt); it connects to queue,
    gateway and a collector of traces."""
    system = hole("system_namespace")
    egress: list[Json] = [
        dns_egress(),
        egress_to(names.NATS_PORT, pods("queue", system)),
        egress_to(names.GATEWAY_INTERNAL_PORT, pods("gateway", system)),
        egress_to(OTLP_PORT, watchers()),
    ]
    if spec.egress is Egress.INTERNET:
        # Who may reach S3 may read the weights there, as its role allows; without credentials it could not.
        egress.append(egress_to(80, {"ipBlock": {"cidr": _POD_IDENTITY}}))
        egress.append({"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": _PRIVATE}}]})
    return Manifest(
        child="network",
        api_version=API,
        kind="NetworkPolicy",
        metadata=meta.of(spec.name),
        body={
            "spec": {
                "podSelector": {"matchLabels": selector},
                "policyTypes": ["Ingress", "Egress"],
                "ingress": [ingress_from(names.WORKER_PORT, watchers())],
                "egress": egress,
            }
        },
    )


def system_policy(
    child: str, component: str, meta: Meta, ingress: list[Json], egress: list[Json] | None = None
) -> Manifest:
    """Who may connect to one part of the system, and whom it may connect to (None: anybody)."""
    limited: Json = {} if egress is None else {"egress": egress}
    return Manifest(
        child=child,
        api_version=API,
        kind="NetworkPolicy",
        metadata=meta.of(component),
        body={
            "spec": {
                "podSelector": {"matchLabels": {names.LABEL_COMPONENT: component}},
                "policyTypes": ["Ingress", *(["Egress"] if limited else [])],
                "ingress": ingress,
                **limited,
            }
        },
        after=("system-namespace",),
    )


def ingress_from(port: int, *peers: Json) -> Json:
    """A rule: these peers (none: anybody) may reach this port."""
    return {"ports": [_port(port)], **({"from": list(peers)} if peers else {})}


def watchers() -> Json:
    """Namespaces of Prometheus and of collectors, by the label that the platform team gives them."""
    return {"namespaceSelector": {"matchLabels": {f"{names.DOMAIN}/monitoring": "true"}}}


def egress_to(port: int, *peers: Json) -> Json:
    """A rule: this port of these peers may be reached."""
    return {"ports": [_port(port)], "to": list(peers)}


def pods(component: str, namespace: str | None = None) -> Json:
    """Pods of one component, in the policy's own namespace or another."""
    found: Json = {"podSelector": {"matchLabels": {names.LABEL_COMPONENT: component}}}
    if namespace is not None:
        found["namespaceSelector"] = _namespace(namespace)
    return found
