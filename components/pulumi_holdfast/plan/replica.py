"""The pod of a replica: the worker beside the model."""

from __future__ import annotations

from typing import Any, Final

from holdfast_contract import names
from pulumi_holdfast.plan.manifest import Json
from pulumi_holdfast.plan.timeouts import grace_s
from pulumi_holdfast.plan.wiring import hole
from pulumi_holdfast.spec.endpoint import EndpointSpec, Filesystem

DOCUMENT_DIR: Final = "/etc/holdfast/document"
STATE_DIR: Final = "/run/holdfast"
SERVICES_USER: Final = 65532
"""User of the services' image, as its Dockerfile sets it."""
BROKER_DIR: Final = "/etc/holdfast/broker"
BROKER_FILE: Final = "user.creds"
BODIES_KEY_FILE: Final = "bodies.key"
BROKER_MOUNT: Final = {"name": "broker", "mountPath": BROKER_DIR, "readOnly": True}
"""Where the services find the credentials file of their part; no model container has it."""

STUCK_GRACE_S: Final = 10
"""How long a container may take to stop once its health check failed for good. Not the replica's whole grace, which
is for work: one that hangs would keep its GPU, and its callers, for as long."""

_LOCKED_DOWN: Final = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def services_security() -> Json:
    """Security context of containers from the services' image."""
    return {
        **_LOCKED_DOWN,
        "runAsNonRoot": True,
        "runAsUser": SERVICES_USER,
        "readOnlyRootFilesystem": True,
    }


def http_probe(path: str, port: int, **timing: int) -> Json:
    """A probe by GET; `timing` as Kubernetes names it."""
    return {"httpGet": {"path": path, "port": port}, **timing}


def stuck_probe(path: str, port: int, **timing: int) -> Json:
    """A probe whose failure restarts the container."""
    return http_probe(path, port, **timing, terminationGracePeriodSeconds=STUCK_GRACE_S)


def field_env(name: str, path: str) -> Json:
    """A variable from the pod's own fields."""
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def secret_env(name: str, secret: str, key: str) -> Json:
    """A variable from a Secret."""
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def pod_spec(spec: EndpointSpec) -> Json:
    """The pod of one replica, with holes where the platform and outputs belong."""
    init = [*([_cache_owner(spec)] if spec.cache else []), _worker(spec)]
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": grace_s(spec.scaling),
        "nodeSelector": hole("node_selector"),
        "affinity": hole("affinity"),
        "imagePullSecrets": hole("pull_secrets"),
        "tolerations": _tolerations(spec),
        "initContainers": init,
        "containers": [_model(spec)],
        "volumes": _volumes(spec),
    }


def _tolerations(spec: EndpointSpec) -> list[Json]:
    if not spec.hardware.gpus:
        return []
    return [{"key": names.GPU_RESOURCE, "operator": "Exists", "effect": "NoSchedule"}]


def _worker(spec: EndpointSpec) -> Json:
    """The worker: a native sidecar, so it starts before the model and stops after it."""
    drain = {"httpGet": {"path": "/drain", "port": names.WORKER_PORT}}
    return {
        "name": names.WORKER_CONTAINER,
        "image": hole("worker_image"),
        "command": ["python", "-m", "holdfast_services.worker"],
        "restartPolicy": "Always",
        "env": [
            {"name": names.ENV_NATS_URL, "value": hole("nats_url")},
            {"name": names.ENV_NATS_CREDENTIALS, "value": f"{BROKER_DIR}/{BROKER_FILE}"},
            {"name": names.ENV_BODIES_URL, "value": hole("bodies_url")},
            {"name": names.ENV_BODIES_KEY, "value": f"{BROKER_DIR}/{BODIES_KEY_FILE}"},
            {"name": names.ENV_DOCUMENT, "value": f"{DOCUMENT_DIR}/{names.DOCUMENT_KEY}"},
            {"name": names.ENV_WORKER_STATE_DIR, "value": STATE_DIR},
            {"name": names.ENV_MAX_RESULT_BYTES, "value": str(spec.max_result_mib * 1024 * 1024)},
            {"name": names.ENV_OTLP_ENDPOINT, "value": hole("otlp_endpoint")},
            field_env(names.ENV_POD_NAME, "metadata.name"),
            field_env(names.ENV_POD_IP, "status.podIP"),
        ],
        "ports": [{"name": "worker", "containerPort": names.WORKER_PORT}],
        "resources": {"requests": {"cpu": "50m", "memory": "96Mi"}, "limits": {"memory": "512Mi"}},
        # Ready only when the model is and its contract passed, so the pod's readiness is the endpoint's.
        "readinessProbe": http_probe("/readyz", names.WORKER_PORT, periodSeconds=1, failureThreshold=3),
        "livenessProbe": stuck_probe("/healthz", names.WORKER_PORT, periodSeconds=10, failureThreshold=3),
        "lifecycle": {"preStop": drain},
        "securityContext": services_security(),
        "volumeMounts": [
            {"name": "document", "mountPath": DOCUMENT_DIR, "readOnly": True},
            {"name": "state", "mountPath": STATE_DIR},
            {"name": "worker-tmp", "mountPath": "/tmp"},
            BROKER_MOUNT,
        ],
    }


def _model(spec: EndpointSpec) -> Json:
    """The model container. Its preStop waits for the worker's drain, whatever its image holds; the kubelet runs it also
    before it restarts this container alone, after which the worker goes on."""
    container: Json = {
        "name": names.MODEL_CONTAINER,
        "image": hole("image"),
        "env": _env(spec),
        "ports": [{"name": "http", "containerPort": spec.port}],
        "resources": _resources(spec),
        # Every second, so that a fast model is not kept waiting; the budget in all for one that refuses. The kubelet
        # counts attempts and not seconds: one that hangs is restarted after up to five budgets. A shorter timeout would
        # never see a health check ready that computes for seconds. Callers are told after one budget either way.
        "startupProbe": stuck_probe(
            spec.health_check_path,
            spec.port,
            periodSeconds=1,
            timeoutSeconds=5,
            failureThreshold=spec.scaling.startup_budget_s,
        ),
        "readinessProbe": http_probe(
            spec.health_check_path, spec.port, periodSeconds=5, timeoutSeconds=5, failureThreshold=3
        ),
        "livenessProbe": stuck_probe(
            spec.health_check_path, spec.port, periodSeconds=10, timeoutSeconds=10, failureThreshold=3
        ),
        "lifecycle": {
            "preStop": {"httpGet": {"path": f"/drain?{names.DRAIN_UNTIL_RESTART}", "port": names.WORKER_PORT}}
        },
        "securityContext": {
            **_LOCKED_DOWN,
            "runAsUser": spec.user,
            "runAsNonRoot": spec.user != 0,
            "readOnlyRootFilesystem": spec.filesystem is Filesystem.READ_ONLY,
        },
        "volumeMounts": _mounts(spec),
    }
    if spec.command:
        container["command"] = list(spec.command)
    if spec.args:
        container["args"] = list(spec.args)
    return container


def _env(spec: EndpointSpec) -> list[Json]:
    # A user id without an account has / as its home, which is read-only.
    plain = {"HOME": "/tmp", **spec.env} if spec.user else dict(spec.env)
    found: list[Json] = [{"name": name, "value": value} for name, value in sorted(plain.items())]
    for name, secret in sorted(spec.secrets.items()):
        if secret.file is None:
            found.append(
                secret_env(name, hole("config_secret") if secret.value else f"{spec.name}-secrets", name)
            )
    return found


def _resources(spec: EndpointSpec) -> Json:
    hardware = spec.hardware
    requests: dict[str, str] = {"cpu": f"{round(hardware.cpu * 1000)}m", "memory": f"{hardware.memory_mib}Mi"}
    # No CPU limit: a replica may use what is idle, and throttling would only make requests slower.
    limits: dict[str, str] = {"memory": f"{hardware.memory_mib}Mi"}
    if hardware.gpus:
        requests[names.GPU_RESOURCE] = limits[names.GPU_RESOURCE] = str(hardware.gpus)
    return {"requests": requests, "limits": limits}


def _mounts(spec: EndpointSpec) -> list[Json]:
    found: list[Json] = [{"name": "tmp", "mountPath": "/tmp"}]
    found += [
        {"name": f"writable-{index}", "mountPath": path} for index, path in enumerate(spec.writable_paths)
    ]
    if spec.hardware.shm_mib:
        found.append({"name": "shm", "mountPath": "/dev/shm"})
    if spec.cache:
        found.append({"name": "cache", "mountPath": spec.cache.path})
    for name, secret in sorted(spec.secrets.items()):
        if secret.file is not None:
            volume = "config-secrets" if secret.value else "secrets"
            found.append({"name": volume, "mountPath": secret.file, "subPath": name, "readOnly": True})
    return found


def _volumes(spec: EndpointSpec) -> list[Json]:
    found: list[Json] = [
        {"name": "document", "configMap": {"name": spec.name}},
        {"name": "state", "emptyDir": {}},
        {"name": "worker-tmp", "emptyDir": {}},
        {"name": "broker", "secret": {"secretName": hole("broker_secret"), "defaultMode": 0o444}},
        {"name": "tmp", "emptyDir": {}},
    ]
    found += [{"name": f"writable-{index}", "emptyDir": {}} for index, _ in enumerate(spec.writable_paths)]
    if spec.hardware.shm_mib:
        memory = {"medium": "Memory", "sizeLimit": f"{spec.hardware.shm_mib}Mi"}
        found.append({"name": "shm", "emptyDir": memory})
    if spec.cache:
        found.append({"name": "cache", "hostPath": _cache_path(spec)})
    files = [secret for secret in spec.secrets.values() if secret.file is not None]
    if any(not secret.value for secret in files):
        found.append(
            {"name": "secrets", "secret": {"secretName": f"{spec.name}-secrets", "defaultMode": 0o444}}
        )
    if any(secret.value for secret in files):
        found.append(
            {"name": "config-secrets", "secret": {"secretName": hole("config_secret"), "defaultMode": 0o444}}
        )
    return found


def _cache_path(spec: EndpointSpec) -> dict[str, Any]:
    return {"path": f"/var/lib/holdfast/cache/{spec.name}", "type": "DirectoryOrCreate"}


def _cache_owner(spec: EndpointSpec) -> Json:
    """Gives the node's cache directory, which the kubelet makes as root, to the model's user."""
    return {
        "name": "cache-owner",
        "image": hole("worker_image"),
        "command": ["python", "-c", f"import os; os.chown('/cache', {spec.user}, {spec.user})"],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"], "add": ["CHOWN"]},
            "runAsUser": 0,
            "readOnlyRootFilesystem": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [{"name": "cache", "mountPath": "/cache"}],
    }
