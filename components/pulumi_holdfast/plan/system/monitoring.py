"""How the platform is watched: dashboard, monitors, alerts, and where traces go."""

from __future__ import annotations

from typing import Final

from holdfast_contract import names
from pulumi_holdfast.plan.manifest import Json, Manifest, Meta
from pulumi_holdfast.plan.system.alerts import rule_group
from pulumi_holdfast.plan.system.dashboard import dashboard
from pulumi_holdfast.spec.shared import SharedSpec

API: Final = "monitoring.coreos.com/v1"
"""The Prometheus operator's kinds."""
NAME: Final = "holdfast"
DASHBOARD_LABEL: Final = {"grafana_dashboard": "1"}
"""What Grafana's sidecar looks for, as its chart sets it by default."""


def monitoring(spec: SharedSpec, meta: Meta) -> list[Manifest]:
    """What the declaration asks for."""
    declared = spec.observability
    planned = []
    if declared.dashboards:
        planned.append(
            Manifest(
                child="dashboard",
                api_version="v1",
                kind="ConfigMap",
                metadata=meta.of(f"{NAME}-dashboard", labels=DASHBOARD_LABEL),
                body={"data": {"holdfast.json": dashboard()}},
                after=("system-namespace",),
            )
        )
    if declared.monitors:
        for component, port, namespace in (
            ("gateway", "internal", spec.system_namespace),
            ("scaler", "http", spec.system_namespace),
            (names.COMPONENT_REPLICA, "worker", spec.namespace),
        ):
            planned.append(_monitor(spec, meta, component, port, namespace))
    if declared.alerts:
        planned.append(
            Manifest(
                child="alerts",
                api_version=API,
                kind="PrometheusRule",
                metadata=meta.of(NAME, labels=declared.labels),
                body={"spec": {"groups": [rule_group()]}},
                after=("system-namespace",),
            )
        )
    return planned


def tracing_env(spec: SharedSpec) -> list[Json]:
    """The gateway's settings for traces; none: it makes none."""
    declared = spec.observability
    if declared.otlp_endpoint is None:
        return []
    return [
        {"name": names.ENV_OTLP_ENDPOINT, "value": declared.otlp_endpoint},
        {"name": names.ENV_TRACE_RATIO, "value": str(declared.trace_ratio)},
    ]


def _monitor(spec: SharedSpec, meta: Meta, component: str, port: str, namespace: str) -> Manifest:
    return Manifest(
        child=f"{component}-monitor",
        api_version=API,
        kind="PodMonitor",
        metadata=meta.of(f"{NAME}-{component}", labels=spec.observability.labels),
        body={
            "spec": {
                "namespaceSelector": {"matchNames": [namespace]},
                "selector": {"matchLabels": {names.LABEL_COMPONENT: component}},
                # `endpoint` is our label; the operator would put the port's name there and rename ours.
                "podMetricsEndpoints": [
                    {"port": port, "path": "/metrics", "interval": "15s", "honorLabels": True}
                ],
            }
        },
        after=("system-namespace",),
    )
