"""What a running sandbox offers besides Kubernetes; on the machine's own sandbox, which is left as it was."""

from __future__ import annotations

import json
import secrets
import sys
import time
import urllib.error
import urllib.request
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sandbox_uses import DNS_QUESTION, external_secret

from holdfast_sandbox import aws, registry

pytestmark = pytest.mark.timeout(240)


def eventually(what: str, look: Callable[[], bool], timeout_s: float = 60) -> None:
    """Poll until it is so; fail with `what` where it does not become so."""
    deadline = time.monotonic() + timeout_s
    while not look():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {timeout_s:.0f} s: {what}")
        time.sleep(0.2)


@pytest.fixture
def namespace(sandbox: Any) -> Iterator[str]:
    """A namespace of the test's own."""
    name = f"test-{secrets.token_hex(4)}"
    sandbox.kubectl.run("create", "namespace", name)
    yield name
    sandbox.kubectl.run("delete", "namespace", name, "--wait=false")


def test_plain_commands_work_in_a_terminal_of_the_sandbox(sandbox: Any) -> None:
    nodes = json.loads(sandbox.command("kubectl", "get", "nodes", "-o", "json").stdout)["items"]
    version = sandbox.command("pulumi", "version").stdout
    home = sandbox.command("pulumi", "whoami", "-v").stdout

    assert len(nodes) == 1
    assert version.startswith("v3.")
    assert f"file://{sandbox.paths.state}" in home


def registry_status(credentials: str | None) -> int:
    headers = {"Authorization": f"Basic {b64encode(credentials.encode()).decode()}"} if credentials else {}
    request = urllib.request.Request(f"http://{registry.LISTENER}/v2/_catalog", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_the_registry_opens_with_its_password_only(sandbox: Any) -> None:
    assert registry_status(None) == 401
    assert registry_status(f"{registry.USER}:wrong") == 401
    assert registry_status(f"{registry.USER}:{registry.password(sandbox.paths)}") == 200


def test_the_registrys_credentials_are_in_secrets_manager(sandbox: Any) -> None:
    text = aws.client("secretsmanager").get_secret_value(SecretId=aws.REGISTRY_SECRET)["SecretString"]

    assert json.loads(text) == {"username": registry.USER, "password": registry.password(sandbox.paths)}


def test_external_secrets_follow_a_rotation(sandbox: Any, namespace: str) -> None:
    remote = f"test/{namespace}"
    aws.put_secret(remote, {"greeting": "before"})
    sandbox.kubectl.apply(
        external_secret(namespace, "greeting", remote, {"data": {"text": "{{ .greeting }}"}})
    )

    def text() -> str:
        encoded = sandbox.kubectl.text(
            "get", "secret", "greeting", "-n", namespace, "-o", "jsonpath={.data.text}"
        )
        return b64decode(encoded).decode()

    try:
        eventually("the secret appears", lambda: text() == "before")
        aws.put_secret(remote, {"greeting": "after"})
        eventually("the secret follows", lambda: text() == "after")
    finally:
        aws.client("secretsmanager").delete_secret(SecretId=remote, ForceDeleteWithoutRecovery=True)


def pause_pod(namespace: str, name: str, image: str, pull_secret: str | None = None) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "main", "image": image}],
            **({"imagePullSecrets": [{"name": pull_secret}]} if pull_secret else {}),
        },
    }


def waiting_message(sandbox: Any, namespace: str, pod: str) -> str:
    return str(
        sandbox.kubectl.text(
            "get",
            "pod",
            pod,
            "-n",
            namespace,
            "-o",
            "jsonpath={.status.containerStatuses[0].state.waiting.message}",
        )
    )


def test_an_image_of_an_unknown_registry_fails_at_once_and_without_the_network(
    sandbox: Any, namespace: str
) -> None:
    sandbox.kubectl.apply([pause_pod(namespace, "stranger", "example.invalid/nothing:1")])

    eventually(
        "the pull is refused on the loopback",
        lambda: "127.0.0.1:1" in waiting_message(sandbox, namespace, "stranger"),
        20,
    )


CLUSTER_DNS = "10.96.0.10", "53"


def test_a_pod_reaches_services_by_name_and_no_other_name(sandbox: Any) -> None:
    """As pods ask: the cluster DNS, at its Service's address."""
    ask = (sys.executable, "-c", DNS_QUESTION)
    inside = sandbox.command(*ask, "kubernetes.default.svc.cluster.local", *CLUSTER_DNS).stdout.split()
    outside = sandbox.command(*ask, "example.com", *CLUSTER_DNS).stdout.split()

    assert inside == ["10.96.0.1"]
    assert outside == []


def test_external_metrics_are_served(sandbox: Any) -> None:
    served = json.loads(sandbox.kubectl.run("get", "--raw", "/apis/external.metrics.k8s.io/v1beta1"))

    assert served["groupVersion"] == "external.metrics.k8s.io/v1beta1"


def test_the_admission_webhook_of_keda_refuses_a_second_scaler_on_a_deployment(
    sandbox: Any, namespace: str
) -> None:
    sandbox.kubectl.run(
        "create", "deployment", "model", "-n", namespace, "--image=registry.k8s.io/pause:3.10", "--replicas=0"
    )

    def scaled_object(name: str) -> dict[str, Any]:
        trigger = {"type": "external", "metadata": {"scalerAddress": "nowhere.invalid:1"}}
        return {
            "apiVersion": "keda.sh/v1alpha1",
            "kind": "ScaledObject",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"scaleTargetRef": {"name": "model"}, "triggers": [trigger]},
        }

    sandbox.kubectl.apply([scaled_object("first")])
    with pytest.raises(Exception, match="already managed by the ScaledObject 'first'"):
        sandbox.kubectl.apply([scaled_object("second")])
