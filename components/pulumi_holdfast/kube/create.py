"""A plan made real: one resource for each planned object, in order, without decisions of its own."""

from __future__ import annotations

import importlib
from collections import ChainMap
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any, Final, cast

import pulumi

from pulumi_holdfast.awaiting import awaiting
from pulumi_holdfast.fill import Outputs, fill
from pulumi_holdfast.plan.manifest import Manifest

_CLASSES: Final[Mapping[tuple[str, str], str]] = {
    ("v1", "Namespace"): "core.v1",
    ("v1", "ConfigMap"): "core.v1",
    ("v1", "Secret"): "core.v1",
    ("v1", "Service"): "core.v1",
    ("v1", "ServiceAccount"): "core.v1",
    ("apps/v1", "DaemonSet"): "apps.v1",
    ("apps/v1", "Deployment"): "apps.v1",
    ("apps/v1", "StatefulSet"): "apps.v1",
    ("rbac.authorization.k8s.io/v1", "Role"): "rbac.v1",
    ("rbac.authorization.k8s.io/v1", "RoleBinding"): "rbac.v1",
    ("networking.k8s.io/v1", "NetworkPolicy"): "networking.v1",
    ("policy/v1", "PodDisruptionBudget"): "policy.v1",
    ("scheduling.k8s.io/v1", "PriorityClass"): "scheduling.v1",
    ("storage.k8s.io/v1", "StorageClass"): "storage.v1",
}
"""Modules of the SDK, imported when first used: each takes tenths of a second."""
_ARGUMENTS: Final = {
    "allowVolumeExpansion": "allow_volume_expansion",
    "globalDefault": "global_default",
    "preemptionPolicy": "preemption_policy",
    "reclaimPolicy": "reclaim_policy",
    "roleRef": "role_ref",
    "stringData": "string_data",
    "volumeBindingMode": "volume_binding_mode",
}


class Creation:
    """Creates planned objects as children of one component; `children` has them by name."""

    def __init__(
        self,
        name: str,
        parent: pulumi.Resource,
        outputs: Outputs,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """`opts`: the component's own; children wait for what it depends on."""
        self.children: dict[str, pulumi.CustomResource] = {}
        self._name = name
        self._parent = parent
        self._opts = opts
        # Not copied: the outputs of an AWS platform are looked up by name, not listed.
        self._own: dict[str, pulumi.Input[Any]] = {}
        self._outputs = ChainMap(self._own, cast("MutableMapping[str, pulumi.Input[Any]]", outputs))

    def create(self, plan: Iterable[Manifest]) -> None:
        """Create every object of a plan."""
        for manifest in plan:
            self.children[manifest.child] = self._one(manifest)

    def provide(self, name: str, value: pulumi.Input[Any]) -> None:
        """A value for a hole that is only known once an earlier object exists."""
        self._own[name] = value

    def _one(self, manifest: Manifest) -> pulumi.CustomResource:
        body = {key: fill(value, self._outputs) for key, value in manifest.body.items()}
        for field in manifest.secret_fields:
            body[field] = pulumi.Output.secret(body[field])
        metadata = fill(manifest.metadata, self._outputs)
        resource = f"{self._name}-{manifest.child}"
        options = self._options(manifest)
        if (manifest.api_version, manifest.kind) not in _CLASSES:
            custom: pulumi.CustomResource = _custom_class()(
                resource,
                api_version=manifest.api_version,
                kind=manifest.kind,
                metadata=metadata,
                opts=options,
                **body,
            )
            return custom
        arguments = {_ARGUMENTS.get(key, key): value for key, value in body.items()}
        made: pulumi.CustomResource = _class(manifest)(resource, metadata=metadata, opts=options, **arguments)
        return made

    def _options(self, manifest: Manifest) -> pulumi.ResourceOptions:
        timeout = f"{manifest.timeout_s}s" if manifest.timeout_s is not None else None
        own = pulumi.ResourceOptions(
            parent=self._parent,
            depends_on=[self.children[child] for child in manifest.after],
            ignore_changes=list(manifest.ignore),
            custom_timeouts=pulumi.CustomTimeouts(create=timeout, update=timeout) if timeout else None,
        )
        return awaiting(self._opts, own)


def _class(manifest: Manifest) -> Any:
    module = _CLASSES[manifest.api_version, manifest.kind]
    return getattr(importlib.import_module(f"pulumi_kubernetes.{module}"), manifest.kind)


def _custom_class() -> Any:
    return importlib.import_module("pulumi_kubernetes.apiextensions").CustomResource
