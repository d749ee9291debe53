"""What Secrets Manager holds reaches an endpoint, and a rotation is followed: by its pulls, and by its variables."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

from holdfast_contract import names
from holdfast_sandbox import images, registry

pytestmark = pytest.mark.timeout(400)

SCALING = {"max_replicas": 1, "timeout_s": 120, "startup_budget_s": 60, "max_request_s": 90}
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture
def unpulled(stack: Any, platform: Any) -> Iterator[str]:
    """The stand-in's image by a tag that the node has not pulled yet, so that it has to ask the registry."""
    repository, _, digest = platform.standin.partition("@")
    manifests = f"http://{registry.LISTENER}/v2/{repository.partition('/')[2]}/manifests"
    headers = {"authorization": images.authorization(platform.sandbox.paths), "accept": MANIFEST}
    with httpx2.Client(headers=headers) as client:
        manifest = client.get(f"{manifests}/{digest}").raise_for_status().content
        tag = f"{manifests}/{stack.prefix}"
        client.put(tag, content=manifest, headers={"content-type": MANIFEST}).raise_for_status()
        yield f"{repository}:{stack.prefix}"
        client.delete(tag).raise_for_status()


def test_a_rotated_registry_password_is_followed_and_the_next_pull_uses_it(
    stack: Any, platform: Any, secret: Callable[..., str], wait: Callable[..., Any], unpulled: str
) -> None:
    name = secret(f"test/{stack.prefix}-rotated", {"username": registry.USER, "password": "before"})
    credentials = {"secret": name, "refresh_s": 2}
    stack.declare(one={"image": unpulled, "scaling": SCALING, "registry_credentials": credentials})
    stack.project.up()
    wait("the first password", lambda: "before" in _pull_secret(platform, stack), timeout_s=30)

    # The one that the registry takes now; with the first a pull is refused (test_failures.py).
    password = registry.password(platform.sandbox.paths)
    secret(name, {"username": registry.USER, "password": password})

    wait("the second password", lambda: password in _pull_secret(platform, stack), timeout_s=30)
    answer = platform.call(stack.name("one"))
    assert answer.status == 200, answer.body
    (pod,) = platform.pods(stack.name("one"))
    about = f"involvedObject.name={pod['metadata']['name']},reason=Pulled"
    told = platform.sandbox.kubectl.text(
        "get",
        "events",
        "-n",
        names.ENDPOINTS_NAMESPACE,
        f"--field-selector={about}",
        "-o",
        "jsonpath={.items[*].message}",
    )
    assert f'Successfully pulled image "{unpulled}"' in told
    stack.project.expect_no_changes()


def test_a_rotated_secret_reaches_the_next_replica_and_leaves_the_running_one_alone(
    stack: Any, platform: Any, secret: Callable[..., str], wait: Callable[..., Any]
) -> None:
    endpoint, kubectl = stack.name("one"), platform.sandbox.kubectl
    name = secret(f"test/{stack.prefix}-db", {"url": "postgres://before"})
    stack.declare(one={"scaling": SCALING, "secrets": {"DB_URL": {"secret": name, "key": "url"}}})
    stack.project.up()
    assert platform.call(endpoint).status == 200
    first = _only_pod(platform, endpoint)
    assert _variable(platform, first, "DB_URL") == _sha256("postgres://before")

    secret(name, {"url": "postgres://after"})

    # At once, as its documentation says: the interval at which it looks by itself is five minutes.
    now = f"force-sync={time.time_ns()}"
    kubectl.run("annotate", "externalsecret", f"{endpoint}-secrets", "-n", names.ENDPOINTS_NAMESPACE, now)
    template = "{{index .data `DB_URL` | base64decode}}"
    kept = ("get", "secret", f"{endpoint}-secrets", "-n", names.ENDPOINTS_NAMESPACE, "-o")
    wait(
        "the Kubernetes Secret follows",
        lambda: kubectl.text(*kept, f"go-template={template}") == "postgres://after",
        timeout_s=30,
    )
    assert _only_pod(platform, endpoint) == first
    assert _variable(platform, first, "DB_URL") == _sha256("postgres://before")
    kubectl.run("delete", "pod", first, "-n", names.ENDPOINTS_NAMESPACE, "--grace-period=0", "--force")
    assert platform.call(endpoint).status == 200
    second = _only_pod(platform, endpoint)
    assert second != first
    assert _variable(platform, second, "DB_URL") == _sha256("postgres://after")
    stack.project.expect_no_changes()


@pytest.mark.parametrize("shape", ["pair", "pair-with-registry", "docker-config"])
def test_registry_credentials_of_every_shape_become_a_docker_configuration(
    stack: Any, platform: Any, secret: Callable[..., str], wait: Callable[..., Any], shape: str
) -> None:
    host = platform.standin.partition("/")[0]
    entry = {"username": "holdfast", "password": 'with "quotes" and \\'}
    value: dict[str, Any] = {
        "pair": entry,
        "pair-with-registry": {**entry, "registry": host},
        "docker-config": {"auths": {host: entry}},
    }[shape]
    name = secret(f"test/{stack.prefix}-{shape}", value)
    stack.declare(one={"scaling": SCALING, "registry_credentials": {"secret": name}})
    stack.project.up()
    text = wait("the pull secret", lambda: _pull_secret(platform, stack), timeout_s=30)
    found = json.loads(text)["auths"][host]
    assert (found["username"], found["password"]) == ("holdfast", entry["password"])


def _pull_secret(platform: Any, stack: Any) -> str:
    done = platform.sandbox.command(
        *("kubectl", "-n", "holdfast", "get", "secret", f"{stack.name('one')}-pull"),
        *("-o", r"go-template={{index .data `.dockerconfigjson` | base64decode}}"),
        check=False,
    )
    return str(done.stdout) if done.returncode == 0 else ""


def _only_pod(platform: Any, endpoint: str) -> str:
    (pod,) = platform.pods(endpoint)
    return str(pod["metadata"]["name"])


def _variable(platform: Any, pod: str, variable: str) -> str:
    """The SHA-256 of a variable in the pod's model container."""
    kubectl, namespace = platform.sandbox.kubectl, names.ENDPOINTS_NAMESPACE
    # A replica may answer before the API server knows its address.
    kubectl.run("wait", f"pod/{pod}", "-n", namespace, "--for=condition=Ready", "--timeout=30s")
    path = f"/api/v1/namespaces/{namespace}/pods/{pod}:8000/proxy/__env?name={variable}"
    return str(json.loads(kubectl.run("get", "--raw", path))["sha256"])


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
