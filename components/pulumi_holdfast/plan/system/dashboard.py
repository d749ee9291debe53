"""The Grafana dashboard, as the JSON that Grafana imports."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from holdfast_contract import metrics

__all__ = ["PANELS", "UID", "Panel", "dashboard"]

UID: Final = "holdfast"
"""Of the dashboard, so that links to it last."""
_WIDTH: Final = 8
"""Three panels to a row of Grafana's 24 columns."""
_HEIGHT: Final = 8
_ONE: Final = 'endpoint=~"$endpoint"'


@dataclass(frozen=True, slots=True)
class Panel:
    """One graph."""

    row: str
    """The heading that it stands under."""
    title: str
    unit: str
    """As Grafana names it: `s`, `reqps`, `short`."""
    series: tuple[tuple[str, str], ...]
    """PromQL and the legend of each."""
    meaning: str


def _quantiles(metric: str) -> tuple[tuple[str, str], ...]:
    return tuple(
        (
            f"histogram_quantile({quantile}, sum by (endpoint, le) "
            f"(rate({metric}_bucket{{{_ONE}}}[$__rate_interval])))",
            f"{{{{endpoint}}}} p{round(quantile * 100)}",
        )
        for quantile in (0.5, 0.95, 0.99)
    )


def _rate(by: str, metric: str, matchers: str = _ONE) -> str:
    return f"sum by ({by}) (rate({metric}{{{matchers}}}[$__rate_interval]))"


def _newest(metric: str, matchers: str = _ONE) -> str:
    """Of gauges that every replica of a service reports alike."""
    return f"max by (endpoint) ({metric}{{{matchers}}})"


PANELS: Final = (
    Panel(
        "Requests",
        "Finished, by status",
        "reqps",
        ((_rate("code", metrics.REQUESTS), "{{code}}"),),
        "Requests that ended, by HTTP status. 499: the caller left.",
    ),
    Panel(
        "Requests",
        "Errors, by cause",
        "reqps",
        ((_rate("endpoint, cause", metrics.ERRORS), "{{endpoint}} {{cause}}"),),
        "Requests that ended in a problem of holdfast's own.",
    ),
    Panel(
        "Requests",
        "Waiting and running",
        "short",
        (
            (f"sum by (endpoint) ({metrics.WAITING}{{{_ONE}}})", "{{endpoint}} held, waiting"),
            (f"sum by (endpoint) ({metrics.RUNNING}{{{_ONE}}})", "{{endpoint}} held, running"),
            (_newest(metrics.SCALER_DEMAND), "{{endpoint}} demand, submitted ones too"),
        ),
        "Callers that are held now, and all that the autoscaler counts.",
    ),
    Panel(
        "Seconds",
        "In the queue",
        "s",
        _quantiles(metrics.ATTEMPT_WAIT_SECONDS),
        "From acceptance until a replica took the request.",
    ),
    Panel(
        "Seconds",
        "In the model, to the first byte",
        "s",
        _quantiles(metrics.MODEL_SECONDS),
        "Of held callers whose answer began.",
    ),
    Panel(
        "Seconds",
        "Whole attempts",
        "s",
        _quantiles(metrics.ATTEMPT_SECONDS),
        "From taking the request until it was answered, kept and acknowledged.",
    ),
    Panel(
        "Replicas",
        "Wanted and there",
        "short",
        (
            (_newest(metrics.SCALER_DESIRED), "{{endpoint}} asked for"),
            *(
                (_newest(metrics.REPLICAS, f'{_ONE},state="{state}"'), f"{{{{endpoint}}}} {state}")
                for state in ("desired", "pending", "ready")
            ),
        ),
        "What the demand asks for, and what there is.",
    ),
    Panel(
        "Replicas",
        "Slots in use",
        "percentunit",
        (
            (
                f"sum by (endpoint) ({metrics.SLOTS_BUSY}{{{_ONE}}}) "
                f"/ sum by (endpoint) ({metrics.SLOTS}{{{_ONE}}})",
                "{{endpoint}}",
            ),
        ),
        "Requests at hand per slot; above 100 % while answers are still being handed on.",
    ),
    Panel(
        "Replicas",
        "Cold start, each phase",
        "s",
        (
            (
                f"sum by (endpoint, phase) (increase({metrics.COLD_START_SECONDS}_sum{{{_ONE}}}[1h])) "
                f"/ sum by (endpoint, phase) (increase({metrics.COLD_START_SECONDS}_count{{{_ONE}}}[1h]))",
                "{{endpoint}} {{phase}}",
            ),
        ),
        "Mean of the last hour, each counted from the acceptance of the request that woke the endpoint.",
    ),
    Panel(
        "Replicas",
        "Attempts by their end",
        "reqps",
        (
            (_rate("endpoint, state", metrics.EXECUTIONS), "{{endpoint}} {{state}}"),
            (_rate("endpoint", metrics.REDELIVERIES), "{{endpoint}} given back"),
        ),
        "Given back: the request runs again elsewhere.",
    ),
    Panel(
        "The platform",
        "Connected to the queue",
        "short",
        ((f"min by (pod) ({metrics.BROKER_CONNECTED})", "{{pod}}"),),
        "1: connected.",
    ),
    Panel(
        "The platform",
        "Questions of KEDA",
        "reqps",
        (
            (
                f"sum by (method, code) (rate({metrics.SCALER_CALLS}[$__rate_interval]))",
                "{{method}} {{code}}",
            ),
        ),
        "Without any, replicas stay as they are.",
    ),
    Panel(
        "The platform",
        "Asking the broker for all queues",
        "s",
        (
            (
                "histogram_quantile(0.99, sum by (le) "
                f"(rate({metrics.SCALER_SWEEPS}_bucket[$__rate_interval])))",
                "p99",
            ),
        ),
        "How old the scaler's knowledge is at most, besides its interval.",
    ),
    Panel(
        "The platform",
        "Webhooks",
        "reqps",
        ((_rate("endpoint, outcome", metrics.WEBHOOKS), "{{endpoint}} {{outcome}}"),),
        "Attempts to deliver.",
    ),
)


def dashboard() -> str:
    """The dashboard as JSON; the same panels give the same text."""
    return json.dumps(
        {
            "uid": UID,
            "title": "holdfast",
            "tags": ["holdfast"],
            "schemaVersion": 39,
            "editable": True,
            "refresh": "30s",
            "time": {"from": "now-3h", "to": "now"},
            "templating": {"list": _variables()},
            "panels": _panels(),
        },
        indent=1,
    )


def _variables() -> list[dict[str, Any]]:
    return [
        {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"},
        {
            "name": "endpoint",
            "type": "query",
            "label": "Endpoint",
            "datasource": _source(),
            "query": {"query": f"label_values({metrics.WAITING}, endpoint)", "refId": "endpoint"},
            "refresh": 2,
            "includeAll": True,
            "multi": True,
            "current": {"text": ["All"], "value": ["$__all"]},
            "sort": 1,
        },
    ]


def _source() -> dict[str, str]:
    return {"type": "prometheus", "uid": "${datasource}"}


def _panels() -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    row, column, y = "", 0, 0
    for panel in PANELS:
        if panel.row != row:
            y += _HEIGHT if made else 0
            made.append(
                {
                    "id": len(made) + 1,
                    "type": "row",
                    "title": panel.row,
                    "collapsed": False,
                    "gridPos": {"h": 1, "w": 24, "x": 0, "y": y},
                    "panels": [],
                }
            )
            row, column, y = panel.row, 0, y + 1
        elif column == 24:
            column, y = 0, y + _HEIGHT
        made.append(_graph(panel, len(made) + 1, column, y))
        column += _WIDTH
    return made


def _graph(panel: Panel, number: int, x: int, y: int) -> dict[str, Any]:
    return {
        "id": number,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.meaning,
        "datasource": _source(),
        "gridPos": {"h": _HEIGHT, "w": _WIDTH, "x": x, "y": y},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": _source(),
                "expr": expression,
                "legendFormat": legend,
                "range": True,
            }
            for index, (expression, legend) in enumerate(panel.series)
        ],
    }
