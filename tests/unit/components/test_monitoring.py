"""Dashboard, monitors and alerts: every expression is PromQL and speaks of metrics that exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import promql_parser
import pulumi
import pytest

import pulumi_holdfast as holdfast
from holdfast_contract import metrics, names, problems
from pulumi_holdfast import testing
from pulumi_holdfast.plan.manifest import Manifest
from pulumi_holdfast.plan.system import alerts, monitoring
from pulumi_holdfast.plan.system.dashboard import PANELS, dashboard
from pulumi_holdfast.plan.system.shared import plan_shared, platform_of
from pulumi_holdfast.spec.problems import SpecError
from pulumi_holdfast.spec.shared import parse_shared

TARGET_LABELS = {"namespace", "pod", "container", "job", "instance"}
"""What Prometheus adds to what it scrapes."""
SERIES = {name: metric for metric in metrics.CATALOGUE for name in metrics.series(metric)}
EXPRESSIONS = {alert.name: alert.expression for alert in alerts.ALERTS} | {
    f"{panel.title} {index}": expression
    for panel in PANELS
    for index, (expression, _) in enumerate(panel.series)
}


def parsed(expression: str) -> Any:
    """Parses, as Grafana sends it. Raises ValueError where it is no PromQL."""
    return promql_parser.parse(expression.replace("$__rate_interval", "5m"))


def below(node: Any) -> Iterator[Any]:
    """Every part of an expression."""
    yield node
    for name in ("expr", "lhs", "rhs", "param", "vector_selector", "vs", "selector"):
        child = getattr(node, name, None)
        if isinstance(child, promql_parser.Expr):
            yield from below(child)
    for argument in getattr(node, "args", None) or ():
        yield from below(argument)


def selectors(expression: str) -> list[Any]:
    return [node for node in below(parsed(expression)) if isinstance(node, promql_parser.VectorSelector)]


def planned(**observability: Any) -> dict[str, Manifest]:
    args = {"services_image": "a:1", "base_url": "https://gpu.example", "observability": observability}
    return {manifest.child: manifest for manifest in plan_shared(parse_shared("holdfast", args))}


def refusal(**observability: Any) -> str:
    with pytest.raises(SpecError) as raised:
        planned(**observability)
    return str(raised.value)


def test_the_parser_refuses_what_is_no_promql() -> None:
    with pytest.raises(ValueError, match=r".+"):
        parsed("sum by (endpoint (holdfast_gateways)")


@pytest.mark.parametrize("expression", EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_every_expression_is_promql_over_metrics_and_labels_that_exist(expression: str) -> None:
    found = selectors(expression)
    # Whatever looks like one of our names in the text is found by the parser as well: nothing goes unchecked.
    assert sorted(one.name for one in found) == sorted(re.findall(r"\bholdfast_\w+", expression))
    for one in found:
        metric = SERIES.get(one.name)
        assert metric is not None, f"{one.name} is exported by nobody"
        allowed = {*metric.labels, *TARGET_LABELS, *({"le"} if one.name.endswith("_bucket") else ())}
        assert {matcher.name for matcher in one.matchers.matchers} <= allowed
    known = {label for one in found for label in SERIES[one.name].labels} | TARGET_LABELS | {"le"}
    for grouping in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression):
        assert {label.strip() for label in grouping.split(",")} <= known


@pytest.mark.parametrize("expression", EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_counters_are_read_by_their_growth_and_gauges_as_they_are(expression: str) -> None:
    inside = {
        selector.name
        for node in below(parsed(expression))
        if isinstance(node, promql_parser.Call) and node.func.name in ("rate", "increase")
        for selector in below(node)
        if isinstance(selector, promql_parser.VectorSelector)
    }
    for one in selectors(expression):
        assert (SERIES[one.name].kind is not metrics.Kind.GAUGE) == (one.name in inside), one.name


@pytest.mark.parametrize("alert", alerts.ALERTS, ids=lambda alert: alert.name)
def test_every_alert_says_what_is_wrong_why_and_what_to_do(alert: alerts.Alert) -> None:
    assert re.fullmatch(r"Holdfast([A-Z][a-z]+)+", alert.name)
    assert alert.severity in ("critical", "warning")
    for text in (alert.summary, alert.cause, alert.remedy):
        assert text.endswith(".")
        assert len(text.split()) >= 5
    named = set(re.findall(r"\$labels\.(\w+)", alert.summary))
    assert named <= {"endpoint", "pod"}
    # A label that the expression's result does not have would be shown as nothing.
    if "endpoint" in named:
        assert "by (endpoint" in alert.expression or alert.expression.startswith(metrics.ATTEMPT_AGE)


def test_each_of_the_named_troubles_has_an_alert() -> None:
    assert {alert.name for alert in alerts.ALERTS} >= {
        "HoldfastQueueWithoutReplica",
        "HoldfastActivationFailing",
        "HoldfastRequestsExpired",
        "HoldfastBrokerUnreachable",
        "HoldfastWorkerStuck",
        "HoldfastScalerNotPolled",
        "HoldfastErrorRatio",
        "HoldfastColdStartSlow",
    }


def test_causes_and_phases_that_alerts_match_exist() -> None:
    text = " ".join(EXPRESSIONS.values())
    slugs = {problem.slug for problem in problems.ALL}
    assert set(re.findall(r"cause=.([a-z-]+)", text)) <= slugs
    phases = set(re.findall(r'phase="(\w+)"', text))
    assert phases
    assert all(phase in metrics.BY_NAME[metrics.COLD_START_SECONDS].meaning for phase in phases)


def test_the_dashboard_is_what_grafana_imports_and_its_panels_do_not_overlap() -> None:
    made = json.loads(dashboard())
    assert (made["uid"], made["title"]) == ("holdfast", "holdfast")
    taken: set[tuple[int, int]] = set()
    for panel in made["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    graphs = [panel for panel in made["panels"] if panel["type"] == "timeseries"]
    assert len({panel["id"] for panel in made["panels"]}) == len(made["panels"])
    assert {target["expr"] for panel in graphs for target in panel["targets"]} <= set(EXPRESSIONS.values())
    (endpoint,) = [one for one in made["templating"]["list"] if one["name"] == "endpoint"]
    assert re.fullmatch(rf"label_values\(({metrics.WAITING}), endpoint\)", endpoint["query"]["query"])


def test_legends_name_labels_that_their_series_have() -> None:
    for panel in PANELS:
        for expression, legend in panel.series:
            grouped = re.search(r"by \(([^)]*)\)", expression)
            labels = {label.strip() for label in grouped[1].split(",")} if grouped else set()
            assert set(re.findall(r"\{\{(\w+)\}\}", legend)) <= labels


def test_the_dashboard_is_installed_and_what_needs_the_operators_kinds_is_not_by_default() -> None:
    found = planned()
    assert found["dashboard"].metadata["labels"]["grafana_dashboard"] == "1"
    assert found["dashboard"].metadata["namespace"] == names.SYSTEM_NAMESPACE
    assert json.loads(found["dashboard"].body["data"]["holdfast.json"])["panels"]
    assert not [one for one in found.values() if one.api_version == monitoring.API]
    assert "dashboard" not in planned(dashboards=False)


def test_monitors_select_every_part_by_its_labels_and_a_port_that_it_has() -> None:
    found = planned(monitors=True, labels={"release": "prometheus"})
    monitors = [one for one in found.values() if one.kind == "PodMonitor"]
    assert len(monitors) == 3
    for monitor in monitors:
        spec = monitor.body["spec"]
        (endpoint,) = spec["podMetricsEndpoints"]
        assert endpoint["honorLabels"] is True, "our label `endpoint` would be renamed"
        assert monitor.metadata["labels"]["release"] == "prometheus"
    for part in ("gateway", "scaler"):
        pod = found[part].body["spec"]["template"]
        spec = found[f"{part}-monitor"].body["spec"]
        assert spec["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
        ports = {port["name"]: port["containerPort"] for port in pod["spec"]["containers"][0]["ports"]}
        port = ports[spec["podMetricsEndpoints"][0]["port"]]
        opened = [
            rule
            for rule in found[f"{part}-network"].body["spec"]["ingress"]
            if rule["ports"] == [{"port": port, "protocol": "TCP"}]
        ]
        assert any("holdfast.dev/monitoring" in json.dumps(rule) for rule in opened)
    assert found["replica-monitor"].body["spec"]["namespaceSelector"] == {"matchNames": ["holdfast"]}


def test_the_shared_stack_makes_them_as_its_children() -> None:
    def program() -> None:
        holdfast.SharedStack(
            "holdfast",
            {
                "services_image": "a:1",
                "base_url": "https://gpu.example",
                "broker_secret": pulumi.Output.secret("x" * 32),
                "observability": {"monitors": True, "alerts": True},
            },
        )

    made = testing.record(program)
    for child in ("dashboard", "gateway-monitor", "scaler-monitor", "replica-monitor", "alerts"):
        assert f"holdfast-{child}" in made.names
    rules = made["holdfast-alerts"].inputs
    assert (rules["apiVersion"], rules["kind"]) == (monitoring.API, "PrometheusRule")
    assert len(rules["spec"]["groups"][0]["rules"]) == len(alerts.ALERTS)


def test_alerts_are_one_rule_object_with_every_alert() -> None:
    (group,) = planned(alerts=True)["alerts"].body["spec"]["groups"]
    assert [rule["alert"] for rule in group["rules"]] == [alert.name for alert in alerts.ALERTS]
    assert all(set(rule["annotations"]) == {"summary", "description", "runbook"} for rule in group["rules"])


def test_traces_are_exported_where_a_collector_is_declared_and_settings_are_absent_elsewhere() -> None:
    def env(**observability: Any) -> dict[str, Any]:
        (container,) = planned(**observability)["gateway"].body["spec"]["template"]["spec"]["containers"]
        return {one["name"]: one.get("value") for one in container["env"]}

    assert names.ENV_OTLP_ENDPOINT not in env()
    collector = "http://collector.monitoring:4318"
    traced = env(otlp_endpoint=collector + "/", trace_ratio=0.1)
    assert traced == env(otlp_endpoint=collector, trace_ratio="0.1"), "as Pulumi's configuration gives it"
    assert (traced[names.ENV_OTLP_ENDPOINT], traced[names.ENV_TRACE_RATIO]) == (collector, "0.1")
    spec = parse_shared(
        "holdfast",
        {"services_image": "a:1", "base_url": "https://a.b", "observability": {"otlp_endpoint": collector}},
    )
    assert platform_of(spec, "https://a.b").otlp_endpoint == collector


def test_wrong_declarations_name_value_rule_and_remedy() -> None:
    assert (
        'observability.otlp_endpoint is "http://collector.monitoring:4317", not port 4318: let the collector\'s '
        "OTLP/HTTP receiver listen on 4318: the network policies open no other"
    ) in refusal(otlp_endpoint="http://collector.monitoring:4317")
    assert "not a collector's URL: write http://<service>.<namespace>:4318, without a path" in refusal(
        otlp_endpoint="collector:4318"
    )
    assert "a URL with a password" in refusal(otlp_endpoint="http://a:b@collector.monitoring:4318")
    assert "observability.trace_ratio is 2" in refusal(trace_ratio=2)
    assert "dashboards" in refusal(dashbords=False), "the nearest name"
