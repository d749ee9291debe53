"""What a cluster needs besides Kubernetes: DNS, KEDA and External Secrets."""

from __future__ import annotations

import hashlib
import json
import os
import re
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from holdfast_sandbox import aws, processes
from holdfast_sandbox.addresses import BRIDGE_ADDRESS, DNS_ADDRESS
from holdfast_sandbox.kubectl import Kubectl
from holdfast_sandbox.paths import Paths
from holdfast_sandbox.progress import Progress

KEDA_DEPLOYMENTS: Final = ("keda-operator", "keda-metrics-apiserver", "keda-admission")
EXTERNAL_METRICS: Final = "apiservice/v1beta1.external.metrics.k8s.io"


def start_dns(paths: Paths, kubectl: Kubectl) -> None:
    """CoreDNS as a host process behind the usual Service."""
    corefile = paths.etc / "Corefile"
    # Restarted with other certificates as well: it would go on with the old ones.
    files = [corefile, paths.pki / "made-for"]
    processes.start(paths, "coredns", [paths.bin / "coredns", "-conf", corefile], files=files)
    ports = [
        {"name": "dns", "port": 53, "targetPort": 5353, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "targetPort": 5353, "protocol": "TCP"},
    ]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": "kube-system"},
        "spec": {"clusterIP": DNS_ADDRESS, "ports": ports},
    }
    slices = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "kube-dns-host",
            "namespace": "kube-system",
            "labels": {"kubernetes.io/service-name": "kube-dns"},
        },
        "addressType": "IPv4",
        "ports": [{"name": p["name"], "port": 5353, "protocol": p["protocol"]} for p in ports],
        "endpoints": [{"addresses": [BRIDGE_ADDRESS], "conditions": {"ready": True}}],
    }
    kubectl.apply([service, slices])
    processes.wait_until(
        "cluster DNS does not answer",
        lambda: _http_ok("http://127.0.0.1:9153/health"),
        20,
        paths,
        "coredns",
    )


def keda_manifests(paths: Paths, config: Path) -> str:
    """KEDA's own manifests, as its release makes them, with the image tags of the version that was built."""
    from holdfast_sandbox.images import KEDA_IMAGES

    text = Kubectl(paths).run("kustomize", str(config / "default"))
    for built in KEDA_IMAGES.values():
        repository = built.rpartition(":")[0]
        text = text.replace(f"image: {repository}:main", f"image: {built}")
    # KEDA would read every Secret that a replica's variables name, and make no replica while one is missing.
    unrestricted = '        - name: WATCH_NAMESPACE\n          value: ""\n'
    restricted = f'{unrestricted}        - name: KEDA_RESTRICT_SECRET_ACCESS\n          value: "true"\n'
    text = text.replace(unrestricted, restricted)
    # Twenty seconds before the first look are for slow clusters; here they would be most of the way up.
    text = re.sub(r"(readinessProbe:\n(?: .*\n)*?\s+initialDelaySeconds: )\d+", r"\g<1>1", text)
    # The images are on the node already; asking a registry would fail where there is none.
    return text.replace("imagePullPolicy: Always", "imagePullPolicy: IfNotPresent")


def start_keda(paths: Paths, kubectl: Kubectl, config: Path, progress: Progress) -> None:
    """KEDA's operator, metrics server and webhooks as pods; returns when HPAs can read external metrics."""
    with progress.step("KEDA", announce=True):
        _apply_once(paths, kubectl, "keda", keda_manifests(paths, config))
        for deployment in KEDA_DEPLOYMENTS:
            kubectl.run("-n", "keda", "rollout", "status", f"deploy/{deployment}", "--timeout=180s")
        kubectl.run("wait", "--for=condition=Available", EXTERNAL_METRICS, "--timeout=120s")


def _apply_once(paths: Paths, kubectl: Kubectl, name: str, manifests: str) -> None:
    """Apply what is not in this cluster yet. A megabyte of definitions takes seconds, and they stay what they are
    unless another version comes."""
    file = paths.state / "applied" / name
    digest = hashlib.sha256(manifests.encode()).hexdigest()
    if file.is_file() and file.read_text() == digest:
        return
    kubectl.apply(manifests)
    file.parent.mkdir(exist_ok=True)
    file.write_text(digest)


def start_external_secrets(paths: Paths, kubectl: Kubectl, definitions: Path) -> None:
    """External Secrets Operator as a host process, reading Secrets Manager from the AWS stand-in."""
    # All of them: the operator stops where one is missing.
    _apply_once(paths, kubectl, "external-secrets", kubectl.run("kustomize", str(definitions)))
    kubectl.run(
        "wait",
        "--for=condition=Established",
        "--timeout=60s",
        "crd/externalsecrets.external-secrets.io",
        "crd/secretstores.external-secrets.io",
    )
    metrics = 8181
    processes.start(
        paths,
        "external-secrets",
        [
            paths.bin / "external-secrets",
            "--enable-leader-election=false",
            f"--metrics-addr=127.0.0.1:{metrics}",
            "--loglevel=warn",
        ],
        environment={
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(paths.var),
            "KUBECONFIG": str(paths.pki / "external-secrets.kubeconfig"),
            # A SecretStore without credentials of its own uses these, as it would use a node's role on AWS.
            **aws.ENVIRONMENT,
            "AWS_SECRETSMANAGER_ENDPOINT": aws.URL,
            "AWS_STS_ENDPOINT": aws.URL,
        },
    )
    processes.wait_until(
        "External Secrets does not answer",
        lambda: _http_ok(f"http://127.0.0.1:{metrics}/metrics"),
        30,
        paths,
        "external-secrets",
    )


def workloads(kubectl: Kubectl) -> list[dict[str, Any]]:
    """Pods that should run and do not, with their waiting reason; for `status`. None where the cluster does not say."""
    shown = kubectl.text("get", "pods", "-A", "-o", "json")
    return waiting(json.loads(shown)["items"]) if shown else []


def unavailable(kubectl: Kubectl) -> list[str]:
    """KEDA's Deployments that have no ready pod; for `status`. All of them where the cluster does not say."""
    shown = kubectl.text("-n", "keda", "get", "deployments", "-o", "json")
    found = json.loads(shown)["items"] if shown else []
    available = {one["metadata"]["name"] for one in found if one.get("status", {}).get("availableReplicas")}
    return [name for name in KEDA_DEPLOYMENTS if name not in available]


def waiting(pods: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of pods as Kubernetes shows them, those that wait, each with namespace, name and reason."""
    found = []
    for pod in pods:
        reason = _reason(pod.get("status", {}))
        if reason is not None:
            metadata = pod["metadata"]
            found.append({"namespace": metadata["namespace"], "pod": metadata["name"], "reason": reason})
    return found


def _reason(status: Mapping[str, Any]) -> str | None:
    for condition in status.get("conditions", []):
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return f"{condition.get('reason', '')}: {condition.get('message', '')}"
    # Init containers first: while one cannot start, the others only say that they wait for it.
    for container in (*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])):
        held = container.get("state", {}).get("waiting")
        if held is not None:
            return str(held.get("reason", ""))
    return None


def _http_ok(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
