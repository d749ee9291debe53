"""Each resource breaks the rule that it is named after (with `config.example.json`)."""

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


endpoint("budget-per-endpoint", hardware="h100", scaling={"max_replicas": 2})
endpoint("budget-of-the-stack", hardware="a10g", scaling={"max_replicas": 6})
endpoint("private-by-default", visibility="public", tokens=[])
endpoint("pinned-digests", image="ghcr.io/acme/chat:latest")
endpoint("gpu-quota", hardware="t4", scaling={"max_replicas": 13})
endpoint("approved-registries", image=f"docker.io/stranger/chat{DIGEST}")
endpoint(
    "spot-only-where-it-can-be-lost",
    hardware={"preset": "t4", "spot": True, "instance_types": ["g4dn.xlarge"]},
    scaling={"max_request_s": 900},
)
deployment("no-plain-text-secret", {"env": [{"name": "DB_PASSWORD", "value": "hunter2hunter2"}]})
deployment("no-host-access", {}, volumes=[{"name": "root", "hostPath": {"path": "/etc"}}], hostNetwork=True)
deployment("hardened-containers", {"securityContext": {"runAsNonRoot": True}, "resources": {}})
