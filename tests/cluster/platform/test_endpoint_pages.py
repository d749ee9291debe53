"""What callers see beside an endpoint on a real cluster: its events, its logs and its cost, through the gateway's
interface, the client and the command."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from holdfast_client import Client
from holdfast_contract import names, tokens
from pulumi_holdfast.spec.hardware import hardware_table

pytestmark = pytest.mark.timeout(400)

SCALING = {"max_replicas": 1, "timeout_s": 120, "startup_budget_s": 60, "max_request_s": 90}
MACHINE = "p5.48xlarge"
"""So expensive that half a second of it shows."""
USD_PER_HOUR = hardware_table().instances[MACHINE].usd_per_hour
HARDWARE = {"cpu": 0.05, "memory_mib": 64, "gpus": 1, "instance_types": [MACHINE]}
TOLD_WITHIN_S = 15
ROUNDING_USD = 0.0002
GATEWAY = "deployment/holdfast-gateway"


def test_an_endpoints_events_and_logs_are_its_own_and_for_who_has_its_token(
    stack: Any, platform: Any, wait: Any
) -> None:
    stack.declare(one={"scaling": SCALING}, **{"one-more": {"scaling": SCALING}})
    stack.project.up()
    one, other = stack.name("one"), stack.name("one-more")
    answers = {name: platform.call(name) for name in (one, other)}
    assert {answer.status for answer in answers.values()} == {200}
    (pod,) = (replica["metadata"]["name"] for replica in platform.pods(one))

    def events() -> set[tuple[str, str, str]]:
        told = platform.page(f"/v1/endpoints/{one}/events", token=platform.token).json["events"]
        assert [entry["at"] for entry in told] == sorted(entry["at"] for entry in told)
        return {(entry["object"], entry["reason"], entry["message"]) for entry in told}

    wait(
        "the start is told in words",
        lambda: (
            (f"pod/{pod}", "Scheduled", f"Successfully assigned {names.ENDPOINTS_NAMESPACE}/{pod} to vm")
            in events()
        ),
        timeout_s=TOLD_WITHIN_S,
    )
    found = events()
    assert (f"pod/{pod}", "Started", f"Started container {names.MODEL_CONTAINER}") in found
    pulled = [message for about, reason, message in found if (about, reason) == (f"pod/{pod}", "Pulled")]
    assert any(platform.standin in message for message in pulled), pulled
    assert not [about for about, _, _ in found if other in about]

    def logs(name: str, container: str) -> dict[str, str]:
        path = f"/v1/endpoints/{name}/logs?container={container}&tail=50"
        told = platform.page(path, token=platform.token).json
        assert told["container"] == container
        return {replica["replica"]: replica["text"] for replica in told["replicas"]}

    assert logs(one, names.MODEL_CONTAINER) == {pod: "listening 8000\n"}
    request_id = answers[one].headers[names.HEADER_REQUEST_ID]
    assert request_id in logs(one, names.WORKER_CONTAINER)[pod]
    assert request_id not in "".join(logs(other, names.WORKER_CONTAINER).values())
    for part in ("", "/events", "/logs", "/logs?container=worker"):
        refused = platform.page(f"/v1/endpoints/{one}{part}")
        assert refused.status == 401, part
        assert pod.encode() not in refused.body
        assert platform.page(f"/v1/endpoints/{one}{part}", token=tokens.new_token("other")).status == 401, (
            part
        )

    told = platform.command("holdfast", "events", one)
    assert f"Successfully assigned {names.ENDPOINTS_NAMESPACE}/{pod} to vm" in told
    assert other not in told
    assert (
        platform.command("holdfast", "logs", one) == f"[pod/{pod}/{names.MODEL_CONTAINER}] listening 8000\n"
    )
    assert request_id in platform.command("holdfast", "logs", one, "--container", "worker")


@dataclass(frozen=True)
class Gateways:
    """The gateway's replicas, asked one by one."""

    kubectl: Any

    def urls(self) -> dict[str, str]:
        """By pod, those that are ready and not on their way out."""
        label = f"{names.LABEL_COMPONENT}=gateway"
        pods = self.kubectl.get("pods", "-n", names.SYSTEM_NAMESPACE, "-l", label)["items"]
        return {
            pod["metadata"]["name"]: f"http://{pod['status']['podIP']}:{names.GATEWAY_PORT}"
            for pod in pods
            if "deletionTimestamp" not in pod["metadata"]
            and any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"]["conditions"])
        }

    def run(self, *words: str) -> None:
        """kubectl, about gateways."""
        self.kubectl.run(*words, "-n", names.SYSTEM_NAMESPACE)


@pytest.fixture
def two_gateways(platform: Any, wait: Any) -> Iterator[Gateways]:
    """A second gateway beside the sandbox's only one; it goes again in any case."""
    gateways = Gateways(platform.sandbox.kubectl)
    gateways.run("scale", GATEWAY, "--replicas=2")
    try:
        wait("two gateways are ready", lambda: len(gateways.urls()) == 2, timeout_s=60)
        yield gateways
    finally:
        gateways.run("scale", GATEWAY, "--replicas=1")
        gateways.run("rollout", "status", GATEWAY, "--timeout=60s")


def test_the_month_is_the_same_at_every_gateway_and_goes_on_after_a_restart(
    stack: Any, platform: Any, wait: Any, two_gateways: Gateways
) -> None:
    stack.declare(one={"scaling": SCALING, "hardware": HARDWARE})
    stack.project.up()
    one = stack.name("one")

    def cost(gateway_url: str | None = None) -> dict[str, Any]:
        answer = platform.page(f"/v1/endpoints/{one}", token=platform.token, gateway_url=gateway_url)
        told: dict[str, Any] = answer.json["cost"]
        return told

    def month(gateway_url: str) -> float:
        return float(cost(gateway_url)["usd_this_month"] or 0)

    idle = cost()
    assert (idle["instance_type"], idle["usd_per_hour_now"]) == (MACHINE, 0)
    assert platform.call(one).status == 200
    asked = time.monotonic()
    urls = two_gateways.urls()
    first, second = urls.values()
    for url in (first, second):
        assert cost(url)["usd_per_hour_now"] == USD_PER_HOUR
        wait("it tells the month's cost", lambda: month(url) > 0, timeout_s=TOLD_WITHIN_S)  # noqa: B023
    told_s = time.monotonic() - asked

    began, before = time.monotonic(), month(first)
    time.sleep(2)
    between, after = month(second), month(first)
    ended = time.monotonic()
    assert before - ROUNDING_USD <= between <= after + ROUNDING_USD, "both count one machine, once"
    grown = after - before
    assert grown == pytest.approx(USD_PER_HOUR * (ended - began) / 3600, rel=0.5)

    restarted = next(iter(urls))
    two_gateways.run("delete", "pod", restarted, "--wait=false")
    wait("another gateway in its place", lambda: len(set(two_gateways.urls()) - set(urls)) == 1, timeout_s=60)
    (new,) = (url for pod, url in two_gateways.urls().items() if pod not in urls)
    wait("the new one tells the month's cost", lambda: month(new) > 0, timeout_s=TOLD_WITHIN_S)
    between, afterwards = month(new), month(second)
    assert after < between <= afterwards + ROUNDING_USD
    # Nothing was lost meanwhile: the machine ran on, and is paid for.
    assert afterwards - after == pytest.approx(USD_PER_HOUR * (time.monotonic() - ended) / 3600, rel=0.3)
    print(
        f"\n  told {told_s:.1f} s after the answer; {grown:.4f} USD in {ended - began:.1f} s; {afterwards:.4f} USD"
    )

    with Client(platform.sandbox.gateway_url, token=platform.token) as client:
        told = client.endpoint(one)
    assert (told.replicas.ready, told.raw["cost"]["usd_per_hour_now"]) == (1, USD_PER_HOUR)
    assert told.raw["cost"]["usd_this_month"] >= between
    (measured,) = json.loads(platform.command("holdfast", "metrics", one, "--json"))
    assert (measured["name"], measured["cost"]["usd_per_hour_now"]) == (one, USD_PER_HOUR)
    assert f"{USD_PER_HOUR:.2f}" in platform.command("holdfast", "metrics", one)
    assert re.search(
        r"^replicas +1, between 0 and 1$", platform.command("holdfast", "status", one), re.MULTILINE
    )
