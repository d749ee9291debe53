"""What the shared stack declares: gateway, queue and scaler for all endpoints of a platform."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, JsonValue

from holdfast_contract import names
from holdfast_contract.platform import PlatformKind
from pulumi_holdfast.spec.endpoint import WIRED_IMAGE, Image
from pulumi_holdfast.spec.model import AbsolutePath, Flag, Number, Spec, Whole
from pulumi_holdfast.spec.observability import ObservabilitySpec
from pulumi_holdfast.spec.problems import Problem, SpecError, dotted, nearest, problem, refused, translate
from pulumi_holdfast.spec.secrets import RegistryCredentialsSpec, SecretName
from pulumi_holdfast.spec.validate import Rule, broken, validated

SHARED_CHILDREN: Final = frozenset({"nats", "gateway", "scaler"})
"""The children of a shared stack that `transforms` may name."""
MIN_SECRET_CHARS: Final = 24
_OBJECT: Final = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_DOMAIN: Final = re.compile(r"(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,}")
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def _url(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise refused("not a URL", "start it with https:// (http:// for a sandbox)")
    try:
        url = urlsplit(text)
        whole = bool(url.hostname) and url.port != 0 and not re.search(r"\s", text)
    except ValueError:
        whole = False
    if not whole:
        raise refused("not a whole URL", "write its host too, and a port from 1 to 65535 if any")
    if "@" in url.netloc or url.query or url.fragment:
        raise refused("a URL with more than callers need", "leave password, ? and # out: everybody reads it")
    if text.endswith("/"):
        raise refused("a URL that ends with /", "leave the last / out")
    return text


def _label(text: str) -> str:
    if not _LABEL.fullmatch(text):
        raise refused(
            "not a DNS label of at most 63 characters", "use lower-case letters, digits and - inside it"
        )
    return text


def _domain(text: str) -> str:
    if not _DOMAIN.fullmatch(text):
        raise refused(
            "not a domain name", "write it in lower case without https:// and without a trailing dot"
        )
    return text


def _bucket(text: str) -> str:
    if not _BUCKET.fullmatch(text):
        raise refused(
            "not a bucket's name", "take 3 to 63 lower-case letters, digits, dots and hyphens, without s3://"
        )
    return text


def _object(text: str) -> str:
    if not _OBJECT.fullmatch(text):
        raise refused(
            "not the name of a Kubernetes Secret",
            "take lower-case letters, digits, hyphens and dots, without a namespace",
        )
    return text


ObjectName = Annotated[str, AfterValidator(_object)]
"""Of an object in Kubernetes."""
DnsLabel = Annotated[str, AfterValidator(_label)]
"""What Kubernetes takes as the name of a namespace, and as the beginning of any other."""
DomainName = Annotated[str, AfterValidator(_domain)]


class Ingress(StrEnum):
    """How callers reach the gateway."""

    NODE_PORT = "node-port"
    """A port on every node: a sandbox, or a load balancer that is declared elsewhere."""
    LOAD_BALANCER = "load-balancer"
    """A Service of type LoadBalancer."""
    CLUSTER = "cluster"
    """Only inside the cluster."""


class GatewaySpec(Spec):
    """The gateway's Deployment."""

    replicas: Whole = Field(default=2, ge=1, le=50)
    """2 by default, so that one can go without a caller noticing; 1 is for a sandbox."""
    ingress: Ingress = Ingress.CLUSTER
    node_port: Whole = Field(default=30080, ge=30000, le=32767)
    """With `node-port` only. 30080 by default."""
    tls_secret: ObjectName | None = None
    """A Secret of type kubernetes.io/tls in the system namespace, with which the gateway ends TLS: cert-manager or
    External Secrets makes and renews it, and a new certificate is used without a restart. Pods wait for it to exist.
    None, the default: callers' port is plain HTTP, for a load balancer that ends TLS."""
    cpu: Number = Field(default=0.1, ge=0.01, le=64)
    """vCPUs reserved for each replica."""
    memory_mib: Whole = Field(default=512, ge=128, le=65536)
    """Of each replica. 512 by default. For each MiB a gateway takes 16 callers at once, held ones included, and 8
    where it ends TLS: callers beyond are told to come again (503)."""


class ScalerSpec(Spec):
    """The scaler's Deployment."""

    replicas: Whole = Field(default=2, ge=1, le=5)
    """2 by default: KEDA asks one and goes on with the other when it is gone. 1 is for a sandbox; while none
    runs, replicas stay as they are and nothing wakes."""


class QueueSpec(Spec):
    """The NATS servers that hold what waits."""

    servers: Whole = 3
    """3, the default: requests survive the loss of a server and its disk. 1: a sandbox, or where minutes of
    outage are acceptable."""
    image: Image = "docker.io/library/nats:2.15.2-alpine"
    storage_gib: Whole = Field(default=20, ge=1, le=16384)
    """Disk of each server; holds bodies up to 256 KiB of what waits, and results for 24 hours."""
    storage_class: str | None = None
    """None, the default: the cluster's default class. On AWS choose one with io2 where latency matters."""
    host_path: AbsolutePath | None = None
    """A directory of the only node instead of a claim; for clusters without a storage class."""
    max_ha_assets: Whole = Field(default=2000, ge=100, le=100_000)
    """Raft groups a server may hold: two for each endpoint and some for the buckets. 2000 by default, room
    for the 500 endpoints that were measured on three servers, twice over."""
    cpu: Number = Field(default=0.1, ge=0.01, le=64)
    memory_mib: Whole = Field(default=512, ge=128, le=65536)


class SharedSpec(Spec):
    """What the shared stack declares."""

    name: DnsLabel
    services_image: Image
    """The image of gateway, scaler and worker, pinned by digest in production."""
    kind: PlatformKind = PlatformKind.CLUSTER
    base_url: Annotated[str, AfterValidator(_url)] | None = None
    """The gateway as callers see it. Required unless it is an output of the program."""
    domain: DomainName | None = None
    """Endpoints also answer at `<endpoint>.<domain>`; needs wildcard DNS."""
    namespace: DnsLabel = names.ENDPOINTS_NAMESPACE
    system_namespace: DnsLabel = names.SYSTEM_NAMESPACE
    gateway: GatewaySpec = GatewaySpec()
    queue: QueueSpec = QueueSpec()
    scaler: ScalerSpec = ScalerSpec()
    observability: ObservabilitySpec = ObservabilitySpec()
    aws_region: str = "us-east-1"
    """Where the secrets are, and the bucket of bodies."""
    bodies_bucket: Annotated[str, AfterValidator(_bucket)] | None = None
    """An S3 bucket for bodies above 256 KiB. The gateway alone reaches it (objects below `bodies/`), by the pod
    identity or role of its service account `holdfast-gateway`. Give it a lifecycle rule that deletes them after two
    days. None, the default: they are kept on the queue's disks, in `queue.storage_gib`."""
    registry_credentials: RegistryCredentialsSpec | None = None
    """For `services_image`, where that registry has a password."""
    template_registry: str | None = None
    """Registry prefix of the catalogue's images. None: public, as the templates say."""
    template_registry_secret: SecretName | None = None
    """Name or ARN in AWS Secrets Manager, as an endpoint's `registry_credentials.secret`: endpoints made from templates
    whose image lies in `template_registry` need none of their own. None, the default: that registry has no password,
    or nodes pull by their role."""
    load_balancer_idle_s: Whole | None = Field(default=None, ge=1)
    """How long the load balancer before the gateway keeps a silent connection: endpoints whose requests may take
    longer are refused. None: there is none, or it is not known."""
    gpu_node_selector: Mapping[str, str] = Field(default_factory=dict)
    """Label of the platform's GPU nodes. Empty: any node that has the resource."""
    instance_types: Flag = True
    """Whether replicas are placed by instance type; nodes outside a cloud carry no such label."""
    transforms: Mapping[str, JsonValue] = Field(default_factory=dict)
    """Per-child overrides, as an endpoint's."""


_SECTIONS: Final[Mapping[str, type[Spec]]] = {
    "": SharedSpec,
    "gateway": GatewaySpec,
    "queue": QueueSpec,
    "scaler": ScalerSpec,
    "observability": ObservabilitySpec,
    "registry_credentials": RegistryCredentialsSpec,
}
_STAND_INS: Final = {"name": "placeholder", "services_image": WIRED_IMAGE}
"""For the required fields where they are wrong, so that the rules between others are still checked."""


def parse_shared(name: str, args: Mapping[str, Any]) -> SharedSpec:
    """The spec of a shared stack. Raises SpecError with every problem."""
    raw = {key: value for key, value in args.items() if value is not None}
    known = {section: frozenset(model.model_fields) for section, model in _SECTIONS.items()}
    known[""] = known[""] - {"name"} | {"broker_secret", "previous_broker_secret"}
    spec, errors, wrong = validated(SharedSpec, {**raw, "name": name}, _STAND_INS)
    problems = [*translate(errors, known), *broken(_RULES, spec, wrong)]
    if problems:
        raise SpecError(f'shared stack "{name}"', problems)
    return spec


def _servers(spec: SharedSpec) -> Iterator[Problem]:
    if spec.queue.servers not in (1, 3):
        yield problem(
            "queue.servers", spec.queue.servers, "neither 1 nor 3", "take 3; 1 keeps no second copy"
        )


def _one_disk(spec: SharedSpec) -> Iterator[Problem]:
    if spec.queue.host_path is not None and spec.queue.servers != 1:
        yield problem(
            "queue.host_path",
            spec.queue.host_path,
            f"one node's directory for {spec.queue.servers} servers",
            "declare servers=1, or leave it out and use a storage class",
        )


def _namespaces(spec: SharedSpec) -> Iterator[Problem]:
    if spec.namespace == spec.system_namespace:
        yield problem(
            "namespace", spec.namespace, "also system_namespace", "keep replicas apart from the system"
        )


def _tls(spec: SharedSpec) -> Iterator[Problem]:
    plain = spec.base_url is not None and spec.base_url.startswith("http://")
    if plain and spec.gateway.tls_secret is not None:
        yield problem(
            "base_url",
            spec.base_url,
            "plain HTTP beside gateway.tls_secret",
            "start it with https://, or leave tls_secret out",
        )


def _template_registry(spec: SharedSpec) -> Iterator[Problem]:
    if spec.template_registry_secret is not None and spec.template_registry is None:
        yield problem(
            "template_registry_secret",
            spec.template_registry_secret,
            "the password of no registry",
            "declare template_registry beside it, or leave it out",
        )


def _children(spec: SharedSpec) -> Iterator[Problem]:
    for child in spec.transforms:
        if child not in SHARED_CHILDREN:
            yield problem(
                dotted(("transforms", child)), child, "not a child", nearest(child, SHARED_CHILDREN)
            )


_RULES: Final = (
    Rule(("queue.servers",), _servers),
    Rule(("queue.servers", "queue.host_path"), _one_disk),
    Rule(("namespace", "system_namespace"), _namespaces),
    Rule(("base_url", "gateway.tls_secret"), _tls),
    Rule(("template_registry", "template_registry_secret"), _template_registry),
    Rule(("transforms",), _children),
)
