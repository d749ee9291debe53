"""The stack's configuration, checked: `pulumi config set holdfast:<key> <value>`."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import pulumi
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from pulumi_holdfast import Feasibility, Foresight, Ingress, PlatformKind


class Layer(StrEnum):
    """Which half of the program a stack is."""

    SHARED = "shared"
    ENDPOINTS = "endpoints"


class Plain(BaseModel):
    """The plain configuration; keys are the field names in camel case."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel)

    layer: Layer
    """`shared` for stacks whose name ends with it, else `endpoints`."""
    kind: PlatformKind
    """`sandbox` for stacks whose name begins with it, else `cluster`."""
    services_image: str | None = None
    base_url: str | None = None
    ingress: Ingress = Ingress.CLUSTER
    queue_servers: int = 3
    queue_host_path: str | None = None
    registry_secret: str | None = None
    template_registry: str | None = None
    template_registry_secret: str | None = None
    bodies_bucket: str | None = None
    """An S3 bucket for large bodies."""
    domain: str | None = None
    namespace: str = "holdfast"
    """Where endpoints go; another one for a second platform in the same cluster."""
    system_namespace: str = "holdfast-system"
    shared_stack: str
    """The stack that exports the platform: this one's name with `-shared`."""
    tokens: tuple[str, ...] = Field(default=())
    """Open every private endpoint of the stack, beside the endpoint's own."""
    feasibility: Feasibility
    """What a preview does about what cannot be had; `off` for stacks whose name begins with sandbox, else `warn`."""
    feasibility_answers: Path | None = None
    """Answers recorded by an earlier preview; nobody is asked then."""
    feasibility_record: Path | None = None
    """Where to keep this preview's answers."""
    traces: Path | None = None
    """A folder with `<endpoint>.csv`: requests that a preview replays."""
    zones: tuple[str, ...] = Field(default=())
    """Where machines may be; anywhere in the platform's region by default."""
    aws: dict[str, Any] | None = None
    """Network, cluster, GPU nodes and the way in, made by this stack; kind is `aws` then."""
    observability: dict[str, Any] | None = None
    """What is watched and how, as a SharedStack declares it: dashboard, monitors, alerts, labels, traces."""
    quickstart: tuple[Any, ...] = Field(default=())
    """Templates that are offered to everybody, always warm and rate limited: names, or mappings with more."""


@dataclass(frozen=True)
class SharedSettings:
    """What the shared layer needs."""

    kind: PlatformKind
    services_image: str
    broker_secret: pulumi.Output[str]
    previous_broker_secret: pulumi.Output[str] | None
    base_url: str | None
    aws: dict[str, Any] | None
    ingress: Ingress
    queue_servers: int
    queue_host_path: str | None
    registry_secret: str | None
    template_registry: str | None
    template_registry_secret: str | None
    bodies_bucket: str | None
    domain: str | None
    namespace: str
    system_namespace: str
    observability: dict[str, Any] | None
    quickstart: tuple[Any, ...]
    tokens: tuple[str, ...]


class Settings:
    """The configuration of one stack."""

    def __init__(self, plain: Plain, config: pulumi.Config) -> None:
        self.layer = plain.layer
        self.shared_stack = plain.shared_stack
        self.tokens = plain.tokens
        self.foresight = Foresight(
            feasibility=plain.feasibility,
            answers=plain.feasibility_answers,
            record=plain.feasibility_record,
            traces=plain.traces,
            zones=plain.zones,
        )
        self._plain = plain
        self._config = config

    @property
    def shared(self) -> SharedSettings:
        """The shared layer's part. Raises RunError naming the keys that are missing."""
        plain = self._plain
        # On AWS the gateway's address follows from `aws.ingress.domain`.
        required = ("servicesImage",) if plain.aws is not None else ("servicesImage", "baseUrl")
        missing = [key for key in required if not self._config.get(key)]
        if plain.services_image is None or missing:
            raise pulumi.RunError(
                f"missing configuration: {' and '.join(f'holdfast:{key}' for key in missing)}"
            )
        return SharedSettings(
            kind=plain.kind,
            services_image=plain.services_image,
            broker_secret=self._config.require_secret("brokerSecret"),
            previous_broker_secret=self._config.get_secret("previousBrokerSecret"),
            base_url=plain.base_url,
            aws=plain.aws,
            ingress=plain.ingress,
            queue_servers=plain.queue_servers,
            queue_host_path=plain.queue_host_path,
            registry_secret=plain.registry_secret,
            template_registry=plain.template_registry,
            template_registry_secret=plain.template_registry_secret,
            bodies_bucket=plain.bodies_bucket,
            domain=plain.domain,
            namespace=plain.namespace,
            system_namespace=plain.system_namespace,
            observability=plain.observability,
            quickstart=plain.quickstart,
            tokens=plain.tokens,
        )


_OBJECTS: Final = frozenset({"aws", "observability", "tokens", "queueServers", "quickstart", "zones"})


def read(config: pulumi.Config, stack: str) -> Settings:
    """The stack's settings. Raises RunError naming each wrong key, its value and the rule."""
    sandbox = stack.startswith("sandbox")
    values: dict[str, Any] = {
        "layer": "shared" if stack.endswith("-shared") else "endpoints",
        "kind": "sandbox" if sandbox else "cluster",
        "sharedStack": f"{stack}-shared",
        "feasibility": "off" if sandbox else "warn",
    }
    for name in Plain.model_fields:
        key = to_camel(name)
        found = config.get_object(key) if key in _OBJECTS else config.get(key)
        if found is not None:
            values[key] = found
    if "aws" in values:
        values["kind"] = "aws"
    try:
        return Settings(Plain.model_validate(values), config)
    except ValidationError as error:
        lines = [
            f"holdfast:{'.'.join(str(part) for part in found['loc'])} is {found['input']!r}: {found['msg']}"
            for found in error.errors()
        ]
        raise pulumi.RunError("wrong configuration:\n  " + "\n  ".join(lines)) from None
