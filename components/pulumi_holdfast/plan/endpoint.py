"""The plan of an endpoint: every object, decided here, created elsewhere without a decision."""

from __future__ import annotations

from holdfast_contract import names
from holdfast_contract.document import EndpointState, Rollout
from pulumi_holdfast.plan import network, secrets
from pulumi_holdfast.plan.document import document_of
from pulumi_holdfast.plan.manifest import SKIP_AWAIT, Json, Manifest, Meta, transformed
from pulumi_holdfast.plan.replica import BODIES_KEY_FILE, BROKER_FILE, pod_spec
from pulumi_holdfast.plan.scaling import scaled_object
from pulumi_holdfast.plan.timeouts import progress_deadline_s
from pulumi_holdfast.plan.wiring import hole
from pulumi_holdfast.spec.endpoint import EndpointSpec
from pulumi_holdfast.spec.secrets import pull_secret_name


def plan_endpoint(spec: EndpointSpec) -> tuple[Manifest, ...]:
    """All objects of an endpoint, in the order in which they are created.

    They hold holes where the platform and outputs belong; `wiring.resolve` gives the values. Raises SpecError with
    every transform that cannot be laid over them.
    """
    meta = Meta(namespace=hole("namespace"), labels={**spec.labels, names.LABEL_ENDPOINT: spec.name})
    planned = [
        _document(spec, meta),
        _broker_login(meta),
        *_secrets(spec, meta),
        network.replica_policy(spec, meta, _selector(spec)),
        _deployment(spec, meta),
        scaled_object(spec, meta),
        _disruption(spec, meta),
    ]
    return transformed(f'endpoint "{spec.name}"', tuple(planned), spec.transforms)


def floor(spec: EndpointSpec) -> int:
    """Replicas at creation: the autoscaler owns the number from then on."""
    return 0 if spec.state is EndpointState.PAUSED else spec.scaling.min_replicas


def _selector(spec: EndpointSpec) -> Json:
    return {names.LABEL_ENDPOINT: spec.name, names.LABEL_COMPONENT: names.COMPONENT_REPLICA}


def _document(spec: EndpointSpec, meta: Meta) -> Manifest:
    document = document_of(spec, namespace=hole("namespace"), image=hole("image"))
    return Manifest(
        child="document",
        api_version="v1",
        kind="ConfigMap",
        metadata=meta.of(spec.name, labels={names.LABEL_COMPONENT: names.COMPONENT_DOCUMENT}),
        body={"data": {names.DOCUMENT_KEY: document.to_json()}},
    )


def _broker_login(meta: Meta) -> Manifest:
    """What this endpoint's workers, and no others, show the broker. New credentials roll the replicas."""
    values = {BROKER_FILE: hole("worker_credentials"), BODIES_KEY_FILE: hole("bodies_key")}
    return secrets.immutable_secret("broker", values, meta)


def _secrets(spec: EndpointSpec, meta: Meta) -> list[Manifest]:
    found: list[Manifest | None] = [secrets.endpoint_secrets(spec, meta), secrets.config_secrets(spec, meta)]
    if spec.registry_credentials is not None:
        found.insert(
            0,
            secrets.pull_secret(
                spec.registry_credentials,
                child="pull",
                name=pull_secret_name(spec.name),
                registry=hole("registry"),
                store=hole("secret_store"),
                meta=meta,
            ),
        )
    return [manifest for manifest in found if manifest is not None]


def _deployment(spec: EndpointSpec, meta: Meta) -> Manifest:
    always_on = floor(spec) > 0
    versions = secrets.versions(spec)
    swap = spec.rollout is Rollout.SWAP
    return Manifest(
        child="deployment",
        api_version="apps/v1",
        kind="Deployment",
        # At 0 there is nothing to wait for; above, as long as the declared budget.
        metadata=meta.of(spec.name, annotations={} if always_on else {SKIP_AWAIT: "true"}),
        body={
            "spec": {
                "replicas": floor(spec),
                "selector": {"matchLabels": _selector(spec)},
                "revisionHistoryLimit": 3,
                "progressDeadlineSeconds": progress_deadline_s(spec.scaling),
                "strategy": {
                    "type": "RollingUpdate",
                    "rollingUpdate": {"maxSurge": 0 if swap else 1, "maxUnavailable": 1 if swap else 0},
                },
                "template": {
                    "metadata": {
                        "labels": {**meta.labels, **_selector(spec)},
                        "annotations": {names.ANNOTATION_SECRET_VERSION: versions} if versions else {},
                    },
                    "spec": pod_spec(spec),
                },
            }
        },
        # The policy before the pods that it is for: until it is there, they may connect to anything.
        after=("document", "network", *(child for child in ("pull", "secrets") if _declares(spec, child))),
        ignore=("spec.replicas",),
        timeout_s=progress_deadline_s(spec.scaling) + 30 if always_on else None,
    )


def _declares(spec: EndpointSpec, child: str) -> bool:
    if child == "pull":
        return spec.registry_credentials is not None
    return any(not secret.value for secret in spec.secrets.values())


def _disruption(spec: EndpointSpec, meta: Meta) -> Manifest:
    """Nodes are emptied one replica at a time."""
    return Manifest(
        child="disruption",
        api_version="policy/v1",
        kind="PodDisruptionBudget",
        metadata=meta.of(spec.name),
        body={"spec": {"maxUnavailable": 1, "selector": {"matchLabels": _selector(spec)}}},
    )
