"""A planned object: plain data, printable and comparable, with the few options that creating it needs."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pulumi_holdfast.spec.problems import Problem, SpecError, dotted, problem

Json = dict[str, Any]

SKIP_AWAIT: Final = "pulumi.com/skipAwait"
"""Annotation: the Kubernetes provider creates the object and does not wait until it is ready."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object to be. Strings may hold holes (see `wiring`) that creation fills with outputs."""

    child: str
    """Its name among the component's children; the resource is called `<component>-<child>`."""
    api_version: str
    kind: str
    metadata: Json
    body: Json
    """Everything beside apiVersion, kind and metadata: `spec`, `data`, `rules`, …"""
    after: tuple[str, ...] = ()
    """Children that must exist first."""
    ignore: tuple[str, ...] = ()
    """Paths that another controller owns after creation."""
    timeout_s: int | None = None
    """How long creation may wait for readiness; None: the provider's own time, or no wait at all."""
    generated_name: bool = False
    """Whether Pulumi names the object itself, so that a change replaces it by a new one."""
    secret_fields: tuple[str, ...] = ()
    """Body fields that are secret values."""

    @property
    def name(self) -> str:
        """The object's name in Kubernetes."""
        return str(self.metadata.get("name", ""))

    def as_object(self) -> Json:
        """The object as Kubernetes reads it."""
        return {"apiVersion": self.api_version, "kind": self.kind, "metadata": self.metadata, **self.body}


@dataclass(frozen=True, slots=True)
class Meta:
    """What the metadata of every object of one owner shares."""

    namespace: str
    labels: Mapping[str, str] = field(default_factory=dict)

    def of(
        self,
        name: str,
        *,
        annotations: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Json:
        """Metadata of one object."""
        found: Json = {"name": name, "namespace": self.namespace, "labels": {**self.labels, **(labels or {})}}
        if annotations:
            found["annotations"] = dict(annotations)
        return found


def merged(planned: Any, override: Any) -> Any:
    """An override laid over planned data: mappings merge, None removes, everything else replaces."""
    if not isinstance(planned, Mapping) or not isinstance(override, Mapping):
        return override
    result = dict(planned)
    for key, value in override.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(planned[key], value) if key in planned else value
    return result


def transformed(
    subject: str, manifests: tuple[Manifest, ...], overrides: Mapping[str, Any]
) -> tuple[Manifest, ...]:
    """Planned objects with the user's per-child overrides laid over them; name and kind stay. Raises SpecError with
    every override that cannot be laid over anything; `subject` is whose they are."""
    wanted = {child: override for child, override in overrides.items() if override is not None}
    planned = {manifest.child for manifest in manifests}
    problems = [found for child, override in wanted.items() for found in _misplaced(child, override, planned)]
    if problems:
        raise SpecError(subject, problems)
    return tuple(
        _transformed(manifest, wanted[manifest.child]) if manifest.child in wanted else manifest
        for manifest in manifests
    )


def _misplaced(child: str, override: Any, planned: Container[str]) -> Iterator[Problem]:
    path = dotted(("transforms", child))
    if child not in planned:
        remedy = "leave it out, or declare what needs it"
        yield problem(path, child, "an object that this declaration does not make", remedy)
    elif not isinstance(override, Mapping):
        yield problem(path, override, "not a mapping", 'write {"field": value}')
    elif "metadata" in override and not isinstance(override["metadata"], Mapping):
        path, remedy = f"{path}.metadata", "name the field of it that is to change or go"
        yield problem(path, override["metadata"], "not a mapping", remedy)


def _transformed(manifest: Manifest, override: Mapping[str, Any]) -> Manifest:
    result = merged({"metadata": manifest.metadata, **manifest.body}, override)
    metadata = {**result.pop("metadata"), "name": manifest.metadata.get("name")}
    return Manifest(
        child=manifest.child,
        api_version=manifest.api_version,
        kind=manifest.kind,
        metadata={key: value for key, value in metadata.items() if value is not None},
        body={key: value for key, value in result.items() if key not in ("apiVersion", "kind")},
        after=manifest.after,
        ignore=manifest.ignore,
        timeout_s=manifest.timeout_s,
        generated_name=manifest.generated_name,
        secret_fields=manifest.secret_fields,
    )
