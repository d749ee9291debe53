"""What the parts of a sandbox are for, asked of them: that a process runs says little.

`box` is a machine of a test's own with a sandbox that is up (tests/cluster/conftest.py).
"""

from __future__ import annotations

import json
import sys
import time
from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import Any, Final

from holdfast_sandbox import aws
from holdfast_sandbox.addresses import BRIDGE_ADDRESS

DNS_QUESTION: Final = """
import socket, struct, sys
name, server, port = sys.argv[1:]
labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
question = struct.pack(">HHHHHH", 1, 0x100, 1, 0, 0, 0) + labels + b"\\0" + struct.pack(">HH", 1, 1)
channel = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
channel.settimeout(5)
channel.sendto(question, (server, int(port)))
answer = channel.recv(4096)
if struct.unpack(">H", answer[6:8])[0]:
    print(socket.inet_ntoa(answer[-4:]))
"""
"""Given a name, a DNS server and its port; prints the name's address, if it has one."""
_HTTP: Final = """
import http.client, sys
host, port, path, *authorization = sys.argv[1:]
connection = http.client.HTTPConnection(host, int(port), timeout=2)
connection.request("GET", path, headers={"Authorization": authorization[0]} if authorization else {})
print(connection.getresponse().status)
"""
_PASSWORD: Final = (
    "from holdfast_sandbox import images, paths; print(images.authorization(paths.default_paths()))"
)
_SECRET: Final = """
from holdfast_sandbox import aws
print(aws.client("secretsmanager").get_secret_value(SecretId=aws.DEMO_SECRET)["SecretString"])
"""
_GREETING: Final = "hello from Secrets Manager"
API_SERVER_PORT: Final = 6443


def external_secret(namespace: str, name: str, remote: str, template: dict[str, Any]) -> list[dict[str, Any]]:
    """A store without credentials of its own, and a secret made from the remote one once a second."""
    return [
        {
            "apiVersion": "external-secrets.io/v1",
            "kind": "SecretStore",
            "metadata": {"name": "store", "namespace": namespace},
            "spec": {"provider": {"aws": {"service": "SecretsManager", "region": aws.REGION}}},
        },
        {
            "apiVersion": "external-secrets.io/v1",
            "kind": "ExternalSecret",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "refreshInterval": "1s",
                "secretStoreRef": {"name": "store", "kind": "SecretStore"},
                "target": {"name": name, "template": template},
                "dataFrom": [{"extract": {"key": remote}}],
            },
        },
    ]


def node_port(box: Any, name: str, port: int) -> None:
    """Open the API server at a port of the node's, by a Service: a listener that every box has."""
    metadata = {"name": name, "namespace": "default"}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"type": "NodePort", "ports": [{"port": API_SERVER_PORT, "nodePort": port}]},
    }
    endpoints = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {**metadata, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [BRIDGE_ADDRESS], "conditions": {"ready": True}}],
        "ports": [{"port": API_SERVER_PORT}],
    }
    box.kubectl("apply", "-f", "-", stdin=f"{json.dumps(service)}\n---\n{json.dumps(endpoints)}")


def http_status(box: Any, host: str, port: int, path: str = "/", *authorization: str) -> str:
    """The HTTP status of an answer there; else the last line of what went wrong."""
    words = (sys.executable, "-c", _HTTP, host, str(port), path, *authorization)
    return str(box.run(*words, check=False).stdout.strip().splitlines()[-1])


def node_port_opens(box: Any, port: int) -> None:
    """Fails where the port does not lead to the API server within half a minute."""
    ends = time.monotonic() + 30
    # The API server speaks TLS alone: what it answers to plain HTTP is an error of its own.
    while (found := http_status(box, BRIDGE_ADDRESS, port)) != "400":
        assert time.monotonic() < ends, found
        time.sleep(0.5)


def _use_aws(box: Any) -> None:
    assert json.loads(box.run(sys.executable, "-c", _SECRET).stdout) == {"greeting": _GREETING}


def _use_coredns(box: Any) -> None:
    # Where it listens, not at its Service's address: a box has no route there.
    server = (BRIDGE_ADDRESS, "5353")
    asked = box.run(sys.executable, "-c", DNS_QUESTION, "kubernetes.default.svc.cluster.local", *server)
    assert asked.stdout.split() == ["10.96.0.1"]


def _use_external_secrets(box: Any) -> None:
    template = {"data": {"text": "{{ .greeting }}"}}
    objects = external_secret("default", "greeting", aws.DEMO_SECRET, template)
    box.kubectl("apply", "-f", "-", stdin="\n---\n".join(json.dumps(one) for one in objects))
    box.kubectl("wait", "externalsecret/greeting", "--for=condition=Ready", "--timeout=60s")
    made = box.kubectl("get", "secret", "greeting", "-o", "jsonpath={.data.text}")
    assert b64decode(made).decode() == _GREETING
    box.kubectl("delete", "externalsecret/greeting", "secretstore/store")


def _use_kube_proxy(box: Any) -> None:
    node_port(box, "reached", 30998)
    node_port_opens(box, 30998)
    box.kubectl("delete", "service", "reached")


def _use_registry(box: Any) -> None:
    authorization = box.run(sys.executable, "-c", _PASSWORD).stdout.strip()
    assert http_status(box, "127.0.0.1", 5000, "/v2/_catalog", authorization) == "200"
    assert http_status(box, "127.0.0.1", 5000, "/v2/_catalog") == "401"


USES: Final[Mapping[str, Callable[[Any], None]]] = {
    "aws": _use_aws,
    "coredns": _use_coredns,
    "external-secrets": _use_external_secrets,
    "kube-proxy": _use_kube_proxy,
    "registry": _use_registry,
}
"""By process: fails where it does not do what it is for. Without those that every new pod needs."""
