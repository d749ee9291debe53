"""The main job on a real cluster: held at zero, one request per replica, back to zero, edited by stack code."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections import Counter
from typing import Any

import pytest

from holdfast_contract import names

pytestmark = pytest.mark.timeout(400)

SCALING = {"max_replicas": 3, "timeout_s": 15, "startup_budget_s": 60, "max_request_s": 90}


def test_twenty_requests_at_once_use_three_replicas_one_each_and_idle_ends_at_zero(
    stack: Any, platform: Any, wait: Any
) -> None:
    stack.declare(runs={"scaling": SCALING})
    stack.project.up()
    endpoint = stack.name("runs")
    wait("no replica at first", lambda: platform.pods(endpoint) == [], timeout_s=10)

    answers = platform.calls(20, endpoint, x_delay_ms="700")

    assert Counter(answer.status for answer in answers) == {200: 20}
    replicas = Counter(answer.headers[names.HEADER_REPLICA] for answer in answers)
    assert len(replicas) == 3
    assert {pod["metadata"]["name"] for pod in platform.pods(endpoint)} == set(replicas)
    for replica in replicas:
        stats = platform.sandbox.command(
            "kubectl",
            "get",
            "--raw",
            f"/api/v1/namespaces/{names.ENDPOINTS_NAMESPACE}/pods/{replica}:8000/proxy/__stats",
        )
        assert json.loads(stats.stdout)["peak_concurrency"] == 1
    idle_since = time.monotonic()
    wait("back to no replica", lambda: platform.pods(endpoint) == [], timeout_s=60)
    idle_s = time.monotonic() - idle_since
    assert idle_s > SCALING["timeout_s"] - 5

    again = platform.call(endpoint)
    assert again.status == 200
    slowest = max(answer.seconds for answer in answers)
    print(
        f"20 answered in {slowest:.1f} s by {dict(replicas)}; zero after {idle_s:.0f} s; again {again.seconds:.1f} s"
    )


def test_a_second_endpoint_shows_only_its_own_resources_and_a_third_up_changes_nothing(
    stack: Any, platform: Any, wait: Any
) -> None:
    stack.declare(one={"scaling": SCALING})
    stack.project.up()
    stack.declare(one={"scaling": SCALING}, two={"scaling": SCALING})

    steps = stack.project.steps()

    assert steps
    changed = _changed(steps)
    assert all(name.startswith(stack.name("two")) for name in changed), steps
    assert {steps[name] for name in changed} == {"create"}
    stack.project.up()
    stack.project.expect_no_changes()


def test_more_replicas_change_the_scaler_and_what_it_is_told_but_no_pod(stack: Any, platform: Any) -> None:
    stack.declare(one={"scaling": SCALING})
    stack.project.up()
    stack.declare(one={"scaling": {**SCALING, "max_replicas": 4}})

    steps = stack.project.steps()

    one = stack.name("one")
    # The endpoint's own update shows what it declares and costs now; nothing stands behind it.
    assert _changed(steps) == {one, f"{one}-scaledobject", f"{one}-document"}, steps
    assert steps[f"{one}-scaledobject"] == steps[f"{one}-document"] == steps[one] == "update"


def test_replicas_set_by_the_autoscaler_are_not_fought_over(stack: Any, platform: Any) -> None:
    scaling = {**SCALING, "timeout_s": 120}
    stack.declare(one={"scaling": scaling})
    stack.project.up()
    endpoint = stack.name("one")
    assert platform.call(endpoint).status == 200
    assert len(platform.pods(endpoint)) == 1

    stack.project.expect_no_changes()
    stack.project.run("refresh", "--yes", "--skip-preview")
    stack.project.expect_no_changes()
    assert len(platform.pods(endpoint)) == 1
    # Created with 0 replicas: an update of the Deployment itself must not say so again.
    stack.declare(one={"scaling": scaling, "env": {"CHANGED": "yes"}})
    assert stack.project.steps()[f"{endpoint}-deployment"] == "update"
    stack.project.up()
    deployment = platform.sandbox.kubectl.get("deployment", endpoint, "-n", names.ENDPOINTS_NAMESPACE)
    assert deployment["spec"]["replicas"] == 1


def test_destroy_leaves_no_object_behind(stack: Any, platform: Any, wait: Any) -> None:
    stack.declare(one={"scaling": SCALING})
    stack.project.up()
    assert platform.call(stack.name("one")).status == 200
    label = f"{names.LABEL_ENDPOINT}={stack.name('one')}"
    assert platform.objects(label)
    assert f"deployment.apps/{stack.name('one')}" in _named(platform, stack.prefix)

    stack.project.run("destroy", "--yes", "--skip-preview", timeout_s=200)

    wait("every object of the endpoint is gone", lambda: platform.objects(label) == [], timeout_s=60)
    wait("nor has any other its name", lambda: _named(platform, stack.prefix) == [], timeout_s=60)
    wait("the gateway knows it no more", lambda: platform.call(stack.name("one")).status == 404, timeout_s=20)


def test_no_secret_value_is_anywhere_but_in_the_kubernetes_secret(
    stack: Any, platform: Any, secret: Any
) -> None:
    value = "hush-7d1e0c-never-in-plain"
    name = secret(f"test/{stack.prefix}", {"url": value})
    stack.declare(
        one={
            "scaling": SCALING,
            "secrets": {"DB_URL": {"secret": name, "key": "url"}},
            "env": {"STANDIN_REQUIRE_ENV": "DB_URL"},
        }
    )
    shown = stack.project.run("preview", "--diff") + stack.project.run("up", "--yes", "--diff")
    answer = platform.call(stack.name("one"))
    assert answer.status == 200, answer.body
    exported = stack.project.run("stack", "export", "--show-secrets")
    secrets = platform.sandbox.paths.secrets
    password, broker = ((secrets / one).read_text().strip() for one in ("registry-password", "broker-secret"))
    everything, logs = _all_objects(platform), _logs(platform)
    assert stack.name("one") in everything
    assert answer.headers[names.HEADER_REQUEST_ID] in logs
    for hidden in (value, password, broker, platform.token):
        forms = (hidden, base64.b64encode(hidden.encode()).decode())
        for form in forms:
            assert form not in shown
            assert form not in exported
            assert form not in everything
            assert form not in logs
    commands = subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True).stdout
    assert value not in commands
    assert password not in commands


def _changed(steps: dict[str, str]) -> set[str]:
    """What a preview would change: reading the shared stack changes nothing, nor do the stack's own outputs."""
    return {name for name, operation in steps.items() if operation != "read" and not name.startswith("shop-")}


def _all_objects(platform: Any) -> str:
    """Every object of the cluster as text, Kubernetes Secrets aside."""
    return str(platform.sandbox.kubectl.run("get", _kinds(platform, "secrets"), "-A", "-o", "json"))


def _named(platform: Any, part: str) -> list[str]:
    """Every object of the cluster with that in its name, but for events: they tell of what is gone."""
    kinds = _kinds(platform, "events", "events.events.k8s.io")
    shown = platform.sandbox.kubectl.run("get", kinds, "-A", "--ignore-not-found", "-o", "name")
    return [one for one in shown.split() if part in one]


def _kinds(platform: Any, *without: str) -> str:
    """All kinds of objects but these and measurements, as `kubectl get` wants them."""
    found = platform.sandbox.kubectl.run("api-resources", "--verbs=list", "-o", "name").split()
    return ",".join(one for one in found if one not in without and not one.endswith(".metrics.k8s.io"))


def _logs(platform: Any) -> str:
    """What the sandbox's processes, the system's pods and the endpoints' pods have written."""
    kubectl = platform.sandbox.kubectl
    found = [file.read_text(errors="replace") for file in platform.sandbox.paths.log.glob("*.log")]
    for namespace in (names.ENDPOINTS_NAMESPACE, names.SYSTEM_NAMESPACE, "keda"):
        pods = kubectl.run("get", "pods", "-n", namespace, "-o", "name").split()
        # Of a pod that just ends there may be none.
        found += [kubectl.text("logs", pod, "-n", namespace, "--all-containers") for pod in pods]
    return "\n".join(found)
