"""A second platform on the same cluster, with three brokers as pods on volumes of their own: one is killed."""

from __future__ import annotations

import collections
import concurrent.futures
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pulumi_project import Project, Pulumi, new_project

from holdfast_contract import names, tokens
from holdfast_sandbox import aws, demo
from holdfast_sandbox.kubectl import Kubectl

pytestmark = pytest.mark.timeout(400)

NAMESPACE, SYSTEM = "three", "three-system"
PASSING = "events", "events.events.k8s.io"
"""They tell of what is gone."""
CLASS = "three"
VOLUMES = 3
REQUESTS = 120
PATIENCE_S = 60.0
PROGRAM = """
import pulumi
import pulumi_holdfast as holdfast

shared = holdfast.SharedStack("three", {{
    "kind": holdfast.PlatformKind.SANDBOX,
    "services_image": {services!r},
    "broker_secret": pulumi.Config().require_secret("secret"),
    "base_url": "http://holdfast-gateway.{system}",
    "namespace": {namespace!r},
    "system_namespace": {system!r},
    "gateway": {{"replicas": 2, "ingress": holdfast.Ingress.CLUSTER}},
    "queue": {{"servers": 3, "storage_gib": 1, "storage_class": {storage_class!r}}},
    "registry_credentials": {{"secret": {registry_secret!r}}},
    "instance_types": False,
    # The one node has to do for all three.
    "transforms": {{"nats": {{"spec": {{"template": {{"spec": {{"affinity": None}}}}}}}}}},
}})
platform = holdfast.Platform.of(shared, tokens=[{token!r}])
holdfast.Endpoint("demo", {{
    "platform": platform,
    "image": {standin!r},
    "registry_credentials": {{"secret": {registry_secret!r}}},
    "hardware": {{"cpu": 0.05, "memory_mib": 64}},
    "scaling": {{"min_replicas": 1, "max_replicas": 2, "startup_budget_s": 60, "max_request_s": 60}},
}}, pulumi.ResourceOptions(depends_on=[shared]))
"""


class Three:
    """The platform with three brokers, as its caller sees it."""

    def __init__(self, kubectl: Kubectl, project: Project) -> None:
        self.kubectl = kubectl
        self.project = project
        self.before = self.objects()
        """Every object of the cluster from before this platform."""
        self.token = tokens.new_token("three")
        self._clients = httpx2.Client(timeout=30)

    def objects(self) -> set[str]:
        """Every object of the cluster as kind/namespace/name, but for what comes and goes by itself."""
        listed = self.kubectl.run("api-resources", "--verbs=list", "-o", "name").split()
        kinds = [one for one in listed if one not in PASSING and not one.endswith(".metrics.k8s.io")]
        shown = "{range .items[*]}{.kind}/{.metadata.namespace}/{.metadata.name} {end}"
        return set(self.kubectl.run("get", ",".join(kinds), "-A", "-o", f"jsonpath={shown}").split())

    def gateway_url(self) -> str:
        """The gateways' Service, which the node reaches as its pods do."""
        spec = self.kubectl.get("service", "holdfast-gateway", "-n", SYSTEM)["spec"]
        return f"http://{spec['clusterIP']}:{spec['ports'][0]['port']}"

    def until_answered(self, method: str, path: str, **headers: str) -> httpx2.Response:
        """Ask, and again where the answer says that asking again is right: 503 with `Retry-After`."""
        url = self.gateway_url() + path
        ends = time.monotonic() + PATIENCE_S
        while True:
            try:
                answer = self._clients.request(
                    method, url, headers={"authorization": f"Bearer {self.token}", **headers}
                )
                if answer.status_code != 503 or "retry-after" not in answer.headers:
                    return answer
            except httpx2.TransportError:
                pass
            assert time.monotonic() < ends, f"{method} {path} was not answered for {PATIENCE_S:.0f} s"
            time.sleep(0.5)

    def submit(self, number: int) -> str:
        """A request's id, once it is accepted; a key makes sure that it is accepted once."""
        answer = self.until_answered(
            "POST",
            "/e/demo/run",
            **{"prefer": "respond-async", "idempotency-key": f"n{number}", "x-delay-ms": "100"},
        )
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def ended(self, request_id: str) -> str:
        """The state in which it ended."""
        ends = time.monotonic() + PATIENCE_S
        while True:
            state = str(self.until_answered("GET", f"/requests/{request_id}?wait=20").json()["status"])
            if state not in ("QUEUED", "RUNNING"):
                return state
            assert time.monotonic() < ends, f"{request_id} is {state}"

    def leader(self) -> str:
        """The broker pod that leads the endpoint's queue, as a broker's monitor tells it."""
        for index in range(VOLUMES):
            pod = self.kubectl.get("pod", f"holdfast-nats-{index}", "-n", SYSTEM)
            url = f"http://{pod['status']['podIP']}:8222/jsz?streams=true&accounts=true"
            for account in self._clients.get(url).json().get("account_details", []):
                for stream in account.get("stream_detail", []):
                    if stream["name"] == names.stream_name("demo"):
                        return str(stream["cluster"]["leader"])
        raise AssertionError("no broker knows the endpoint's queue")


def _volumes(folder: Path) -> list[dict[str, Any]]:
    made = []
    for index in range(VOLUMES):
        directory = folder / str(index)
        directory.mkdir(parents=True)
        directory.chmod(0o777)  # the kubelet gives no host path to the pod's group
        made.append(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": f"{CLASS}-{index}"},
                "spec": {
                    "storageClassName": CLASS,
                    "capacity": {"storage": "1Gi"},
                    "accessModes": ["ReadWriteOnce"],
                    "persistentVolumeReclaimPolicy": "Retain",
                    "hostPath": {"path": str(directory)},
                },
            }
        )
    return made


@pytest.fixture(scope="module")
def three(platform: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Three]:
    """The second platform, up; nothing of it is left afterwards."""
    kubectl = platform.sandbox.kubectl
    folder = tmp_path_factory.mktemp("three")
    project: Project = new_project(
        folder / "three", Pulumi(dict(platform.sandbox.environment)), stack=f"three-{uuid.uuid4().hex[:6]}"
    )
    made = Three(kubectl, project)
    project.run("config", "set", "kubernetes:enableConfigMapMutable", "true")
    project.run("config", "set", "--secret", "secret", uuid.uuid4().hex)
    services = demo.shared_configuration(platform.sandbox.paths)["holdfast:servicesImage"]
    (project.folder / "__main__.py").write_text(
        PROGRAM.format(
            services=services,
            standin=platform.standin,
            token=tokens.declare(made.token),
            registry_secret=aws.REGISTRY_SECRET,
            storage_class=CLASS,
            namespace=NAMESPACE,
            system=SYSTEM,
        )
    )
    volumes = [f"{CLASS}-{index}" for index in range(VOLUMES)]
    try:
        kubectl.apply(_volumes(folder / "volumes"))
        project.run("up", "--yes", "--skip-preview", timeout_s=200)
        yield made
    finally:
        project.run("destroy", "--yes", "--skip-preview", timeout_s=200)
        project.run("stack", "rm", "--yes", "--force")
        kubectl.run("delete", "persistentvolume", "--ignore-not-found", *volumes)


def test_what_was_accepted_is_done_though_the_broker_pod_that_leads_the_queue_is_killed(three: Three) -> None:
    assert three.ended(three.submit(-1)) == "SUCCEEDED"
    leader = three.leader()
    before = three.kubectl.get("pod", leader, "-n", SYSTEM)["metadata"]["uid"]
    with concurrent.futures.ThreadPoolExecutor(8) as callers:
        submitted = [callers.submit(three.submit, number) for number in range(REQUESTS // 2)]
        submitted[REQUESTS // 4].result()
        killed_at = time.monotonic()
        three.kubectl.run(
            "delete", "pod", leader, "-n", SYSTEM, "--grace-period=0", "--force", "--wait=false"
        )
        first_after = callers.submit(three.submit, REQUESTS)
        submitted += [callers.submit(three.submit, number) for number in range(REQUESTS // 2, REQUESTS)]
        first_after.result()
        gap_s = time.monotonic() - killed_at
        states = collections.Counter(callers.map(three.ended, [one.result() for one in submitted]))
    print(f"{sum(states.values())} accepted: {dict(states)}; accepted again {gap_s:.1f} s after the kill")
    assert states == {"SUCCEEDED": REQUESTS}

    def is_back() -> bool:
        found = three.kubectl.text(
            *("get", "pod", leader, "-n", SYSTEM, "-o"),
            'jsonpath={.metadata.uid} {.status.conditions[?(@.type=="Ready")].status}',
        )
        return found.endswith(" True") and before not in found

    ends = time.monotonic() + 120
    while not is_back():
        assert time.monotonic() < ends, f"{leader} is not back"
        time.sleep(1)
    assert three.ended(three.submit(REQUESTS + 1)) == "SUCCEEDED"


def test_its_destroy_leaves_nothing_in_the_cluster(three: Three) -> None:
    """After the test above: of a platform that was used, with a broker that was made anew."""
    assert {f"Namespace//{NAMESPACE}", f"Namespace//{SYSTEM}"} <= three.objects() - three.before

    three.project.run("destroy", "--yes", "--skip-preview", timeout_s=200)

    # The volumes are the test's own, and the controllers take a moment for what follows from an object.
    ends = time.monotonic() + 30
    while left := {one for one in three.objects() - three.before if not one.startswith("PersistentVolume/")}:
        assert time.monotonic() < ends, left
        time.sleep(1)
