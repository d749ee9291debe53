"""The same resources, mended: each keeps the rule that it is named after (with `config.example.json`)."""

from kept import DIGEST, deployment, endpoint

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
