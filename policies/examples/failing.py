"""Each resource breaks the rule that it is named after (with `config.example.json`)."""

from kept import DIGEST, deployment, endpoint

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
