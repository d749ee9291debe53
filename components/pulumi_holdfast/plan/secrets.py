"""Secrets by reference: External Secrets reads them in the cluster, so that no value enters Pulumi's state."""

from __future__ import annotations

from typing import Final

from pulumi_holdfast.plan.manifest import Json, Manifest, Meta
from pulumi_holdfast.plan.wiring import hole
from pulumi_holdfast.spec.endpoint import EndpointSpec
from pulumi_holdfast.spec.secrets import EndpointSecretSpec, RegistryCredentialsSpec

API: Final = "external-secrets.io/v1"
SECRETS_REFRESH_S: Final = 300
"""How often endpoint secrets are read again; files follow, variables at the next rollout."""


def docker_config_template(registry: str) -> str:
    """A template that makes a docker configuration of either shape that people store, for `registry`'s host.

    `index` rather than a field: a missing key is empty there and an error elsewhere, so that a secret with
    neither shape gives an error that names the missing `username`.
    """
    pair = (
        '{"auths":{"{{ with index . "registry" }}{{ . }}{{ else }}' + registry + '{{ end }}":{'
        '"username":{{ .username | toJson }},'
        '"password":{{ .password | toJson }},'
        '"auth":"{{ printf "%s:%s" .username .password | b64enc }}"}}}'
    )
    return '{{ with index . "auths" }}{"auths":{{ . }}}{{ else }}' + pair + "{{ end }}"


def pull_secret(
    credentials: RegistryCredentialsSpec, *, child: str, name: str, registry: str, store: str, meta: Meta
) -> Manifest:
    """The ExternalSecret that keeps a pull secret equal to what Secrets Manager holds."""
    return Manifest(
        child=child,
        api_version=API,
        kind="ExternalSecret",
        metadata=meta.of(name),
        body={
            "spec": {
                "refreshInterval": f"{credentials.refresh_s}s",
                "secretStoreRef": {"name": store, "kind": "SecretStore"},
                "target": {
                    "name": name,
                    "creationPolicy": "Owner",
                    # A secret deleted upstream must not take running replicas with it.
                    "deletionPolicy": "Retain",
                    "template": {
                        "type": "kubernetes.io/dockerconfigjson",
                        "engineVersion": "v2",
                        "data": {
                            ".dockerconfigjson": docker_config_template(credentials.registry or registry)
                        },
                    },
                },
                "dataFrom": [{"extract": {"key": credentials.secret}}],
            }
        },
    )


def endpoint_secrets(spec: EndpointSpec, meta: Meta) -> Manifest | None:
    """The ExternalSecret with every secret of Secrets Manager that the endpoint declares; None without any."""
    wanted = {name: secret for name, secret in sorted(spec.secrets.items()) if not secret.value}
    if not wanted:
        return None
    name = f"{spec.name}-secrets"
    return Manifest(
        child="secrets",
        api_version=API,
        kind="ExternalSecret",
        metadata=meta.of(name),
        body={
            "spec": {
                "refreshInterval": f"{SECRETS_REFRESH_S}s",
                "secretStoreRef": {"name": hole("secret_store"), "kind": "SecretStore"},
                "target": {"name": name, "creationPolicy": "Owner", "deletionPolicy": "Retain"},
                "data": [{"secretKey": key, "remoteRef": _remote(secret)} for key, secret in wanted.items()],
            }
        },
    )


def _remote(secret: EndpointSecretSpec) -> Json:
    found: Json = {"key": secret.secret}
    if secret.key:
        found["property"] = secret.key
    if secret.version:
        found["version"] = f"uuid/{secret.version}"
    return found


def config_secrets(spec: EndpointSpec, meta: Meta) -> Manifest | None:
    """The Secret with values that the program itself holds; None without any.

    A new value rolls the replicas. The values are filled in at creation.
    """
    wanted = sorted(name for name, secret in spec.secrets.items() if secret.value)
    if not wanted:
        return None
    return immutable_secret("config-secrets", {name: hole(f"value.{name}") for name in wanted}, meta)


def immutable_secret(child: str, values: Json, meta: Meta, after: tuple[str, ...] = ()) -> Manifest:
    """A Secret that Pulumi names: new values are a new Secret, and whatever refers to it rolls. The values are
    secret in Pulumi's state. `after`: children that must exist first."""
    metadata = meta.of("")
    del metadata["name"]
    return Manifest(
        child=child,
        api_version="v1",
        kind="Secret",
        metadata=metadata,
        body={"type": "Opaque", "immutable": True, "stringData": values},
        after=after,
        generated_name=True,
        secret_fields=("stringData",),
    )


def versions(spec: EndpointSpec) -> str:
    """The declared versions of all secrets, for an annotation that rolls the replicas; empty without any."""
    declared = [f"{name}={secret.version}" for name, secret in sorted(spec.secrets.items()) if secret.version]
    return ",".join(declared)
