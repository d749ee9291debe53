"""The alert rules: what is wrong, why it may be, what to do. The runbook page is made from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from holdfast_contract import metrics, problems

__all__ = ["ALERTS", "Alert", "rule_group"]

STUCK_MARGIN_S: Final = 60
"""A worker ends what takes longer than `scaling.max_request_s`; a minute later it is itself at fault."""
SLOW_START_S: Final = 300
"""Cold starts above five minutes: what a large image takes when it is pulled in full."""
ERROR_RATIO: Final = 0.05
CERTIFICATE_LEFT_S: Final = 7 * 86400
"""Certificates of 90 days are renewed a month before their end as a rule: a week before it, renewal has failed."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert."""

    name: str
    expression: str
    """PromQL; fires for each series that it gives."""
    for_s: int
    """How long it must hold."""
    severity: str
    """`critical`: requests are lost or nothing can start: wake somebody. `warning`: look at it today."""
    summary: str
    """One line; `{{ $labels.endpoint }}` as Prometheus writes it."""
    cause: str
    remedy: str


def _increase(metric: str, matchers: str, window: str) -> str:
    return f"sum by (endpoint) (increase({metric}{{{matchers}}}[{window}]))"


ALERTS: Final = (
    Alert(
        name="HoldfastQueueWithoutReplica",
        expression=(
            f"max by (endpoint) ({metrics.SCALER_DEMAND}) > 0 "
            f'and on (endpoint) max by (endpoint) ({metrics.REPLICAS}{{state="ready"}}) == 0'
        ),
        for_s=600,
        severity="critical",
        summary="Requests of {{ $labels.endpoint }} have waited ten minutes and no replica is ready.",
        cause=(
            "The replica cannot be scheduled (no node of that kind can be had), its image takes longer than that to "
            "pull, or KEDA does not scale."
        ),
        remedy=(
            "`kubectl get pods,events -n holdfast -l holdfast.dev/endpoint=<endpoint>`: a pending pod says why. "
            "No pod at all: `kubectl describe scaledobject <endpoint> -n holdfast`, and see HoldfastScalerNotPolled."
        ),
    ),
    Alert(
        name="HoldfastActivationFailing",
        expression=f"max by (endpoint) ({metrics.ACTIVATION_FAILING}) == 1",
        for_s=60,
        severity="critical",
        summary="No replica of {{ $labels.endpoint }} can start: its callers are refused.",
        cause=(
            "The image cannot be pulled, a secret is missing, the container crashes, the startup budget passed, or no "
            "GPU can be had."
        ),
        remedy=(
            "Call the endpoint once: the answer's `detail` names the cause and what to change. "
            "Correct the declaration and run `pulumi up`."
        ),
    ),
    Alert(
        name="HoldfastRequestsExpired",
        expression=(
            f"({_increase(metrics.ERRORS, f'cause=`{problems.DEADLINE.slug}`', '10m')} > 0) "
            f"or ({_increase(metrics.EXPIRED, '', '10m')} > 0)"
        ),
        for_s=0,
        severity="warning",
        summary="Requests of {{ $labels.endpoint }} ended because their deadline passed.",
        cause=(
            "More arrives than `max_replicas` can serve in the time that callers allow, the model is slower than they "
            "think, or it took too long to start."
        ),
        remedy=(
            "Compare queue seconds with model seconds on the dashboard. The queue: raise `scaling.max_replicas`. "
            "The model: allow more time (`X-Deadline`, `scaling.max_request_s`)."
        ),
    ),
    Alert(
        name="HoldfastQueueFull",
        expression=f"{_increase(metrics.ERRORS, f'cause=`{problems.QUEUE_FULL.slug}`', '10m')} > 0",
        for_s=0,
        severity="warning",
        summary="The queue of {{ $labels.endpoint }} was full: callers were refused with 429.",
        cause="More waits than `scaling.max_queue` allows.",
        remedy="Raise `scaling.max_replicas` where all replicas are busy, or `scaling.max_queue` for short bursts.",
    ),
    Alert(
        name="HoldfastBrokerUnreachable",
        expression=f"{metrics.BROKER_CONNECTED} == 0",
        for_s=60,
        severity="critical",
        summary="{{ $labels.pod }} has no connection to the queue.",
        cause=(
            "The NATS servers are down or restart, a network policy is in the way, or the pod's password is no longer "
            "the broker's."
        ),
        remedy=(
            "`kubectl get pods -n holdfast-system -l holdfast.dev/component=queue` and their logs. Servers well: "
            "`kubectl logs <pod>` shows `broker error`. Nothing that was accepted is lost; workers and gateways "
            "come back by themselves."
        ),
    ),
    Alert(
        name="HoldfastWorkerStuck",
        expression=f"{metrics.ATTEMPT_AGE} > {metrics.ATTEMPT_LIMIT} + {STUCK_MARGIN_S}",
        for_s=60,
        severity="warning",
        summary="A request of {{ $labels.endpoint }} has been under way at {{ $labels.pod }} beyond its limit.",
        cause=(
            "The worker could not end it: the broker does not confirm, or the worker hangs. Its slot is taken "
            "meanwhile."
        ),
        remedy=(
            "Look at the worker's log (`kubectl logs <pod> -c worker -n holdfast`), then delete the pod: the request "
            "runs elsewhere, as its next attempt."
        ),
    ),
    Alert(
        name="HoldfastReplicasLoseWork",
        expression=f"{_increase(metrics.REDELIVERIES, '', '15m')} > 3",
        for_s=0,
        severity="warning",
        summary="Replicas of {{ $labels.endpoint }} gave requests back to the queue.",
        cause="The model's container crashes or breaks connections, or replicas are stopped before they are done.",
        remedy=(
            "`kubectl get pods -n holdfast -l holdfast.dev/endpoint=<endpoint>`: restarts, and `OOMKilled` where "
            "memory is short. A request that fails on its third attempt ends as FAILED: its log line names the reason."
        ),
    ),
    Alert(
        name="HoldfastScalerNotPolled",
        expression=(
            f'sum(increase({metrics.SCALER_CALLS}{{method=~"IsActive|GetMetrics"}}[5m])) == 0 '
            f"and sum({metrics.SCALER_ENDPOINTS}) > 0"
        ),
        for_s=300,
        severity="critical",
        summary="KEDA has not asked the scaler for ten minutes: replicas stay as they are.",
        cause="KEDA's operator is down, or cannot reach the scaler's port 8090.",
        remedy=(
            "`kubectl get pods -n keda`, and the operator's log for `external scaler`. Endpoints that run go on "
            "answering; those at 0 do not wake."
        ),
    ),
    Alert(
        name="HoldfastScalerMissing",
        expression=f"absent({metrics.SCALER_ENDPOINTS})",
        for_s=120,
        severity="critical",
        summary="No scaler is seen: endpoints at 0 replicas do not wake.",
        cause="The scaler's pods are down, or are not scraped.",
        remedy=(
            "`kubectl get pods -n holdfast-system -l holdfast.dev/component=scaler`. They run: Prometheus's namespace "
            "needs the label `holdfast.dev/monitoring=true`."
        ),
    ),
    Alert(
        name="HoldfastGatewayMissing",
        expression=f"absent({metrics.GATEWAYS})",
        for_s=60,
        severity="critical",
        summary="No gateway is seen: no endpoint can be called.",
        cause="The gateway's pods are down, or are not scraped.",
        remedy=(
            "`kubectl get pods -n holdfast-system -l holdfast.dev/component=gateway`. They run: Prometheus's namespace "
            "needs the label `holdfast.dev/monitoring=true`."
        ),
    ),
    Alert(
        name="HoldfastCertificateExpires",
        expression=f"({metrics.CERTIFICATE_EXPIRY} > 0) - time() < {CERTIFICATE_LEFT_S}",
        for_s=600,
        severity="critical",
        summary="The certificate of {{ $labels.pod }} expires within a week: then no caller can connect.",
        cause="It was not renewed, or the gateway could not use the new one and goes on with the one before.",
        remedy=(
            "`kubectl logs <pod> -n holdfast-system` for `the new certificate cannot be used`, with the reason. "
            "No such line: whatever makes the Secret did not renew it."
        ),
    ),
    Alert(
        name="HoldfastErrorRatio",
        expression=(
            f'sum by (endpoint) (rate({metrics.REQUESTS}{{code=~"5..",endpoint!=""}}[10m])) '
            f'/ sum by (endpoint) (rate({metrics.REQUESTS}{{endpoint!=""}}[10m])) > {ERROR_RATIO}'
        ),
        for_s=600,
        severity="critical",
        summary="More than 5 % of the answers of {{ $labels.endpoint }} are errors of the server.",
        cause="The model answers with 5xx, breaks off, or holdfast refuses: the panel of errors by cause tells which.",
        remedy=(
            "Cause `none`: the model's own status; see its log (`holdfast logs <endpoint>`). Others: the problem's "
            "page in the reference says what to do."
        ),
    ),
    Alert(
        name="HoldfastColdStartSlow",
        expression=(
            "histogram_quantile(0.9, sum by (endpoint, le) "
            f'(rate({metrics.COLD_START_SECONDS}_bucket{{phase="answered"}}[30m]))) > {SLOW_START_S}'
        ),
        for_s=0,
        severity="warning",
        summary="Starts of {{ $labels.endpoint }} from 0 replicas take more than five minutes.",
        cause="A node must be had first, the image is pulled in full, or the model loads slowly.",
        remedy=(
            "The dashboard's cold start phases show which: scheduled − scaled is the node, pulled − scheduled the "
            "image, ready − pulled the model. A declared `cache`, a smaller image, or `min_replicas: 1` help."
        ),
    ),
    Alert(
        name="HoldfastWebhooksDropped",
        expression=f"{_increase(metrics.WEBHOOKS, 'outcome=`dropped`', '1h')} > 0",
        for_s=0,
        severity="warning",
        summary="Webhooks of {{ $labels.endpoint }} were given up.",
        cause="The receiver answered 410 or failed for a day, or the token that the request was made with is gone.",
        remedy="The gateway's log (`webhook failed`) names request and status; results can be fetched for 24 hours.",
    ),
)


def rule_group() -> dict[str, Any]:
    """All of them as one group of a PrometheusRule."""
    return {"name": "holdfast", "rules": [_rule(alert) for alert in ALERTS]}


def _rule(alert: Alert) -> dict[str, Any]:
    return {
        "alert": alert.name,
        "expr": alert.expression,
        "for": f"{alert.for_s}s",
        "labels": {"severity": alert.severity},
        "annotations": {
            "summary": alert.summary,
            "description": f"{alert.cause} {alert.remedy}",
            "runbook": f"docs/guides/alerts.md#{alert.name.lower()}",
        },
    }
