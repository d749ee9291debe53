"""SharedStack: gateway, queue and scaler for all endpoints of a platform, and the contract that describes it."""

# No `from __future__ import annotations`: the analyser of multi-language components reads real types.
import hashlib
import hmac
from collections.abc import Awaitable, Mapping
from typing import Any, Final, NotRequired, TypedDict

import pulumi

from holdfast_contract.platform import PlatformKind
from pulumi_holdfast.errors import DeclarationError, explained
from pulumi_holdfast.kube.create import Creation
from pulumi_holdfast.plan import identities
from pulumi_holdfast.plan.system.shared import plan_shared, platform_of
from pulumi_holdfast.spec.problems import Problem, SpecError
from pulumi_holdfast.spec.shared import MIN_SECRET_CHARS, Ingress, SharedSpec, parse_shared

_WIRED_URL: Final = "https://wired.invalid"
_SECRETS: Final = ("broker_secret", "previous_broker_secret")


class GatewayArgs(TypedDict):
    """The gateway's Deployment."""

    replicas: NotRequired[int]
    """2 by default; 1 is for a sandbox."""
    ingress: NotRequired[Ingress]
    """How callers reach it; inside the cluster only by default."""
    node_port: NotRequired[int]
    """With node-port only; 30080 by default."""
    tls_secret: NotRequired[str]
    """A Secret of type kubernetes.io/tls in the system namespace, with which the gateway ends TLS; plain HTTP by
    default."""
    cpu: NotRequired[float]
    """vCPUs reserved for each replica; 0.1 by default."""
    memory_mib: NotRequired[int]
    """512 by default."""


class ScalerArgs(TypedDict):
    """The scaler's Deployment."""

    replicas: NotRequired[int]
    """2 by default; 1 is for a sandbox."""


class QueueArgs(TypedDict):
    """The NATS servers that hold what waits."""

    servers: NotRequired[int]
    """3 by default; 1 for a sandbox."""
    image: NotRequired[str]
    """The server's image, pinned by this version."""
    storage_gib: NotRequired[int]
    """Disk of each server; 20 by default."""
    storage_class: NotRequired[str]
    """The cluster's default class by default."""
    host_path: NotRequired[str]
    """A directory of the only node instead of a claim."""
    max_ha_assets: NotRequired[int]
    """Raft groups a server may hold; 2000 by default."""
    cpu: NotRequired[float]
    """vCPUs reserved for each server; 0.1 by default."""
    memory_mib: NotRequired[int]
    """512 by default."""


class ObservabilityArgs(TypedDict):
    """Dashboards, monitors, alerts, traces. `pulumi_holdfast.spec.observability` says all of every field."""

    dashboards: NotRequired[bool]
    """A ConfigMap with the Grafana dashboard; true by default."""
    monitors: NotRequired[bool]
    """PodMonitors; false by default: the cluster must know the Prometheus operator's kinds."""
    alerts: NotRequired[bool]
    """A PrometheusRule with the alerts; as monitors."""
    labels: NotRequired[dict[str, str]]
    """On monitors and alerts, where the operator selects by label."""
    otlp_endpoint: NotRequired[str]
    """OpenTelemetry collector, as http://<service>.<namespace>:4318; no traces by default."""
    trace_ratio: NotRequired[float]
    """Share of the traces that begin at the gateway which are recorded; 1 by default."""


class ServicesCredentialsArgs(TypedDict):
    """Where the password of the services' registry is kept."""

    secret: str
    """Name or ARN in AWS Secrets Manager."""
    registry: NotRequired[str]
    """Registry host; the image's own by default."""
    refresh_s: NotRequired[int]
    """How often it is read again, in seconds; 300 by default."""


class SharedStackArgs(TypedDict):
    """What the shared stack declares. `pulumi_holdfast.spec.shared.SharedSpec` says all of every field."""

    services_image: str
    """The image of gateway, scaler and worker."""
    broker_secret: pulumi.Input[str]
    """At least 24 random characters, from a config secret: all identities at the broker are derived from it."""
    previous_broker_secret: NotRequired[pulumi.Input[str]]
    """The one before, while endpoint stacks still have credentials from it: see the guide on rotating it."""
    base_url: NotRequired[pulumi.Input[str]]
    """The gateway as callers see it, without a trailing slash."""
    kind: NotRequired[PlatformKind]
    """Where the platform runs; cluster by default."""
    domain: NotRequired[str]
    """Endpoints also answer at <endpoint>.<domain>."""
    namespace: NotRequired[str]
    """Of endpoints; holdfast by default."""
    system_namespace: NotRequired[str]
    """Of queue, gateway and scaler; holdfast-system by default."""
    gateway: NotRequired[GatewayArgs]
    """The gateway's Deployment."""
    queue: NotRequired[QueueArgs]
    """The NATS servers."""
    scaler: NotRequired[ScalerArgs]
    """The scaler's Deployment."""
    observability: NotRequired[ObservabilityArgs]
    """Dashboards, monitors, alerts, traces."""
    aws_region: NotRequired[str]
    """Where the secrets are, and the bucket of bodies; us-east-1 by default."""
    bodies_bucket: NotRequired[str]
    """An S3 bucket for bodies above 256 KiB, which the gateway reaches by its own identity; the queue's disks by
    default."""
    registry_credentials: NotRequired[ServicesCredentialsArgs]
    """For services_image; none by default."""
    template_registry: NotRequired[str]
    """Registry prefix of the catalogue's images."""
    template_registry_secret: NotRequired[str]
    """Secrets Manager secret with that registry's credentials; none by default."""
    load_balancer_idle_s: NotRequired[int]
    """How long the load balancer before the gateway keeps a silent connection."""
    gpu_node_selector: NotRequired[dict[str, str]]
    """Label of the platform's GPU nodes."""
    instance_types: NotRequired[bool]
    """Whether nodes carry their instance type as a label; true by default."""
    transforms: NotRequired[dict[str, Any]]
    """Per-child overrides: nats, gateway, scaler."""


class SharedStack(pulumi.ComponentResource):
    """Gateway, queue and scaler; `platform` is what endpoint stacks read."""

    platform: pulumi.Output[Mapping[str, Any]]
    """The platform contract; export it as `platform`. It holds no secret."""
    platform_key: pulumi.Output[str]
    """What endpoint stacks sign their workers' credentials with, a secret; export it as `platform_key`."""

    def __init__(self, name: str, args: SharedStackArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("holdfast:index:SharedStack", name, {}, opts)
        with explained():
            self.spec = _spec(name, args)
        """What was declared, with every default filled in."""
        with explained():
            planned = plan_shared(self.spec)
        base_url = _base_url(name, args)
        secrets = _secrets(name, args)
        outputs = {**_identities(secrets), "base_url": base_url}
        creation = Creation(name, self, outputs, opts)
        for manifest in planned:
            creation.create([manifest])
            if manifest.child == "broker":
                made: Any = creation.children["broker"]
                creation.provide("broker_secret", made.metadata["name"])
        self.children = creation.children
        """The resources by child name: `nats`, `gateway`, `scaler`, …"""
        self.platform = base_url.apply(lambda url: platform_of(self.spec, url).model_dump(mode="json"))
        self.platform_key = secrets.apply(lambda known: identities.worker_key(known[0]))
        self.register_outputs({"platform": self.platform, "platform_key": self.platform_key})


def password(secret: str) -> str:
    """What the brokers show each other. Begins with a letter, so that no configuration reads it as a number."""
    return "p" + hmac.new(secret.encode(), b"holdfast broker cluster", hashlib.sha256).hexdigest()


def _spec(name: str, args: SharedStackArgs) -> SharedSpec:
    plain: dict[str, Any] = {key: value for key, value in args.items() if key not in _SECRETS}
    given = {field: args.get(field) for field in _SECRETS}
    problems = _secret_problems(
        {
            field: secret
            for field, secret in given.items()
            if not isinstance(secret, pulumi.Output | Awaitable)
        }
    )
    if isinstance(plain.get("base_url"), pulumi.Output | Awaitable):
        plain["base_url"] = _WIRED_URL
    elif plain.get("base_url") is None:
        problems.append(
            Problem("base_url", "missing", "required", "declare the gateway's URL as callers see it")
        )
    try:
        spec = parse_shared(name, plain)
    except SpecError as error:
        problems.extend(error.problems)
        raise SpecError(error.subject, problems) from None
    if problems:
        raise SpecError(f'shared stack "{name}"', problems)
    return spec


def _base_url(name: str, args: SharedStackArgs) -> pulumi.Output[str]:
    """The gateway's URL; one that is only known later is checked then, as a plain one is at once."""

    def right(url: str) -> str:
        with explained():
            _spec(name, {**args, "base_url": url})
        return url

    return pulumi.Output.from_input(args["base_url"]).apply(right)


def _secret_problems(given: Mapping[str, object]) -> list[Problem]:
    """What is wrong with the secrets that are known, by field. No value is repeated."""
    remedy = "make one with `openssl rand -hex 32` and keep it with `pulumi config set --secret`"
    found = []
    for field, secret in given.items():
        if secret is None:
            if field == "broker_secret":
                found.append(Problem(field, "missing", "required", remedy))
        elif not isinstance(secret, str):
            found.append(Problem(field, "(hidden)", "not text", remedy))
        elif len(secret) < MIN_SECRET_CHARS:
            found.append(Problem(field, "(hidden)", f"shorter than {MIN_SECRET_CHARS} characters", remedy))
    return found


def _secrets(name: str, args: SharedStackArgs) -> pulumi.Output[tuple[str, str | None]]:
    """The present broker secret and the one before, once both are known to be good."""

    def good(known: Mapping[str, Any]) -> tuple[str, str | None]:
        problems = _secret_problems(known)
        if problems:
            raise DeclarationError(f'shared stack "{name}"', problems)
        return known["broker_secret"], known["previous_broker_secret"]

    given: pulumi.Output[dict[str, Any]] = pulumi.Output.all(**{field: args.get(field) for field in _SECRETS})
    secret: pulumi.Output[dict[str, Any]] = pulumi.Output.secret(given)
    return secret.apply(good)


def _identities(secrets: pulumi.Output[tuple[str, str | None]]) -> dict[str, pulumi.Output[str]]:
    def of(part: str) -> pulumi.Output[str]:
        return secrets.apply(
            lambda known: identities.credentials(identities.signing_key(known[0], part).seed, part)
        )

    return {
        "password_cluster": secrets.apply(lambda known: password(known[0])),
        "broker_operator": secrets.apply(lambda known: identities.operator(known[0])),
        "broker_accounts": secrets.apply(lambda known: identities.accounts(*known)),
        "bodies_root": secrets.apply(identities.bodies_roots),
        "gateway_credentials": of(identities.GATEWAY),
        "scaler_credentials": of(identities.SCALER),
    }
