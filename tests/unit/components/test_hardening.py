"""What every pod that we declare may do, and whom it may talk to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from holdfast_contract import names
from pulumi_holdfast.plan.endpoint import plan_endpoint
from pulumi_holdfast.plan.manifest import Json, Manifest
from pulumi_holdfast.plan.system.shared import plan_shared
from pulumi_holdfast.plan.wiring import hole
from pulumi_holdfast.spec.parse import parse_endpoint
from pulumi_holdfast.spec.shared import parse_shared
from pulumi_holdfast.spec.template import catalogue

ENDPOINTS: tuple[dict[str, Any], ...] = (
    {"image": "ghcr.io/acme/chat:1"},
    {"image": "ghcr.io/acme/chat:1", "hardware": "a10g", "cache": {"path": "/weights"}},
    {"template": "ocr"},
)
SHARED: tuple[dict[str, Any], ...] = (
    {},
    {"registry_credentials": {"secret": "services"}, "domain": "gpu.example"},
    {"queue": {"servers": 1, "host_path": "/var/lib/queue"}, "gateway": {"replicas": 1}},
)


def shared(**args: Any) -> tuple[Manifest, ...]:
    return plan_shared(
        parse_shared("test", {"services_image": "acme/services:1", "base_url": "https://gpu.example", **args})
    )


def endpoint(**args: Any) -> tuple[Manifest, ...]:
    return plan_endpoint(parse_endpoint("chat", args, catalogue()))


def pods(planned: tuple[Manifest, ...]) -> Iterator[tuple[str, Json]]:
    for manifest in planned:
        template = manifest.body.get("spec", {}).get("template")
        if manifest.kind in ("Deployment", "StatefulSet", "DaemonSet", "Job") and template:
            yield manifest.child, template["spec"]


def containers(planned: tuple[Manifest, ...]) -> Iterator[tuple[str, Json]]:
    """Every container with the pod's security context below its own, as Kubernetes reads them."""
    for child, pod in pods(planned):
        for container in (*pod.get("initContainers", ()), *pod["containers"]):
            merged = {**pod.get("securityContext", {}), **container.get("securityContext", {})}
            yield f"{child}/{container['name']}", merged


ALL = [endpoint(**args) for args in ENDPOINTS] + [shared(**args) for args in SHARED]


@pytest.mark.parametrize("planned", ALL)
def test_no_container_may_gain_rights_or_write_to_its_root(planned: tuple[Manifest, ...]) -> None:
    found = dict(containers(planned))
    assert found
    for name, context in found.items():
        assert context["allowPrivilegeEscalation"] is False, name
        assert context["capabilities"]["drop"] == ["ALL"], name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert context["readOnlyRootFilesystem"] is True, name
        assert not context.get("privileged"), name


@pytest.mark.parametrize("planned", ALL)
def test_only_what_must_hand_over_a_nodes_directory_runs_as_root(planned: tuple[Manifest, ...]) -> None:
    for name, context in containers(planned):
        if name == "deployment/cache-owner":
            assert context["capabilities"] == {"drop": ["ALL"], "add": ["CHOWN"]}
        elif context.get("runAsUser") == 0:
            assert name == "nats/nats"
            assert any("hostPath" in volume for _, pod in pods(planned) for volume in pod["volumes"])
        else:
            assert context["runAsNonRoot"] is True, name
            assert "add" not in context["capabilities"], name


@pytest.mark.parametrize("planned", ALL)
def test_no_pod_shares_its_nodes_namespaces_or_gets_a_token_that_it_does_not_use(
    planned: tuple[Manifest, ...],
) -> None:
    for child, pod in pods(planned):
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod), child
        assert pod["enableServiceLinks"] is False
        if child not in ("gateway", "scaler"):  # they watch the endpoints' namespace
            assert pod["automountServiceAccountToken"] is False, child


def reachable(policy: Manifest) -> list[tuple[tuple[str, ...], tuple[Any, ...]]]:
    """Each egress rule as (labels of whom, ports)."""
    assert "Egress" in policy.body["spec"]["policyTypes"]
    found = []
    for rule in policy.body["spec"]["egress"]:
        whom = [
            peer.get("podSelector", {}).get("matchLabels", {}).get(names.LABEL_COMPONENT)
            or peer.get("ipBlock", {}).get("cidr")
            or "any pod"
            for peer in rule["to"]
        ]
        found.append((tuple(whom), tuple(port["port"] for port in rule.get("ports", ()))))
    return found


def policy(planned: tuple[Manifest, ...], child: str) -> Manifest:
    return next(manifest for manifest in planned if manifest.child == child)


def test_a_replica_reaches_names_the_queue_and_the_gateways_reply_port_and_nothing_else() -> None:
    rules = policy(endpoint(image="a:1"), "network")
    watchers = {"namespaceSelector": {"matchLabels": {"holdfast.dev/monitoring": "true"}}}
    # Metrics are read and traces are taken by namespaces that the platform team names; nobody else connects.
    (watched,) = rules.body["spec"]["ingress"]
    assert watched == {"ports": [{"port": names.WORKER_PORT, "protocol": "TCP"}], "from": [watchers]}
    assert reachable(rules) == [
        (("any pod",), (53, 53)),
        (("queue",), (names.NATS_PORT,)),
        (("gateway",), (names.GATEWAY_INTERNAL_PORT,)),
        (("any pod",), (4318,)),
    ]
    *platform, traces = rules.body["spec"]["egress"][1:]
    assert traces["to"] == [watchers]
    for rule in platform:
        (peer,) = rule["to"]
        assert peer["namespaceSelector"] == {
            "matchLabels": {"kubernetes.io/metadata.name": hole("system_namespace")}
        }


def test_a_replica_with_declared_egress_reaches_the_internet_and_no_private_network() -> None:
    *_, last = policy(endpoint(image="a:1", egress="internet"), "network").body["spec"]["egress"]
    (block,) = last["to"]
    assert block["ipBlock"]["cidr"] == "0.0.0.0/0"
    assert {"10.0.0.0/8", "169.254.0.0/16"} <= set(block["ipBlock"]["except"])


def test_a_replica_that_may_reach_s3_may_ask_for_the_credentials_of_its_role_and_others_may_not() -> None:
    agent = (("169.254.170.23/32",), (80,))
    assert agent in reachable(policy(endpoint(image="a:1", egress="internet"), "network"))
    assert agent not in reachable(policy(endpoint(image="a:1"), "network"))


def test_the_policy_of_an_endpoint_selects_its_replicas() -> None:
    planned = endpoint(image="a:1")
    wanted = policy(planned, "network").body["spec"]["podSelector"]["matchLabels"]
    labels = policy(planned, "deployment").body["spec"]["template"]["metadata"]["labels"]
    assert wanted.items() <= labels.items()


def test_a_broker_reaches_names_and_the_other_brokers_alone() -> None:
    assert reachable(policy(shared(), "nats-network")) == [(("any pod",), (53, 53)), (("queue",), (6222,))]


def test_every_part_of_the_system_that_has_pods_has_a_policy_that_selects_them() -> None:
    planned = shared()
    policies = [
        manifest.body["spec"]["podSelector"]["matchLabels"]
        for manifest in planned
        if manifest.kind == "NetworkPolicy"
    ]
    for child in ("nats", "gateway", "scaler"):
        labels = policy(planned, child).body["spec"]["template"]["metadata"]["labels"]
        assert any(wanted.items() <= labels.items() for wanted in policies), child


def test_what_runs_more_than_once_loses_one_at_a_time_and_is_spread() -> None:
    planned = shared()
    for child in ("nats", "gateway", "scaler"):
        spec = policy(planned, child).body["spec"]
        budget = policy(planned, f"{child}-disruption").body["spec"]
        assert spec["replicas"] > 1
        assert budget["maxUnavailable"] == 1
        assert budget["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
        keys = {rule["topologyKey"] for rule in spec["template"]["spec"]["topologySpreadConstraints"]}
        assert "topology.kubernetes.io/zone" in keys


def test_a_part_that_runs_once_may_be_drained() -> None:
    """A budget of one of one would hold a node's drain up for good."""
    planned = shared(queue={"servers": 1}, gateway={"replicas": 1}, scaler={"replicas": 1})
    assert not [manifest for manifest in planned if manifest.kind == "PodDisruptionBudget"]
