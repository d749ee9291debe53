"""The official Kubernetes provider, as the sandbox builds it, against the sandbox's real API server."""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pulumi_project import Project, Pulumi, new_project

pytestmark = pytest.mark.timeout(400)
SECRET = "hush-51c0-never-in-plain"
PAUSE = "registry.k8s.io/pause:3.10"

PROGRAM = """
    import base64
    import pulumi
    import pulumi_kubernetes as k8s

    config = pulumi.Config()
    namespace = config.require("namespace")
    labels = {"app": config.get("app") or "shop"}
    metadata = {"namespace": namespace}
    k8s.core.v1.ConfigMap("settings", metadata={**metadata, "name": "settings"},
                          data={"colour": config.get("colour") or "green"})
    k8s.core.v1.Secret("password", metadata={**metadata, "name": "password"},
                       string_data={"password": config.require_secret("password")})
    deployment = k8s.apps.v1.Deployment("shop", metadata={
        **metadata, "name": "shop",
        "annotations": {"pulumi.com/skipAwait": "true"} if config.get_bool("skip") else {},
    }, spec={
        "replicas": int(config.get("replicas") or 1),
        "selector": {"match_labels": labels},
        "template": {
            "metadata": {"labels": labels},
            "spec": {
                "termination_grace_period_seconds": int(config.get("grace") or 0),
                "containers": [{
                    "name": "main", "image": "%s", "image_pull_policy": "IfNotPresent",
                    "resources": {"requests": {"cpu": "10m", "memory": "8Mi"}},
                    **({"readiness_probe": {"tcp_socket": {"port": 1}}} if config.get_bool("unready") else {}),
                }],
            },
        },
    }, opts=pulumi.ResourceOptions(
        custom_timeouts=pulumi.CustomTimeouts(create=config.get("timeout") or "60s", update="60s"),
        ignore_changes=["spec.replicas"] if config.get_bool("scaled") else None))
    pulumi.export("ready", deployment.status.apply(lambda status: status and status.ready_replicas))
    """


@pytest.fixture
def namespace(sandbox: Any) -> Iterator[str]:
    """A namespace of this test's own; gone afterwards."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    sandbox.command("kubectl", "create", "namespace", name)
    yield name
    sandbox.command("kubectl", "delete", "namespace", name, "--wait=false")


@pytest.fixture
def shop(sandbox: Any, namespace: str, tmp_path: Path) -> Project:
    """A project that declares a Deployment, a ConfigMap and a Secret; its state is its own."""
    state = tmp_path / "state"
    state.mkdir()
    environment = {
        name: value for name, value in sandbox.environment.items() if name != "PULUMI_CONFIG_PASSPHRASE_FILE"
    }
    environment |= {"PULUMI_BACKEND_URL": f"file://{state}", "PULUMI_CONFIG_PASSPHRASE": "only-for-tests"}
    project = new_project(tmp_path / "project", Pulumi(environment))
    project.write(PROGRAM % PAUSE)
    project.run("config", "set", "namespace", namespace)
    project.run("config", "set", "--secret", "password", SECRET)
    # Without it the provider replaces a ConfigMap whose data change: for a moment there is none.
    project.run("config", "set", "kubernetes:enableConfigMapMutable", "true")
    return project


def test_the_whole_life_of_a_workload(shop: Project, sandbox: Any, namespace: str) -> None:
    """Create, nothing to do, change in place, refresh after a change from outside, destroy."""
    shop.up()
    assert shop.outputs()["ready"] == 1
    shop.expect_no_changes()

    shop.run("config", "set", "colour", "blue")
    assert shop.steps() == {"settings": "update"}
    shop.up()
    assert _get(sandbox, namespace, "configmap", "settings")["data"] == {"colour": "blue"}

    sandbox.command("kubectl", "-n", namespace, "scale", "deployment", "shop", "--replicas=0")
    sandbox.command("kubectl", "-n", namespace, "delete", "configmap", "settings")
    shop.run("refresh", "--yes", "--skip-preview")
    assert shop.steps() == {"settings": "create", "shop": "update"}
    shop.up()
    assert _get(sandbox, namespace, "deployment", "shop")["spec"]["replicas"] == 1

    shop.run("destroy", "--yes", "--skip-preview")
    left = sandbox.command(
        "kubectl", "-n", namespace, "get", "deploy,secret,configmap,pod", "-o", "name"
    ).stdout
    assert "shop" not in left
    assert "secret/password" not in left
    assert "configmap/settings" not in left


def test_a_change_of_an_immutable_field_replaces(shop: Project, sandbox: Any, namespace: str) -> None:
    shop.up()
    before = _get(sandbox, namespace, "deployment", "shop")["metadata"]["uid"]
    shop.run("config", "set", "app", "store")
    assert shop.steps() == {"shop": "replace"}
    shop.up()
    after = _get(sandbox, namespace, "deployment", "shop")
    assert after["metadata"]["uid"] != before
    assert after["spec"]["selector"]["matchLabels"] == {"app": "store"}


def test_a_config_map_is_replaced_unless_the_provider_may_change_it(shop: Project) -> None:
    shop.run("config", "rm", "kubernetes:enableConfigMapMutable")
    shop.up()
    shop.run("config", "set", "colour", "blue")
    assert shop.steps() == {"settings": "replace"}


def test_what_the_autoscaler_sets_is_not_fought_over(shop: Project, sandbox: Any, namespace: str) -> None:
    shop.run("config", "set", "scaled", "true")
    shop.up()
    sandbox.command("kubectl", "-n", namespace, "scale", "deployment", "shop", "--replicas=2")
    shop.run("config", "set", "grace", "1")
    assert shop.steps() == {"shop": "update"}
    shop.up()
    assert _get(sandbox, namespace, "deployment", "shop")["spec"]["replicas"] == 2


def test_up_waits_for_readiness_and_says_what_is_missing(shop: Project) -> None:
    shop.run("config", "set", "unready", "true")
    shop.run("config", "set", "timeout", "5s")
    done = shop.attempt("up", "--yes", "--skip-preview")
    assert done.returncode != 0
    assert "shop" in done.stdout
    assert "timed out" in done.stdout.lower()


def test_up_waits_until_the_pods_of_a_service_are_ready(shop: Project, sandbox: Any, namespace: str) -> None:
    main = {"name": "main", "image": PAUSE, "readinessProbe": {"tcpSocket": {"port": 1}}}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "unready", "namespace": namespace, "labels": {"app": "unready"}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [main]},
    }
    sandbox.kubectl.apply([pod])
    running = "--for=jsonpath={.status.phase}=Running"
    sandbox.command("kubectl", "-n", namespace, "wait", "pod/unready", running, "--timeout=60s")
    shop.write(f"""
        import pulumi, pulumi_kubernetes as k8s
        k8s.core.v1.Service("lonely", metadata={{"namespace": {namespace!r}}},
                            spec={{"ports": [{{"port": 80}}], "selector": {{"app": "unready"}}}},
                            opts=pulumi.ResourceOptions(custom_timeouts=pulumi.CustomTimeouts(create="5s")))
        """)
    done = shop.attempt("up", "--yes", "--skip-preview")
    assert done.returncode != 0
    assert "lonely" in done.stdout
    assert "Service does not target any Pods. Selected Pods may not be ready" in done.stdout


def test_skip_await_does_not_wait(shop: Project) -> None:
    shop.run("config", "set", "unready", "true")
    shop.run("config", "set", "skip", "true")
    began = time.monotonic()
    shop.up()
    assert time.monotonic() - began < 45, "it waited for a pod that never gets ready"


def test_a_secret_is_nowhere_in_plain_text(shop: Project, sandbox: Any, namespace: str) -> None:
    shown = shop.preview("--diff") + shop.up() + shop.run("stack", "export") + shop.preview("--json")
    shop.run("config", "set", "--secret", "password", f"{SECRET}-2")
    shown += shop.preview("--diff") + shop.up() + shop.run("refresh", "--yes") + shop.run("stack", "export")
    assert SECRET not in shown
    encoded = _get(sandbox, namespace, "secret", "password")["data"]["password"]
    assert base64.b64decode(encoded).decode() == f"{SECRET}-2"
    for value in (SECRET, f"{SECRET}-2"):
        assert base64.b64encode(value.encode()).decode() not in shown


def test_an_object_from_before_is_imported_and_then_unchanged(
    shop: Project, sandbox: Any, namespace: str
) -> None:
    sandbox.command("kubectl", "-n", namespace, "create", "configmap", "old", "--from-literal=a=b")
    shop.write(f"""
        import pulumi, pulumi_kubernetes as k8s
        k8s.core.v1.ConfigMap("old", metadata={{"namespace": {namespace!r}, "name": "old"}}, data={{"a": "b"}},
                              opts=pulumi.ResourceOptions(import_="{namespace}/old"))
        """)
    assert "imported" in shop.up()
    shop.expect_no_changes()


def test_the_command_import_takes_in_an_object_from_before_which_is_then_unchanged(
    shop: Project, sandbox: Any, namespace: str
) -> None:
    sandbox.command("kubectl", "-n", namespace, "create", "configmap", "old", "--from-literal=a=b")
    before = _get(sandbox, namespace, "configmap", "old")["metadata"]["uid"]
    flags = ("--yes", "--generate-code=false", "--protect=false")
    shown = shop.run("import", "kubernetes:core/v1:ConfigMap", "old", f"{namespace}/old", *flags)
    assert "1 imported" in shown
    assert shop.resource("old")["id"] == f"{namespace}/old"
    shop.write(f"""
        import pulumi_kubernetes as k8s
        k8s.core.v1.ConfigMap("old", metadata={{"namespace": {namespace!r}, "name": "old"}}, data={{"a": "b"}})
        """)
    shop.expect_no_changes()
    assert _get(sandbox, namespace, "configmap", "old")["metadata"]["uid"] == before


@pytest.mark.parametrize("command", [("preview",), ("up", "--yes", "--skip-preview")], ids=["preview", "up"])
def test_what_the_api_server_refuses_is_an_error_of_the_resource(
    shop: Project, namespace: str, command: tuple[str, ...]
) -> None:
    """Before anything is made as well: the API server is asked by a dry run."""
    shop.write(f"""
        import pulumi_kubernetes as k8s
        k8s.core.v1.Service("bad", metadata={{"namespace": {namespace!r}}},
                            spec={{"ports": [{{"port": 70000}}], "selector": {{}}}})
        """)
    done = shop.attempt(*command)
    assert done.returncode != 0
    assert "70000" in done.stdout


def _get(sandbox: Any, namespace: str, kind: str, name: str) -> dict[str, Any]:
    shown = sandbox.command("kubectl", "-n", namespace, "get", kind, name, "-o", "json").stdout
    found: dict[str, Any] = json.loads(shown)
    return found
