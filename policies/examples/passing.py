"""The same resources, mended: each keeps the rule that it is named after (with `config.example.json`)."""

import pulumi_kubernetes as k8s

import pulumi_holdfast as holdfast
from pulumi_holdfast import testing

DIGEST = "@sha256:" + "1" * 64
HASH = "0" * 64
TOKENS = [f"sha256:abcd:{HASH}"]
platform = testing.platform()


def endpoint(name: str, **args: object) -> None:
    """An endpoint that keeps every rule but for `args`."""
    kept = {"image": f"ghcr.io/acme/chat{DIGEST}", "tokens": TOKENS}
    holdfast.Endpoint(name, {"platform": platform, **kept, **args})


def deployment(name: str, container: dict, **pod: object) -> None:
    """A workload that keeps every rule but for what is given."""
    context = {"allowPrivilegeEscalation": False, "runAsNonRoot": True, "capabilities": {"drop": ["ALL"]}}
    kept = {"name": "web", "image": "ghcr.io/acme/web:1", "securityContext": context}
    limits = {"resources": {"limits": {"memory": "256Mi"}}}
    labels = {"app": name}
    spec = {
        "selector": {"matchLabels": labels},
        "template": {
            "metadata": {"labels": labels},
            "spec": {"containers": [{**kept, **limits, **container}], **pod},
        },
    }
    k8s.apps.v1.Deployment(name, metadata={"name": name}, spec=spec)


endpoint("budget-per-endpoint", hardware="a10g", scaling={"max_replicas": 2})
endpoint("budget-of-the-stack", hardware="a10g", scaling={"max_replicas": 2})
endpoint("private-by-default")
endpoint("status-page", visibility="public", tokens=[])  # exempted by name, with its reason
endpoint("pinned-digests", template="ocr", image=None)  # a template's version pins its image
endpoint("gpu-quota", hardware="t4", scaling={"max_replicas": 4})
endpoint("approved-registries", image=f"registry.acme.example/chat{DIGEST}")
endpoint(
    "spot-only-where-it-can-be-lost",
    hardware={"preset": "t4", "spot": True, "instance_types": ["g4dn.xlarge", "g4dn.2xlarge"]},
    scaling={"max_request_s": 120, "startup_budget_s": 100},
    cache={"path": "/weights"},
)
password = {"secretKeyRef": {"name": "db", "key": "password"}}
deployment("no-plain-text-secret", {"env": [{"name": "DB_PASSWORD", "valueFrom": password}]})
deployment("no-host-access", {}, volumes=[{"name": "logs", "hostPath": {"path": "/var/log/pods"}}])
deployment("hardened-containers", {})
