"""What a platform on AWS declares: network, cluster, GPU pools, identities, ingress, buckets, charts."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, JsonValue
from pydantic_core import ErrorDetails

from holdfast_contract import names
from pulumi_holdfast.spec.aws_pools import POOLS, CapacitySpec, Pool, PoolKind
from pulumi_holdfast.spec.aws_rules import AWS_RULES
from pulumi_holdfast.spec.model import Flag, Spec, Whole
from pulumi_holdfast.spec.problems import SpecError, refused, translate
from pulumi_holdfast.spec.secrets import SecretName
from pulumi_holdfast.spec.shared import DnsLabel, DomainName, ObjectName
from pulumi_holdfast.spec.validate import broken, validated

MIN_VPC_PREFIX: Final = 16
MAX_VPC_PREFIX: Final = 19
"""Smaller networks leave public subnets of fewer than 32 addresses, which a load balancer refuses."""
_ARN: Final = re.compile(r"arn:aws(-[a-z-]+)?:[a-z0-9-]+:[a-z0-9-]*:([0-9]{12})?:.+")


def _matching(pattern: str, rule: str, remedy: str) -> AfterValidator:
    compiled = re.compile(pattern)

    def check(text: str) -> str:
        if not compiled.fullmatch(text):
            raise refused(rule, remedy)
        return text

    return AfterValidator(check)


def _cidr(text: str) -> str:
    try:
        ipaddress.IPv4Network(text)
    except ValueError:
        raise refused(
            "not an IPv4 network", "write its first address and length, such as 10.0.0.0/16"
        ) from None
    return text


def _vpc_cidr(text: str) -> str:
    prefix = ipaddress.IPv4Network(_cidr(text)).prefixlen
    if not MIN_VPC_PREFIX <= prefix <= MAX_VPC_PREFIX:
        raise refused(
            f"a network of /{prefix}",
            f"take one between /{MIN_VPC_PREFIX} and /{MAX_VPC_PREFIX}: see the guide",
        )
    return text


Cidr = Annotated[str, AfterValidator(_cidr)]
Arn = Annotated[str, _matching(_ARN.pattern, "not an ARN", "copy it whole, from arn: on")]
Region = Annotated[
    str, _matching(r"[a-z]{2}(-[a-z]+)+-[0-9]", "not a region", "write it as AWS does, such as us-east-1")
]
Account = Annotated[str, _matching(r"[0-9]{12}", "not an account number", "write its 12 digits in quotes")]
Minor = Annotated[
    str, _matching(r"1\.[0-9]{2}", "not a minor version of Kubernetes", 'write it in quotes, such as "1.35"')
]


class Nat(StrEnum):
    """How private subnets reach the internet."""

    PER_ZONE = "per-zone"
    """One gateway in each zone: none depends on another."""
    ONE = "one"
    """One for all: cheaper, and its zone takes the others' egress with it."""
    NONE = "none"
    """None at all: images and charts come through endpoints and mirrors."""


class ServiceEndpoint(StrEnum):
    """AWS services with an address inside the network, so that traffic to them pays no NAT."""

    ECR_API = "ecr.api"
    ECR_DKR = "ecr.dkr"
    SECRETS_MANAGER = "secretsmanager"
    STS = "sts"
    EKS_AUTH = "eks-auth"
    EC2 = "ec2"
    LOGS = "logs"


class ExistingNetworkSpec(Spec):
    """A VPC that is there already."""

    vpc_id: Annotated[str, _matching(r"vpc-[0-9a-f]+", "not the id of a VPC", "it begins with vpc-")]
    private_subnet_ids: tuple[str, ...] = Field(min_length=2)
    """In at least two zones, with a route to what nodes need."""
    public_subnet_ids: tuple[str, ...] = ()
    """For a load balancer that faces the internet."""


class NetworkSpec(Spec):
    """The VPC: made here, or `existing` by ids."""

    existing: ExistingNetworkSpec | None = None
    """None, the default: it is made. Exclusive with all other fields."""
    cidr: Annotated[str, AfterValidator(_vpc_cidr)] = "10.0.0.0/16"
    """Its addresses, between /16 and /19. Each zone has a sixteenth for nodes and pods: 4,091 in a /16."""
    zones: tuple[str, ...] = ()
    """Two to six, by name. Declared rather than looked up, so that a preview needs no account and a new zone of
    the region moves nothing."""
    nat: Nat = Nat.PER_ZONE
    endpoints: tuple[ServiceEndpoint, ...] = (
        ServiceEndpoint.ECR_API,
        ServiceEndpoint.ECR_DKR,
        ServiceEndpoint.SECRETS_MANAGER,
        ServiceEndpoint.STS,
    )
    """Interface endpoints, each with an address in every zone. S3's gateway endpoint costs nothing and is always
    made."""


class ExistingClusterSpec(Spec):
    """An EKS cluster that is there already."""

    name: str = Field(min_length=1)
    endpoint: Annotated[
        str, _matching(r"https://\S+", "not a URL", "copy it from the cluster, with https://")
    ]
    certificate_authority: str = Field(min_length=1)
    """As EKS gives it, in base64."""
    security_group_id: str
    """The cluster's security group, which its nodes have."""
    system_scaling_groups: tuple[str, ...] = ()
    """Names of the auto scaling groups whose nodes run the gateway: a load balancer sends to them."""


class SystemNodesSpec(Spec):
    """The nodes of everything that is not a replica on a GPU."""

    instance_types: tuple[str, ...] = ("m7i.large",)
    min_nodes: Whole = Field(default=3, ge=1, le=100)
    """3 by default: three brokers on three machines."""
    max_nodes: Whole = Field(default=6, ge=1, le=450)
    disk_gib: Whole = Field(default=50, ge=20, le=16384)
    release: str | None = None
    """Release of the AMI. None: the newest at the time of creation."""


class LogType(StrEnum):
    """What the control plane writes to CloudWatch."""

    API = "api"
    AUDIT = "audit"
    AUTHENTICATOR = "authenticator"
    CONTROLLER_MANAGER = "controllerManager"
    SCHEDULER = "scheduler"


class ClusterSpec(Spec):
    """The EKS cluster: made here, or `existing`."""

    existing: ExistingClusterSpec | None = None
    """None, the default: it is made. Exclusive with all other fields."""
    version: Minor | None = None
    """Kubernetes' minor version. Required for a new cluster: an upgrade is a decision."""
    addons: Mapping[str, str] = Field(default_factory=dict)
    """Version of each add-on. Required for a new cluster; `aws eks describe-addon-versions --kubernetes-version
    <version>` lists what fits."""
    admins: tuple[Arn, ...] = ()
    """IAM roles (or users) with all rights in the cluster; the one that runs Pulumi must be among them."""
    viewers: tuple[Arn, ...] = ()
    """IAM roles that may read everything but Secrets."""
    public_cidrs: tuple[Cidr, ...] = ()
    """Networks that reach the API server over the internet. None, the default: it is reached from inside the VPC
    only."""
    kms_key_arn: Arn | None = None
    """Encrypts Kubernetes Secrets. None, the default: a key of its own is made."""
    log_types: tuple[LogType, ...] = (LogType.API, LogType.AUDIT, LogType.AUTHENTICATOR)
    log_days: Whole = Field(default=90, ge=1, le=3653)
    """How long they are kept. CloudWatch takes certain numbers only: 1, 3, 5, 7, 14, 30, 60, 90, 120, …"""
    deletion_protection: Flag = True
    """Whether AWS refuses to delete the cluster, whoever asks."""
    system: SystemNodesSpec = SystemNodesSpec()


class IdentitySpec(Spec):
    """Who may do what. Each need has a role of its own; these lists name what their policies hold."""

    namespace: DnsLabel = names.ENDPOINTS_NAMESPACE
    """Whose pods are replicas: a shared stack's `namespace`, if that is not the default."""
    system_namespace: DnsLabel = names.SYSTEM_NAMESPACE
    """Where the gateway is: a shared stack's `system_namespace`, if that is not the default."""
    secrets: tuple[SecretName, ...] = ()
    """Names or ARNs in Secrets Manager that External Secrets may read: all that endpoints and the platform
    declare, and no other."""
    secret_keys: tuple[Arn, ...] = ()
    """KMS keys that those secrets are encrypted with. Empty: AWS's own key, which needs no grant."""
    ecr_repositories: tuple[Arn, ...] = ()
    """Repositories of other accounts that nodes pull from. Those of this account need no entry."""
    permissions_boundary: Arn | None = None
    """Put on every role that is made, where your organisation demands one."""


class IngressKind(StrEnum):
    """How callers reach the gateway."""

    ALB = "alb"
    """An application load balancer with a certificate of ACM: HTTP/2, streaming, up to 4,000 s of silence."""
    NLB = "nlb"
    """A network load balancer that ends TLS with a certificate of ACM, 350 s of silence and no more; or, with
    `tls_secret`, one that passes TLS through to the gateway, up to 6,000 s."""
    NONE = "none"
    """None: the gateway is reached in some way that is declared elsewhere."""


class AwsIngressSpec(Spec):
    """The way in."""

    kind: IngressKind = IngressKind.ALB
    domain: DomainName | None = None
    """The gateway answers at it and endpoints at `<endpoint>.<domain>`. Required but for `none`."""
    zone_id: (
        Annotated[
            str,
            _matching(
                r"[A-Z0-9]{8,32}",
                "not the id of a hosted zone",
                "copy it from Route 53, such as Z0123456789ABC",
            ),
        ]
        | None
    ) = None
    """Route 53 zone that holds the domain. None: you make the records, and bring the certificate."""
    certificate_arn: Arn | None = None
    """Covers the domain and `*.<domain>`. None, the default: one is made and proved in the zone."""
    tls_secret: ObjectName | None = None
    """With `nlb` only: the gateway ends TLS, with this Secret (a shared stack's `gateway.tls_secret`), which covers the
    domain and `*.<domain>`; no certificate of ACM is made or used."""
    allowed_cidrs: tuple[Cidr, ...] = ("0.0.0.0/0",)
    internal: Flag = False
    """Whether it is reached from inside the network only."""
    max_request_s: Whole = Field(default=900, ge=1, le=86400)
    """The longest `scaling.max_request_s` that endpoints may declare: the load balancer's idle timeout follows."""
    node_port: Whole = Field(default=30080, ge=30000, le=32767)


class StorageSpec(Spec):
    """The buckets: large bodies, and models' weights."""

    bodies_bucket: str | None = None
    """Name of an existing bucket for bodies. None, the default: one is made."""
    bodies_days: Whole = Field(default=2, ge=1, le=365)
    """When bodies are deleted. 2 by default: results are kept for 24 hours."""
    weights_bucket: str | None = None
    """Name of an existing bucket that replicas may read weights from. None, the default: one is made."""
    weights_prefix: Annotated[str, _matching(r"([^/*?]+/)*", "not a prefix", "end it with /")] = "weights/"
    """Replicas read what lies below it and nothing else."""


class ChartSpec(Spec):
    """One Helm chart."""

    install: Flag = True
    """False: it is there already."""
    version: str | None = None
    """None: the version that this release pins."""
    repository: str | None = None
    """A mirror. None: the project's own."""
    values: Mapping[str, JsonValue] = Field(default_factory=dict)
    """Laid over ours. Never a secret: Helm's values stand in state in plain text."""


class ChartsSpec(Spec):
    """What comes by its own chart."""

    keda: ChartSpec = ChartSpec()
    external_secrets: ChartSpec = ChartSpec()
    device_plugin: ChartSpec = ChartSpec()
    karpenter: ChartSpec = ChartSpec()
    cluster_autoscaler: ChartSpec = ChartSpec()


class AwsSpec(Spec):
    """What a platform on AWS declares."""

    name: DnsLabel
    region: Region
    account: Account
    """Policies name resources by their whole ARN, so a preview has to know it."""
    network: NetworkSpec = NetworkSpec()
    cluster: ClusterSpec = ClusterSpec()
    pools: Mapping[str, Pool] = Field(default_factory=dict)
    """GPU pools by name. None at all: endpoints on CPUs only."""
    identities: IdentitySpec = IdentitySpec()
    ingress: AwsIngressSpec = AwsIngressSpec()
    storage: StorageSpec = StorageSpec()
    charts: ChartsSpec = ChartsSpec()
    tags: Mapping[str, str] = Field(default_factory=dict)
    """Put on everything that takes tags."""

    @property
    def partition(self) -> str:
        """The part of an ARN after `arn:`."""
        for start, partition in (("cn-", "aws-cn"), ("us-gov-", "aws-us-gov")):
            if self.region.startswith(start):
                return partition
        return "aws"

    def has(self, kind: PoolKind) -> bool:
        """Whether a pool of this kind is declared."""
        return any(pool.kind == kind for pool in self.pools.values())


_SECTIONS: Final[Mapping[str, type[Spec]]] = {
    "": AwsSpec,
    "network": NetworkSpec,
    "network.existing": ExistingNetworkSpec,
    "cluster": ClusterSpec,
    "cluster.existing": ExistingClusterSpec,
    "cluster.system": SystemNodesSpec,
    "identities": IdentitySpec,
    "ingress": AwsIngressSpec,
    "storage": StorageSpec,
    "charts": ChartsSpec,
    "charts.<NAME>": ChartSpec,
    "pools.<NAME>.capacity": CapacitySpec,
}


_STAND_INS: Final = {"name": "placeholder", "region": "us-east-1", "account": "0" * 12}
"""For the required fields where they are wrong, so that the rules between others are still checked."""


def parse_aws(name: str, args: Mapping[str, Any]) -> AwsSpec:
    """The spec of a platform on AWS. Raises SpecError with every problem."""
    raw = {key: value for key, value in args.items() if value is not None}
    spec, errors, wrong = validated(AwsSpec, {**raw, "name": name}, _STAND_INS)
    found = translate([_without_tag(error) for error in errors], _known(errors))
    problems = [*found, *broken(AWS_RULES, spec, wrong)]
    if problems:
        raise SpecError(f'AWS platform "{name}"', problems)
    return spec


def _known(errors: Iterable[ErrorDetails]) -> dict[str, frozenset[str]]:
    """Field names of each section by its path; of a pool, those of its kind."""
    known = {section: frozenset(model.model_fields) for section, model in _SECTIONS.items()}
    known[""] -= {"name"}
    for loc in (error["loc"] for error in errors):
        if _is_of_pool(loc):
            known[f"pools.{loc[1]}"] = frozenset(POOLS[PoolKind(str(loc[2]))].model_fields)
    return known


_TAG_ERRORS: Final = ("union_tag_invalid", "union_tag_not_found")


def _is_of_pool(loc: tuple[int | str, ...]) -> bool:
    return loc[:1] == ("pools",) and len(loc) > 2 and loc[2] in tuple(PoolKind)


def _without_tag(found: ErrorDetails) -> ErrorDetails:
    """An error of a pool, located as one writes it: pydantic puts the kind into the path."""
    loc = found["loc"]
    if found["type"] in _TAG_ERRORS:
        given = found["input"].get("kind") if isinstance(found["input"], Mapping) else found["input"]
        missing = found["type"] == "union_tag_not_found"
        if missing and isinstance(found["input"], Mapping):
            return {**found, "type": "missing", "loc": (*loc, "kind")}
        context = {"rule": "not a kind of pool", "remedy": "choose managed, karpenter or auto"}
        return {**found, "type": "holdfast", "loc": (*loc, "kind"), "input": given, "ctx": context}
    if _is_of_pool(loc):
        return {**found, "loc": (*loc[:2], *loc[3:])}
    return found
