"""The scaler: tells KEDA the demand of every endpoint."""

from __future__ import annotations

from typing import Final

from holdfast_contract import names
from pulumi_holdfast.plan import network
from pulumi_holdfast.plan.manifest import SKIP_AWAIT, Json, Manifest, Meta
from pulumi_holdfast.plan.replica import BROKER_MOUNT, http_probe, services_security
from pulumi_holdfast.plan.system.gateway import (
    READ,
    access,
    apart,
    broker_env,
    broker_volume,
    one_at_a_time,
    selector,
)
from pulumi_holdfast.spec.shared import SharedSpec

COMPONENT: Final = "scaler"
NAME: Final = "holdfast-scaler"
RULES: Final = (
    {"apiGroups": [""], "resources": ["configmaps"], "verbs": [*READ]},
    # Patch: `pod-deletion-cost`, so that scale-in picks idle replicas first.
    {"apiGroups": [""], "resources": ["pods"], "verbs": [*READ, "patch"]},
)
"""What the scaler may do in the endpoints' namespace."""


def scaler(spec: SharedSpec, meta: Meta, endpoints: Meta, pull_secrets: list[Json]) -> list[Manifest]:
    """Account and rights, Deployment, service, network policy, disruption budget."""
    planned = [
        *access(COMPONENT, NAME, meta, endpoints, RULES),
        _deployment(spec, meta, pull_secrets),
        Manifest(
            child="scaler-service",
            api_version="v1",
            kind="Service",
            metadata=meta.of(NAME, annotations={SKIP_AWAIT: "true"}),
            body={
                "spec": {
                    "selector": selector(COMPONENT),
                    "ports": [{"name": "grpc", "port": names.SCALER_PORT}],
                }
            },
            after=("system-namespace",),
        ),
        # KEDA runs in a namespace of the platform team's choice.
        network.system_policy(
            "scaler-network",
            COMPONENT,
            meta,
            [
                network.ingress_from(names.SCALER_PORT, {"namespaceSelector": {}}),
                network.ingress_from(names.SCALER_HTTP_PORT, network.watchers()),
            ],
        ),
    ]
    if spec.scaler.replicas > 1:
        planned.append(one_at_a_time(COMPONENT, NAME, meta))
    return planned


def _deployment(spec: SharedSpec, meta: Meta, pull_secrets: list[Json]) -> Manifest:
    container: Json = {
        "name": COMPONENT,
        "image": spec.services_image,
        "command": ["python", "-m", "holdfast_services.scaler"],
        "env": broker_env(spec),
        "ports": [
            {"name": "grpc", "containerPort": names.SCALER_PORT},
            {"name": "http", "containerPort": names.SCALER_HTTP_PORT},
        ],
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
        "readinessProbe": http_probe("/readyz", names.SCALER_HTTP_PORT, periodSeconds=2),
        "livenessProbe": http_probe("/healthz", names.SCALER_HTTP_PORT, periodSeconds=10, failureThreshold=3),
        "securityContext": services_security(),
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, BROKER_MOUNT],
    }
    return Manifest(
        child=COMPONENT,
        api_version="apps/v1",
        kind="Deployment",
        metadata=meta.of(NAME),
        body={
            "spec": {
                # Each knows all of the broker and says the same; KEDA's stream goes on at another when one ends.
                "replicas": spec.scaler.replicas,
                "selector": {"matchLabels": selector(COMPONENT)},
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
                "template": {
                    "metadata": {"labels": {**meta.labels, **selector(COMPONENT)}},
                    "spec": {
                        "serviceAccountName": NAME,
                        "enableServiceLinks": False,
                        "terminationGracePeriodSeconds": 15,
                        "imagePullSecrets": pull_secrets,
                        "topologySpreadConstraints": apart(COMPONENT),
                        "containers": [container],
                        "volumes": [{"name": "tmp", "emptyDir": {}}, broker_volume(COMPONENT)],
                    },
                },
            }
        },
        after=("nats", "scaler-binding", *(("system-pull",) if spec.registry_credentials else ())),
        timeout_s=300,
    )
