"""The plan of the shared stack: every object, in the order in which they are created."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from holdfast_contract import names
from holdfast_contract.platform import PlatformContract
from pulumi_holdfast.plan import secrets
from pulumi_holdfast.plan.manifest import Json, Manifest, Meta, transformed
from pulumi_holdfast.plan.system import nats
from pulumi_holdfast.plan.system.gateway import gateway, internal_url
from pulumi_holdfast.plan.system.monitoring import monitoring
from pulumi_holdfast.plan.system.scaler import scaler
from pulumi_holdfast.plan.wiring import docker_key
from pulumi_holdfast.spec.endpoint import registry_of
from pulumi_holdfast.spec.secrets import (
    SERVICES_PULL_SECRET,
    TEMPLATES_PULL_SECRET,
    RegistryCredentialsSpec,
)
from pulumi_holdfast.spec.shared import SharedSpec

_LABELS: Final = {"app.kubernetes.io/part-of": "holdfast"}


def plan_shared(spec: SharedSpec) -> tuple[Manifest, ...]:
    """All objects of a shared stack. Holes: `base_url`, and what `identities` makes. Raises SpecError with every
    transform that cannot be laid over them."""
    system = Meta(namespace=spec.system_namespace, labels=_LABELS)
    endpoints = Meta(namespace=spec.namespace, labels=_LABELS)
    spaces = (("system", system), ("endpoints", endpoints))
    planned = [
        _namespace("system-namespace", system),
        _namespace("endpoints-namespace", endpoints),
        *(_secret_store(spec, child, meta) for child, meta in spaces),
        *(_pull_secret(spec, child, meta) for child, meta in spaces if spec.registry_credentials),
        *_templates_pull_secret(spec, endpoints),
        *nats.nats(spec, system),
        *gateway(spec, system, endpoints, pull_secrets(spec)),
        *scaler(spec, system, endpoints, pull_secrets(spec)),
        *monitoring(spec, system),
    ]
    return transformed(f'shared stack "{spec.name}"', tuple(planned), spec.transforms)


def pull_secrets(spec: SharedSpec) -> list[Json]:
    """Pull secrets of the system's own pods."""
    return [{"name": SERVICES_PULL_SECRET}] if spec.registry_credentials else []


def platform_of(spec: SharedSpec, base_url: str) -> PlatformContract:
    """What endpoint stacks read."""
    return PlatformContract(
        kind=spec.kind,
        namespace=spec.namespace,
        system_namespace=spec.system_namespace,
        base_url=base_url,
        domain=spec.domain,
        nats_url=nats.url(spec),
        max_endpoints=nats.max_endpoints(spec),
        bodies_url=internal_url(spec) if spec.bodies_bucket else None,
        scaler_address=f"holdfast-scaler.{spec.system_namespace}:{names.SCALER_PORT}",
        worker_image=spec.services_image,
        aws_region=spec.aws_region,
        template_registry=spec.template_registry,
        template_registry_secret=spec.template_registry_secret,
        pull_secret=SERVICES_PULL_SECRET if spec.registry_credentials else None,
        load_balancer_idle_s=spec.load_balancer_idle_s,
        instance_types=spec.instance_types,
        otlp_endpoint=spec.observability.otlp_endpoint,
        gpu_node_selector=dict(spec.gpu_node_selector),
    )


def _namespace(child: str, meta: Meta) -> Manifest:
    return Manifest(
        child=child,
        api_version="v1",
        kind="Namespace",
        metadata={"name": meta.namespace, "labels": dict(meta.labels)},
        body={},
    )


def _secret_store(spec: SharedSpec, child: str, meta: Meta) -> Manifest:
    """No `auth`: the operator's own identity reads the secrets (Pod Identity on AWS), so no key is stored."""
    return Manifest(
        child=f"{child}-secret-store",
        api_version=secrets.API,
        kind="SecretStore",
        metadata=meta.of(names.SECRET_STORE),
        body={"spec": {"provider": {"aws": {"service": "SecretsManager", "region": spec.aws_region}}}},
        after=(f"{child}-namespace",),
    )


def _services_key(image: str) -> str:
    """Under which key the credentials stand: for the services' repository alone.

    The kubelet tries every credential whose key begins an image's name. By the host alone, the platform's own
    password would pull endpoints' images too, and hide that theirs is wrong.
    """
    registry = registry_of(image)
    if registry == "docker.io":
        return docker_key(registry)
    path, _, last = image.partition("@")[0].rpartition("/")
    return f"{path}/{last.partition(':')[0]}"


def _pull_secret(spec: SharedSpec, child: str, meta: Meta) -> Manifest:
    assert spec.registry_credentials is not None
    planned = secrets.pull_secret(
        spec.registry_credentials,
        child=f"{child}-pull",
        name=SERVICES_PULL_SECRET,
        registry=_services_key(spec.services_image),
        store=names.SECRET_STORE,
        meta=meta,
    )
    return replace(planned, after=(f"{child}-secret-store",))


def _templates_pull_secret(spec: SharedSpec, meta: Meta) -> list[Manifest]:
    """For the catalogue's images, in the endpoints' namespace: one for all endpoints that are made from them."""
    if spec.template_registry is None or spec.template_registry_secret is None:
        return []
    prefix = spec.template_registry.rstrip("/")
    hub = registry_of(f"{prefix}/any") == "docker.io"
    planned = secrets.pull_secret(
        RegistryCredentialsSpec(secret=spec.template_registry_secret),
        child="templates-pull",
        name=TEMPLATES_PULL_SECRET,
        # The prefix and not its host alone, as above.
        registry=docker_key("docker.io") if hub else prefix,
        store=names.SECRET_STORE,
        meta=meta,
    )
    return [replace(planned, after=("endpoints-secret-store",))]
