"""The queue: NATS with JetStream on disk, one server or three."""

from __future__ import annotations

from typing import Any, Final

from holdfast_contract import names
from pulumi_holdfast.plan import identities, network
from pulumi_holdfast.plan.identities import GATEWAY, SCALER
from pulumi_holdfast.plan.manifest import Json, Manifest, Meta
from pulumi_holdfast.plan.replica import BODIES_KEY_FILE, http_probe, secret_env
from pulumi_holdfast.plan.secrets import immutable_secret
from pulumi_holdfast.plan.wiring import hole
from pulumi_holdfast.spec.shared import SharedSpec

COMPONENT: Final = "queue"
SERVICE: Final = "holdfast-nats"
MONITOR_PORT: Final = 8222
CLUSTER_PORT: Final = 6222
ASSETS_PER_ENDPOINT: Final = 2
"""Raft groups: the stream and its consumer."""
SHARED_ASSETS: Final = 16
"""Room for what all endpoints share: four buckets, the webhooks' stream and consumer; and as much again."""
MAX_PAYLOAD_BYTES: Final = 1024 * 1024
"""NATS's own default; bodies above 256 KiB go through the object store in chunks."""


def url(spec: SharedSpec) -> str:
    """The queue as pods see it."""
    return f"nats://{SERVICE}.{spec.system_namespace}:{names.NATS_PORT}"


def max_endpoints(spec: SharedSpec) -> int | None:
    """How many endpoints fit; None: no limit. The limit counts what is kept by several servers only."""
    if spec.queue.servers == 1:
        return None
    return (spec.queue.max_ha_assets - SHARED_ASSETS) // ASSETS_PER_ENDPOINT


def nats(spec: SharedSpec, meta: Meta) -> list[Manifest]:
    """Configuration, identities, service, servers."""
    planned = [
        Manifest(
            child="nats-config",
            api_version="v1",
            kind="ConfigMap",
            metadata=meta.of(SERVICE),
            body={"data": {"nats.conf": configuration(spec)}},
            after=("system-namespace",),
        ),
        _logins(spec, meta),
        _service(meta),
        _servers(spec, meta),
        network.system_policy("nats-network", COMPONENT, meta, _ingress(spec), _egress()),
    ]
    if spec.queue.servers > 1:
        planned.append(
            Manifest(
                child="nats-disruption",
                api_version="policy/v1",
                kind="PodDisruptionBudget",
                metadata=meta.of(SERVICE),
                body={"spec": {"maxUnavailable": 1, "selector": {"matchLabels": _selector()}}},
                after=("system-namespace",),
            )
        )
    return planned


def configuration(spec: SharedSpec) -> str:
    """The server's configuration; `$…` are variables of its environment: what follows from the broker's secret."""
    queue = spec.queue
    storage_mib = queue.storage_gib * 1024 * 9 // 10
    sections = [
        f"port: {names.NATS_PORT}",
        f"http_port: {MONITOR_PORT}",
        "server_name: $POD_NAME",
        f"max_payload: {MAX_PAYLOAD_BYTES}",
        "jetstream {",
        '  store_dir: "/data"',
        "  max_memory_store: 64MiB",
        f"  max_file_store: {storage_mib}MiB",
        # A request is accepted when it is on disk. Three servers write once for a whole Raft append; one server
        # would wait for its disk at every message and every acknowledgement: decision 0006.
        f"  sync_interval: {'always' if queue.servers > 1 else '10ms'}",
        f"  limits {{ max_ha_assets: {queue.max_ha_assets} }}",
        "}",
        # Users are not listed: each shows a statement that an account's key has signed (decision 0007).
        "operator: $OPERATOR",
        f"system_account: {identities.SYSTEM_ACCOUNT}",
        "resolver: MEMORY",
        "resolver_preload: $ACCOUNTS",
    ]
    if queue.servers > 1:
        sections += [
            "cluster {",
            "  name: holdfast",
            f"  port: {CLUSTER_PORT}",
            "  authorization { user: cluster, password: $PASSWORD_CLUSTER }",
            "  routes: $ROUTES",
            "}",
        ]
    return "\n".join(sections) + "\n"


def _selector() -> Json:
    return {names.LABEL_COMPONENT: COMPONENT}


def _logins(spec: SharedSpec, meta: Meta) -> Manifest:
    """New identities roll servers, gateway and scaler, which refer to it."""
    values = {
        "operator": f'"{hole("broker_operator")}"',
        "accounts": hole("broker_accounts"),
        **{credentials_key(part): hole(f"{part}_credentials") for part in (GATEWAY, SCALER)},
        **({BODIES_KEY_FILE: hole("bodies_root")} if spec.bodies_bucket else {}),
    }
    if spec.queue.servers > 1:
        values |= {"cluster": hole("password_cluster"), "routes": _routes(spec, meta)}
    return immutable_secret("broker", values, meta, after=("system-namespace",))


def credentials_key(part: str) -> str:
    """Under which key of the broker's Secret a part's credentials file stands."""
    return f"{part}.creds"


def _routes(spec: SharedSpec, meta: Meta) -> str:
    """The servers' addresses with the password, as a value of the server's configuration."""
    servers = [f"{SERVICE}-{index}.{SERVICE}.{meta.namespace}" for index in range(spec.queue.servers)]
    urls = [f'"nats-route://cluster:{hole("password_cluster")}@{host}:{CLUSTER_PORT}"' for host in servers]
    return f"[{', '.join(urls)}]"


def _service(meta: Meta) -> Manifest:
    """Headless: clients and servers find each server by name, also before it is ready."""
    return Manifest(
        child="nats-service",
        api_version="v1",
        kind="Service",
        metadata=meta.of(SERVICE, annotations={"pulumi.com/skipAwait": "true"}),
        body={
            "spec": {
                "clusterIP": "None",
                "publishNotReadyAddresses": True,
                "selector": _selector(),
                "ports": [
                    {"name": "client", "port": names.NATS_PORT},
                    {"name": "cluster", "port": CLUSTER_PORT},
                    {"name": "monitor", "port": MONITOR_PORT},
                ],
            }
        },
        after=("system-namespace",),
    )


def _servers(spec: SharedSpec, meta: Meta) -> Manifest:
    queue = spec.queue
    template: Json = {
        "metadata": {"labels": {**meta.labels, **_selector()}},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            # Lame-duck mode hands clients over before the server goes.
            "terminationGracePeriodSeconds": 60,
            "securityContext": _pod_security(spec),
            "containers": [_server(spec)],
            "volumes": [
                {"name": "config", "configMap": {"name": SERVICE}},
                *([{"name": "data", "hostPath": _host_path(spec)}] if queue.host_path else []),
            ],
        },
    }
    if queue.servers > 1:
        template["spec"] |= {"affinity": _apart(), "topologySpreadConstraints": [_over_zones()]}
    body: Json = {
        "serviceName": SERVICE,
        "replicas": queue.servers,
        "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": _selector()},
        "template": template,
    }
    if queue.host_path is None:
        body["volumeClaimTemplates"] = [_claim(spec)]
    return Manifest(
        child="nats",
        api_version="apps/v1",
        kind="StatefulSet",
        metadata=meta.of(SERVICE),
        body={"spec": body},
        after=("nats-config", "broker", "nats-service"),
        timeout_s=300,
    )


def _server(spec: SharedSpec) -> Json:
    queue = spec.queue
    return {
        "name": "nats",
        "image": queue.image,
        "args": ["--config", "/etc/nats/nats.conf"],
        "env": [
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            secret_env("OPERATOR", hole("broker_secret"), "operator"),
            secret_env("ACCOUNTS", hole("broker_secret"), "accounts"),
            *(_cluster_env() if queue.servers > 1 else []),
        ],
        "ports": [
            {"name": "client", "containerPort": names.NATS_PORT},
            {"name": "cluster", "containerPort": CLUSTER_PORT},
            {"name": "monitor", "containerPort": MONITOR_PORT},
        ],
        "resources": {
            "requests": {"cpu": f"{round(queue.cpu * 1000)}m", "memory": f"{queue.memory_mib}Mi"},
            "limits": {"memory": f"{queue.memory_mib}Mi"},
        },
        "startupProbe": http_probe(
            "/healthz?js-enabled-only=true", MONITOR_PORT, periodSeconds=1, failureThreshold=120
        ),
        "readinessProbe": http_probe("/healthz?js-server-only=true", MONITOR_PORT, periodSeconds=5),
        "livenessProbe": http_probe(
            "/healthz?js-enabled-only=true", MONITOR_PORT, periodSeconds=10, failureThreshold=6
        ),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [
            {"name": "config", "mountPath": "/etc/nats", "readOnly": True},
            {"name": "data", "mountPath": "/data"},
        ],
    }


def _cluster_env() -> list[Json]:
    secret = hole("broker_secret")
    return [secret_env("PASSWORD_CLUSTER", secret, "cluster"), secret_env("ROUTES", secret, "routes")]


def _pod_security(spec: SharedSpec) -> Json:
    seccomp = {"seccompProfile": {"type": "RuntimeDefault"}}
    if spec.queue.host_path is not None:
        # The kubelet makes a host path as root and no fsGroup applies to it.
        return {**seccomp, "runAsUser": 0}
    return {**seccomp, "runAsNonRoot": True, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532}


def _host_path(spec: SharedSpec) -> dict[str, Any]:
    return {"path": spec.queue.host_path, "type": "DirectoryOrCreate"}


def _claim(spec: SharedSpec) -> Json:
    claim: Json = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": f"{spec.queue.storage_gib}Gi"}},
    }
    if spec.queue.storage_class is not None:
        claim["storageClassName"] = spec.queue.storage_class
    return {"metadata": {"name": "data"}, "spec": claim}


def _apart() -> Json:
    """Three servers on three nodes, or losing one loses the majority."""
    term = {"labelSelector": {"matchLabels": _selector()}, "topologyKey": "kubernetes.io/hostname"}
    return {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


def _over_zones() -> Json:
    """Three zones where there are three, so that losing one leaves a majority."""
    return {
        "maxSkew": 1,
        "topologyKey": "topology.kubernetes.io/zone",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": _selector()},
    }


def _egress() -> list[Json]:
    """The other servers, by name; a broker has nobody else to talk to."""
    return [network.dns_egress(), network.egress_to(CLUSTER_PORT, network.pods(COMPONENT))]


def _ingress(spec: SharedSpec) -> list[Json]:
    return [
        network.ingress_from(
            names.NATS_PORT,
            network.pods("gateway"),
            network.pods("scaler"),
            network.pods(names.COMPONENT_REPLICA, spec.namespace),
        ),
        network.ingress_from(CLUSTER_PORT, network.pods(COMPONENT)),
    ]
