"""What the shared stack declares about being watched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from pulumi_holdfast.spec.model import Flag, Spec
from pulumi_holdfast.spec.problems import refused

OTLP_PORT: Final = 4318
"""OpenTelemetry's own port for OTLP over HTTP."""


def _collector(text: str) -> str:
    url = urlsplit(text)
    if url.scheme not in ("http", "https") or not url.hostname or url.path not in ("", "/"):
        raise refused("not a collector's URL", "write http://<service>.<namespace>:4318, without a path")
    if url.username is not None:
        raise refused(
            "a URL with a password", "pods' settings are readable: let the collector take it without"
        )
    try:
        port = url.port
    except ValueError:
        port = None
    if port != OTLP_PORT:
        raise refused(
            f"not port {OTLP_PORT}",
            f"let the collector's OTLP/HTTP receiver listen on {OTLP_PORT}: "
            "the network policies open no other",
        )
    return text.rstrip("/")


class ObservabilitySpec(Spec):
    """Dashboards, monitors, alerts, traces."""

    dashboards: Flag = True
    """A ConfigMap with the Grafana dashboard, labelled `grafana_dashboard: "1"` as Grafana's sidecar looks for.
    True by default: where nobody looks for it, it does nothing."""
    monitors: Flag = False
    """PodMonitors for gateway, scaler and workers. False by default: the cluster must know the Prometheus
    operator's kinds (`kubectl get crd podmonitors.monitoring.coreos.com`), or the update fails."""
    alerts: Flag = False
    """A PrometheusRule with the alerts of the runbook (docs/guides/alerts.md). As `monitors`."""
    labels: Mapping[str, str] = Field(default_factory=dict)
    """On monitors and alerts, where the operator selects by label; kube-prometheus-stack: `release: <its release>`.
    Empty by default."""
    otlp_endpoint: Annotated[str, AfterValidator(_collector)] | None = None
    """OpenTelemetry collector that gateway and workers export traces to, as `http://<service>.<namespace>:4318`;
    its namespace carries the label `holdfast.dev/monitoring: "true"`. None, the default: no traces, at no cost."""
    trace_ratio: float = Field(default=1.0, ge=0, le=1)
    """Share of the traces that begin at the gateway which are recorded; a caller that sends `traceparent` decides
    for itself. 1 by default; 0: only those of callers that ask for it. Text is taken too (`"0.1"`): that is what
    `pulumi config set --path` makes of a decimal."""
