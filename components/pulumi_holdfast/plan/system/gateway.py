"""The gateway: what callers reach."""

from __future__ import annotations

from typing import Final

from holdfast_contract import names
from holdfast_contract.platform import PlatformKind
from pulumi_holdfast.plan import network
from pulumi_holdfast.plan.manifest import SKIP_AWAIT, Json, Manifest, Meta
from pulumi_holdfast.plan.replica import (
    BODIES_KEY_FILE,
    BROKER_DIR,
    BROKER_FILE,
    BROKER_MOUNT,
    field_env,
    http_probe,
    services_security,
)
from pulumi_holdfast.plan.system import nats
from pulumi_holdfast.plan.system.monitoring import tracing_env
from pulumi_holdfast.plan.wiring import hole
from pulumi_holdfast.spec.shared import GatewaySpec, Ingress, SharedSpec

COMPONENT: Final = "gateway"
NAME: Final = "holdfast-gateway"
INTERNAL_NAME: Final = "holdfast-gateway-internal"
DRAIN_S: Final = 60
"""Time for a stopping gateway to hand back what it holds: requests stay in the queue, callers are told."""
CONNECTIONS_PER_MIB: Final = 16
"""Callers' connections at work for each MiB of a gateway's memory: half of it, at 32 KiB for a held request (20 were
measured at 10,000; docs/guides/benchmarks.md)."""
TLS_CONNECTIONS_PER_MIB: Final = 8
"""Likewise with TLS, which costs 31 KiB more."""
TLS_DIR: Final = "/etc/holdfast/tls"
HTTP_PORT: Final = {"name": "http", "port": 80}
HTTPS_PORT: Final = {"name": "https", "port": 443}
READ: Final = ("get", "list", "watch")
RULES: Final = (
    {"apiGroups": [""], "resources": ["configmaps", "pods", "events"], "verbs": [*READ]},
    {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
    {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": [*READ]},
    {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": [*READ]},
    {"apiGroups": ["external-secrets.io"], "resources": ["externalsecrets"], "verbs": [*READ]},
)
"""What the gateway reads in the endpoints' namespace: documents, replicas with what they say, and what keeps them from
starting.
No Secret, and nothing is written."""


def gateway(spec: SharedSpec, meta: Meta, endpoints: Meta, pull_secrets: list[Json]) -> list[Manifest]:
    """Account and rights, Deployment, services, network policy, disruption budget."""
    planned = [
        *access(COMPONENT, NAME, meta, endpoints, RULES),
        _deployment(spec, meta, pull_secrets),
        _service(spec, meta),
        network.system_policy(
            "gateway-network",
            COMPONENT,
            meta,
            [
                network.ingress_from(names.GATEWAY_PORT),
                network.ingress_from(
                    names.GATEWAY_INTERNAL_PORT,
                    network.pods(names.COMPONENT_REPLICA, spec.namespace),
                    network.watchers(),
                ),
            ],
        ),
    ]
    if spec.bodies_bucket:
        planned.append(_internal_service(meta))
    if spec.gateway.replicas > 1:
        planned.append(one_at_a_time(COMPONENT, NAME, meta))
    return planned


def selector(component: str) -> Json:
    """Labels that select one part's pods."""
    return {names.LABEL_COMPONENT: component}


def one_at_a_time(component: str, name: str, meta: Meta) -> Manifest:
    """A disruption budget: a node's drain takes one pod of a part, and the next when that is back."""
    return Manifest(
        child=f"{component}-disruption",
        api_version="policy/v1",
        kind="PodDisruptionBudget",
        metadata=meta.of(name),
        body={"spec": {"maxUnavailable": 1, "selector": {"matchLabels": selector(component)}}},
        after=("system-namespace",),
    )


def apart(component: str) -> list[Json]:
    """Spread over zones and nodes where there are several; a cluster with one takes all of them."""
    return [
        {
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": selector(component)},
        }
        for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
    ]


def access(component: str, name: str, meta: Meta, endpoints: Meta, rules: tuple[Json, ...]) -> list[Manifest]:
    """A service account, and its rights in the endpoints' namespace alone."""
    subject = {"kind": "ServiceAccount", "name": name, "namespace": meta.namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    rbac = "rbac.authorization.k8s.io/v1"
    return [
        Manifest(
            f"{component}-account", "v1", "ServiceAccount", meta.of(name), {}, after=("system-namespace",)
        ),
        Manifest(
            f"{component}-role",
            rbac,
            "Role",
            endpoints.of(name),
            {"rules": [dict(rule) for rule in rules]},
            after=("endpoints-namespace",),
        ),
        Manifest(
            f"{component}-binding",
            rbac,
            "RoleBinding",
            endpoints.of(name),
            {"subjects": [subject], "roleRef": role},
            after=(f"{component}-account", f"{component}-role"),
        ),
    ]


def broker_env(spec: SharedSpec) -> list[Json]:
    """How a part of the system finds the queue."""
    return [
        {"name": names.ENV_NATS_URL, "value": nats.url(spec)},
        {"name": names.ENV_NATS_CREDENTIALS, "value": f"{BROKER_DIR}/{BROKER_FILE}"},
        {"name": names.ENV_NATS_REPLICAS, "value": str(spec.queue.servers)},
        {"name": names.ENV_NAMESPACE, "value": spec.namespace},
        field_env(names.ENV_POD_NAME, "metadata.name"),
        field_env(names.ENV_POD_IP, "status.podIP"),
    ]


def broker_volume(part: str, *more: str) -> Json:
    """A part's own credentials, and `more` keys, out of the Secret that has several parts'."""
    items = [
        {"key": nats.credentials_key(part), "path": BROKER_FILE},
        *({"key": key, "path": key} for key in more),
    ]
    return {
        "name": "broker",
        "secret": {"secretName": hole("broker_secret"), "defaultMode": 0o444, "items": items},
    }


def internal_url(spec: SharedSpec) -> str:
    """The internal port of any gateway, as replicas reach it."""
    return f"http://{INTERNAL_NAME}.{spec.system_namespace}:{names.GATEWAY_INTERNAL_PORT}"


def _internal_service(meta: Meta) -> Manifest:
    """For what any gateway can answer; an answer's way back goes to the pod that holds the caller."""
    return Manifest(
        child="gateway-internal",
        api_version="v1",
        kind="Service",
        metadata=meta.of(INTERNAL_NAME, annotations={SKIP_AWAIT: "true"}),
        body={
            "spec": {
                "selector": selector(COMPONENT),
                "ports": [{"name": "internal", "port": names.GATEWAY_INTERNAL_PORT}],
            }
        },
        after=("system-namespace",),
    )


def _bodies_env(spec: SharedSpec) -> list[Json]:
    if spec.bodies_bucket is None:
        return []
    return [
        {"name": names.ENV_BODIES_BUCKET, "value": spec.bodies_bucket},
        {"name": names.ENV_BODIES_KEY, "value": f"{BROKER_DIR}/{BODIES_KEY_FILE}"},
        {"name": "AWS_REGION", "value": spec.aws_region},
    ]


def _callers_port(spec: SharedSpec) -> Json:
    """Name and port of the Service that callers reach."""
    return dict(HTTP_PORT if spec.gateway.tls_secret is None else HTTPS_PORT)


def _tls(secret: str | None) -> tuple[list[Json], list[Json], list[Json]]:
    """Variables, mount and volume of the certificate; mounted as a folder, so that a renewed one arrives."""
    if secret is None:
        return [], [], []
    env = [
        {"name": names.ENV_TLS_CERTIFICATE_FILE, "value": f"{TLS_DIR}/tls.crt"},
        {"name": names.ENV_TLS_KEY_FILE, "value": f"{TLS_DIR}/tls.key"},
    ]
    volume = {"name": "tls", "secret": {"secretName": secret, "defaultMode": 0o444}}
    return env, [{"name": "tls", "mountPath": TLS_DIR, "readOnly": True}], [volume]


def _max_connections(gateway: GatewaySpec) -> int:
    return gateway.memory_mib * (TLS_CONNECTIONS_PER_MIB if gateway.tls_secret else CONNECTIONS_PER_MIB)


def _container(spec: SharedSpec, tls_env: list[Json], tls_mounts: list[Json]) -> Json:
    env = [
        *broker_env(spec),
        {"name": names.ENV_BASE_URL, "value": hole("base_url")},
        *tracing_env(spec),
        *_bodies_env(spec),
        *tls_env,
        {"name": names.ENV_MAX_CONNECTIONS, "value": str(_max_connections(spec.gateway))},
    ]
    if spec.domain is not None:
        env.append({"name": names.ENV_DOMAIN, "value": spec.domain})
    return {
        "name": COMPONENT,
        "image": spec.services_image,
        "command": ["python", "-m", "holdfast_services.gateway"],
        "env": env,
        "ports": [
            {"name": _callers_port(spec)["name"], "containerPort": names.GATEWAY_PORT},
            {"name": "internal", "containerPort": names.GATEWAY_INTERNAL_PORT},
        ],
        "resources": {
            "requests": {
                "cpu": f"{round(spec.gateway.cpu * 1000)}m",
                "memory": f"{spec.gateway.memory_mib}Mi",
            },
            "limits": {"memory": f"{spec.gateway.memory_mib}Mi"},
        },
        "readinessProbe": http_probe("/readyz", names.GATEWAY_INTERNAL_PORT, periodSeconds=2),
        # It listens before it has reached the queue. Ten minutes are for a machine that starts everything at once.
        "startupProbe": http_probe(
            "/healthz", names.GATEWAY_INTERNAL_PORT, periodSeconds=1, failureThreshold=600
        ),
        "livenessProbe": http_probe(
            "/healthz", names.GATEWAY_INTERNAL_PORT, periodSeconds=10, failureThreshold=3
        ),
        "securityContext": services_security(),
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, BROKER_MOUNT, *tls_mounts],
    }


def _deployment(spec: SharedSpec, meta: Meta, pull_secrets: list[Json]) -> Manifest:
    tls_env, tls_mounts, tls_volumes = _tls(spec.gateway.tls_secret)
    more = (BODIES_KEY_FILE,) if spec.bodies_bucket else ()
    return Manifest(
        child=COMPONENT,
        api_version="apps/v1",
        kind="Deployment",
        metadata=meta.of(NAME),
        body={
            "spec": {
                "replicas": spec.gateway.replicas,
                "selector": {"matchLabels": selector(COMPONENT)},
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
                "template": {
                    "metadata": {"labels": {**meta.labels, **selector(COMPONENT)}},
                    "spec": {
                        "serviceAccountName": NAME,
                        "enableServiceLinks": False,
                        "terminationGracePeriodSeconds": DRAIN_S,
                        "imagePullSecrets": pull_secrets,
                        "topologySpreadConstraints": apart(COMPONENT),
                        "containers": [_container(spec, tls_env, tls_mounts)],
                        "volumes": [
                            {"name": "tmp", "emptyDir": {}},
                            broker_volume(COMPONENT, *more),
                            *tls_volumes,
                        ],
                    },
                },
            }
        },
        after=("nats", "gateway-binding", *(("system-pull",) if spec.registry_credentials else ())),
        timeout_s=300,
    )


def _service(spec: SharedSpec, meta: Meta) -> Manifest:
    """Callers' port only: the internal one is reached at the pod's own address."""
    port: Json = {**_callers_port(spec), "targetPort": names.GATEWAY_PORT}
    kinds = {
        Ingress.NODE_PORT: "NodePort",
        Ingress.LOAD_BALANCER: "LoadBalancer",
        Ingress.CLUSTER: "ClusterIP",
    }
    if spec.gateway.ingress is Ingress.NODE_PORT:
        port["nodePort"] = spec.gateway.node_port
    body: Json = {
        "type": kinds[spec.gateway.ingress],
        "selector": selector(COMPONENT),
        "ports": [port],
    }
    if spec.kind is PlatformKind.AWS and spec.gateway.ingress is Ingress.NODE_PORT:
        # The load balancer asks each node: only those with a ready gateway say yes, and no request changes nodes.
        body["externalTrafficPolicy"] = "Local"
    awaited = spec.gateway.ingress is Ingress.LOAD_BALANCER
    return Manifest(
        child="gateway-service",
        api_version="v1",
        kind="Service",
        # The Deployment was waited for; a load balancer's address is worth waiting for besides.
        metadata=meta.of(NAME, annotations={} if awaited else {SKIP_AWAIT: "true"}),
        body={"spec": body},
        after=("system-namespace",),
    )
