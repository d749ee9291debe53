"""What the examples share: an endpoint and a workload that keep every rule (with `config.example.json`)."""

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
