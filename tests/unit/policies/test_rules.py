"""The policy pack's rules as pure functions: what they say, and that a reader can act on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from policies.rules import RULES, Rule, pod_of, rule, stack_violations, violations

from pulumi_holdfast.plan.declared import declared
from pulumi_holdfast.plan.endpoint import plan_endpoint
from pulumi_holdfast.spec.hardware import hardware_table
from pulumi_holdfast.spec.parse import parse_endpoint
from pulumi_holdfast.spec.template import catalogue

ROOT = Path(__file__).resolve().parents[3]
PINNED = "ghcr.io/acme/chat@sha256:" + "1" * 64
SAFE = {"allowPrivilegeEscalation": False, "runAsNonRoot": True, "capabilities": {"drop": ["ALL"]}}


def _props(**args: Any) -> dict[str, Any]:
    spec = parse_endpoint("chat", {"image": PINNED, **args}, catalogue())
    return {"declared": declared(spec, hardware_table())}


def _pod(container: dict[str, Any], **pod: Any) -> dict[str, Any]:
    kept = {"securityContext": SAFE, "resources": {"limits": {"memory": "1Gi"}}}
    return {"spec": {"template": {"spec": {"containers": [{**kept, **container}], **pod}}}}


FAILING: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    (
        "budget-per-endpoint",
        _props(hardware="a10g", scaling={"max_replicas": 4}),
        {"ceiling_usd_month": 2000},
        "cost.ceiling_usd_month is 2937.52 at max_replicas, above the budget of 2000 $ a month: lower "
        "min_replicas or "
        "max_replicas, take smaller hardware, or have the budget raised",
    ),
    (
        "budget-per-endpoint",
        _props(hardware="a10g", scaling={"min_replicas": 1}),
        {"floor_usd_month": 100},
        "cost.floor_usd_month is 734.38 at min_replicas, above the budget of 100 $ a month: lower min_replicas or "
        "max_replicas, take smaller hardware, or have the budget raised",
    ),
    (
        "budget-per-endpoint",
        {"declared": {"cost": None, "visibility": "private"}},
        {"priced_only": True},
        "cost is unknown, and the budget cannot be held against it: lower min_replicas or max_replicas, take smaller "
        "hardware, or have the budget raised",
    ),
    (
        "private-by-default",
        _props(visibility="public"),
        {},
        "visibility is public, and anybody who knows the URL spends GPU time: remove visibility, declare tokens, or "
        "have the endpoint exempted with the reason",
    ),
    (
        "pinned-digests",
        _props(image="ghcr.io/acme/chat:latest"),
        {},
        "image is ghcr.io/acme/chat:latest, a tag that can move under a running endpoint: declare "
        "image@sha256:<digest>, which the feasibility gate prints",
    ),
    (
        "approved-registries",
        _props(image="ghcr.io/acme-evil/chat:1"),
        {"approved": ["ghcr.io/acme"]},
        "image is ghcr.io/acme-evil/chat:1, from none of ghcr.io/acme: mirror the image into an approved "
        "registry and "
        "declare it from there",
    ),
    (
        "spot-only-where-it-can-be-lost",
        _props(hardware={"preset": "t4", "spot": True}),
        {},
        "hardware.spot is True beside scaling.max_request_s=900, and a reclaimed machine gives 120 s: lower "
        "max_request_s "
        "to 120 or less, offer several instance types, or take no spot",
    ),
    (
        "no-plain-text-secret",
        _pod({"env": [{"name": "DB_PASSWORD", "value": "hunter2"}]}),
        {},
        "containers[0].env.DB_PASSWORD is (hidden), what looks like a secret in plain text: keep it in AWS "
        "Secrets Manager "
        "and name it in secrets",
    ),
    (
        "no-plain-text-secret",
        _pod({"args": ["--key=sk-hunter2hunter2hunter2"]}),
        {},
        "containers[0].args is (hidden), what looks like a secret in plain text: keep it in AWS Secrets "
        "Manager and name "
        "it in secrets",
    ),
    (
        "no-plain-text-secret",
        {"data": {"app.ini": "url=postgres://shop:hunter2@db/shop"}},
        {},
        "data.app.ini is (hidden), what looks like a secret in plain text: keep it in AWS Secrets Manager "
        "and name it in "
        "secrets",
    ),
    (
        "no-plain-text-secret",
        {"data": {"DB_PASSWORD": "hunter2"}},
        {},
        "data.DB_PASSWORD is (hidden), what looks like a secret in plain text: keep it in AWS Secrets Manager "
        "and name it in secrets",
    ),
    (
        "no-host-access",
        _pod({}, volumes=[{"hostPath": {"path": "/var/lib/holdfast/cache/../../../etc"}}]),
        {},
        "volumes[0].hostPath.path is /var/lib/holdfast/cache/../../../etc, a directory of the node: use emptyDir "
        "or cache instead, or have the path allowed",
    ),
    (
        "no-host-access",
        _pod({}, volumes=[{"hostPath": {"path": "/var/lib/holdfast/cache-of-others"}}]),
        {},
        "volumes[0].hostPath.path is /var/lib/holdfast/cache-of-others, a directory of the node: use "
        "emptyDir or cache "
        "instead, or have the path allowed",
    ),
    (
        "no-host-access",
        _pod({"securityContext": {**SAFE, "privileged": True}}),
        {},
        "containers[0].securityContext.privileged is True, which is root on the node: use emptyDir or cache "
        "instead, or "
        "have the path allowed",
    ),
    (
        "hardened-containers",
        _pod({"resources": {}}),
        {},
        "containers[0].resources.limits.memory is missing, and one container can take the node's memory: keep the "
        "component's defaults; for other workloads set the field",
    ),
    (
        "hardened-containers",
        _pod({"securityContext": {**SAFE, "capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN", "CHOWN"]}}}),
        {},
        "containers[0].securityContext.capabilities.add is CHOWN, SYS_ADMIN, which takes back what was dropped: keep "
        "the component's defaults; for other workloads set the field",
    ),
    (
        "hardened-containers",
        _pod(
            {},
            initContainers=[
                {"name": "cache-owner", "securityContext": {"capabilities": {"add": ["CHOWN", "SYS_ADMIN"]}}}
            ],
        ),
        {},
        "initContainers[0].securityContext.capabilities.add is SYS_ADMIN, which takes back what was dropped: keep the "
        "component's defaults; for other workloads set the field",
    ),
    (
        "hardened-containers",
        _pod({"name": "cache-owner", "resources": {}}),
        {},
        "containers[0].resources.limits.memory is missing, and one container can take the node's memory: keep the "
        "component's defaults; for other workloads set the field",
    ),
]


@pytest.mark.parametrize(("name", "props", "settings", "text"), FAILING)
def test_what_breaks_a_rule_is_told_with_path_value_rule_and_remedy(
    name: str, props: dict[str, Any], settings: dict[str, Any], text: str
) -> None:
    assert text in violations(rule(name), "chat", props, settings)


@pytest.mark.parametrize(("name", "props", "settings", "text"), FAILING)
def test_an_exempted_name_is_left_alone_and_only_that_one(
    name: str, props: dict[str, Any], settings: dict[str, Any], text: str
) -> None:
    exempting = {**settings, "exempt": {"chat": "agreed with the platform team"}}
    assert violations(rule(name), "chat", props, exempting) == []
    assert text in violations(rule(name), "other", props, exempting)


KEPT: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("budget-per-endpoint", _props(hardware="a10g"), {"ceiling_usd_month": 734.38}),
    ("budget-per-endpoint", _props(hardware="h100", scaling={"max_replicas": 9}), {}),
    ("private-by-default", _props(), {}),
    ("pinned-digests", _props(), {}),
    ("pinned-digests", _props(image=None, template="ocr"), {}),
    ("approved-registries", _props(image="nginx:1"), {"approved": ["docker.io"]}),
    ("approved-registries", _props(), {"approved": ["ghcr.io/acme"]}),
    ("spot-only-where-it-can-be-lost", _props(hardware={"preset": "t4", "spot": False}), {}),
    (
        "spot-only-where-it-can-be-lost",
        _props(
            hardware={"preset": "t4", "spot": True, "instance_types": ["g4dn.xlarge", "g4dn.2xlarge"]},
            scaling={"max_request_s": 120, "startup_budget_s": 60},
        ),
        {},
    ),
    ("no-plain-text-secret", _pod({"env": [{"name": "MAX_TOKENS", "value": "4096"}]}), {}),
    ("no-plain-text-secret", _pod({"env": [{"name": "GCP_CREDENTIALS", "value": "/etc/gcp/key.json"}]}), {}),
    (
        "no-host-access",
        _pod({}, volumes=[{"hostPath": {"path": "/srv/a"}}]),
        {"allowed_paths": ["/srv"]},
    ),
    ("hardened-containers", _pod({}), {}),
    (
        "hardened-containers",
        _pod({"securityContext": {**SAFE, "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}}}),
        {},
    ),
    ("hardened-containers", _pod({}, initContainers=[{"name": "cache-owner"}]), {}),
]


@pytest.mark.parametrize(("name", "props", "settings"), KEPT)
def test_what_keeps_a_rule_is_not_mentioned(
    name: str, props: dict[str, Any], settings: dict[str, Any]
) -> None:
    assert violations(rule(name), "chat", props, settings) == []


def test_gpus_are_counted_over_all_endpoints_but_paused_and_exempted_ones() -> None:
    endpoints = {
        "big": _props(hardware="a10g", scaling={"max_replicas": 5}),
        "small": _props(hardware="t4", scaling={"max_replicas": 2}),
        "asleep": _props(hardware="t4", scaling={"max_replicas": 99}, state="paused"),
    }
    assert stack_violations(rule("gpu-quota"), endpoints, {"max_gpus": 6}) == [
        "scaling.max_replicas asks for 7 GPUs over all endpoints (most: big 5, small 2, asleep 0), above 6: lower "
        "max_replicas, or have the account's quota and this limit raised"
    ]
    assert stack_violations(rule("gpu-quota"), endpoints, {"max_gpus": 7}) == []
    exempt = {"max_gpus": 2, "exempt": {"big": "has a reservation of its own"}}
    assert stack_violations(rule("gpu-quota"), endpoints, exempt) == []


def test_the_stack_s_budget_names_what_costs_most() -> None:
    endpoints = {f"e{n}": _props(hardware="a10g", scaling={"max_replicas": n}) for n in (1, 2, 3, 4)}
    assert stack_violations(rule("budget-of-the-stack"), endpoints, {"ceiling_usd_month": 5000}) == [
        "cost.ceiling_usd_month is 7343.80 over 4 endpoints (most: e4 2937.52, e3 2203.14, e2 1468.76), "
        "above the budget "
        "of 5000 $ a month: lower max_replicas where it is not needed, pause what nobody calls, or have the "
        "budget raised"
    ]


@pytest.mark.parametrize("one", RULES, ids=lambda one: one.name)
def test_every_rule_says_why_and_what_to_do_and_is_in_the_guide(one: Rule) -> None:
    assert one.reason.endswith(".")
    assert one.remedy
    assert not one.remedy.endswith(".")
    guide = (ROOT / "policies" / "README.md").read_text()
    assert f"| `{one.name}` |" in guide
    assert one.reason in guide


def test_the_objects_of_an_endpoint_keep_every_rule_over_workloads() -> None:
    spec = parse_endpoint("chat", {"image": PINNED, "cache": {"path": "/weights"}}, catalogue())
    workloads = [one.as_object() for one in plan_endpoint(spec) if one.kind == "Deployment"]
    assert workloads
    for one in RULES:
        if "kubernetes:apps/v1:Deployment" in one.types:
            assert [violations(one, "chat", props, {}) for props in workloads] == [[]], one.name


@pytest.mark.parametrize("kind", ["apps/v1:ReplicaSet", "core/v1:ReplicationController", "core/v1:Pod"])
def test_whatever_makes_pods_is_looked_at(kind: str) -> None:
    for name in ("no-plain-text-secret", "no-host-access", "hardened-containers"):
        assert f"kubernetes:{kind}" in rule(name).types


def test_a_pod_is_found_in_every_kind_of_workload() -> None:
    pod = {"containers": []}
    assert pod_of({"spec": pod}) == pod
    assert pod_of({"spec": {"template": {"spec": pod}}}) == pod
    assert pod_of({"spec": {"jobTemplate": {"spec": {"template": {"spec": pod}}}}}) == pod
    assert pod_of({}) == {}


def test_the_example_configuration_names_known_rules_and_settings() -> None:
    example = json.loads((ROOT / "policies" / "config.example.json").read_text())
    for name, settings in example.items():
        assert set(settings) <= {*rule(name).settings, "exempt", "enforcementLevel"}


def test_a_rule_that_does_not_exist_is_told_with_those_that_do() -> None:
    with pytest.raises(KeyError, match="no-such is not among budget-per-endpoint, "):
        rule("no-such")
