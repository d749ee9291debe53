"""Rules between the fields of a platform on AWS."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pulumi_holdfast.spec.aws_pools import pool_problems
from pulumi_holdfast.spec.problems import Problem, problem
from pulumi_holdfast.spec.validate import Rule

if TYPE_CHECKING:
    from pulumi_holdfast.spec.aws import AwsIngressSpec, AwsSpec

MARGIN_S: Final = 30
"""What the load balancer's idle timeout has beyond the longest request."""
ALB_IDLE_MAX_S: Final = 4000
NLB_TLS_IDLE_S: Final = 350
"""Fixed by AWS for TLS listeners."""
NLB_TCP_IDLE_MIN_S: Final = 60
NLB_TCP_IDLE_MAX_S: Final = 6000
"""What AWS accepts for TCP listeners."""
ADDONS: Final = ("aws-ebs-csi-driver", "coredns", "eks-pod-identity-agent", "kube-proxy", "vpc-cni")
"""The add-ons of a cluster that we make; each has a pinned version."""
_BUCKET_CHARS: Final = 63
_BALANCER_CHARS: Final = 32
"""What AWS takes as the name of a bucket and of a load balancer."""
_POOL_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?")
_LOG_DAYS: Final = (
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653
)  # fmt: skip
"""What CloudWatch accepts."""


def _name(spec: AwsSpec) -> list[Problem]:
    """The name begins those of buckets, which carry account and region, and that of the load balancer, to which Pulumi
    adds a hyphen and seven characters. One that is too long would be refused in the middle of an update."""
    limit, reason = (
        _BUCKET_CHARS - len(f"-{spec.account}-{spec.region}-weights"),
        f"a bucket's name takes in {spec.region}",
    )
    balancer = _BALANCER_CHARS - len("-balancer-1234567")
    if spec.ingress.kind != "none" and balancer < limit:
        limit, reason = balancer, "the load balancer's name takes"
    if len(spec.name) <= limit:
        return []
    return [problem("name", spec.name, f"longer than the {limit} characters that {reason}", "shorten it")]


def _network(spec: AwsSpec) -> list[Problem]:
    network = spec.network
    if network.existing is not None:
        extra = sorted(network.model_fields_set - {"existing"})
        return [
            problem(f"network.{field}", getattr(network, field), "beside an existing network", "leave it out")
            for field in extra
        ]
    found = []
    if not 2 <= len(network.zones) <= 6:
        found.append(
            problem(
                "network.zones",
                list(network.zones),
                "not between two and six zones",
                f"name them, such as {spec.region}a and {spec.region}b",
            )
        )
    for index, zone in enumerate(network.zones):
        if zone in network.zones[:index]:
            found.append(problem(f"network.zones[{index}]", zone, "named twice", "leave one out"))
        elif not re.fullmatch(rf"{re.escape(spec.region)}[a-z]", zone):
            found.append(
                problem(
                    f"network.zones[{index}]",
                    zone,
                    f"not a zone of {spec.region}",
                    f"write such as {spec.region}a",
                )
            )
    return found


def _cluster(spec: AwsSpec) -> list[Problem]:
    cluster = spec.cluster
    if cluster.existing is not None:
        extra = sorted(cluster.model_fields_set - {"existing"})
        return [
            problem(f"cluster.{field}", getattr(cluster, field), "beside an existing cluster", "leave it out")
            for field in extra
        ]
    found = []
    if cluster.version is None:
        found.append(
            Problem("cluster.version", "missing", "required for a new cluster", 'declare one, such as "1.35"')
        )
    for name in ADDONS:
        if name not in cluster.addons:
            command = (
                f"aws eks describe-addon-versions --addon-name {name} --kubernetes-version {cluster.version}"
            )
            found.append(
                Problem(f"cluster.addons.{name}", "missing", "required", f"pin what `{command}` lists")
            )
    if not cluster.admins:
        found.append(
            Problem(
                "cluster.admins",
                "missing",
                "required for a new cluster",
                "name the IAM role that runs Pulumi, and the people's",
            )
        )
    found.extend(
        problem(
            f"cluster.viewers[{index}]",
            viewer,
            "also among cluster.admins",
            "a principal has one entry: leave it out of one",
        )
        for index, viewer in enumerate(cluster.viewers)
        if viewer in cluster.admins
    )
    if cluster.log_days not in _LOG_DAYS:
        near = min(_LOG_DAYS, key=lambda days: abs(days - cluster.log_days))
        found.append(
            problem("cluster.log_days", cluster.log_days, "not a number CloudWatch takes", f"take {near}")
        )
    system = cluster.system
    if system.min_nodes > system.max_nodes:
        found.append(
            problem(
                "cluster.system.min_nodes",
                system.min_nodes,
                f"above max_nodes={system.max_nodes}",
                "lower it or raise max_nodes",
            )
        )
    return found


def _pools(spec: AwsSpec) -> list[Problem]:
    found = []
    for name, pool in spec.pools.items():
        if not _POOL_NAME.fullmatch(name):
            found.append(
                problem(
                    f"pools.{name}",
                    name,
                    "not a pool's name",
                    "use at most 30 lower-case letters, digits and -",
                )
            )
        found.extend(pool_problems(name, pool, spec.network.zones))
        if spec.network.existing is not None and pool.zones:
            found.append(
                problem(
                    f"pools.{name}.zones",
                    list(pool.zones),
                    "beside an existing network, whose zones are not known",
                    "leave it out, or give that network's subnets of those zones only",
                )
            )
    return found


def _longest_idle_s(ingress: AwsIngressSpec) -> int:
    if ingress.kind == "alb":
        return ALB_IDLE_MAX_S
    return NLB_TLS_IDLE_S if ingress.tls_secret is None else NLB_TCP_IDLE_MAX_S


def _ingress(spec: AwsSpec) -> list[Problem]:
    ingress = spec.ingress
    found = []
    if ingress.tls_secret is not None and ingress.kind != "nlb":
        found.append(
            problem(
                "ingress.tls_secret",
                ingress.tls_secret,
                f"beside kind {ingress.kind}, which passes no TLS through",
                "take kind nlb, or leave it out",
            )
        )
    if ingress.kind == "none":
        return found
    if ingress.domain is None:
        found.append(Problem("ingress.domain", "missing", "required", "declare it, or take kind none"))
    if ingress.tls_secret is not None and ingress.certificate_arn is not None:
        found.append(
            problem(
                "ingress.certificate_arn",
                ingress.certificate_arn,
                "beside ingress.tls_secret, with which the gateway ends TLS",
                "leave one of the two out",
            )
        )
    if ingress.zone_id is None and ingress.certificate_arn is None and ingress.tls_secret is None:
        found.append(
            Problem(
                "ingress.zone_id",
                "missing",
                "required to prove a new certificate",
                "declare the hosted zone, or bring certificate_arn",
            )
        )
    existing = spec.network.existing
    if existing is not None and not ingress.internal and len(existing.public_subnet_ids) < 2:
        found.append(
            problem(
                "network.existing.public_subnet_ids",
                list(existing.public_subnet_ids),
                "too few for a load balancer that faces the internet",
                "give two in different zones, or set ingress.internal",
            )
        )
    cluster = spec.cluster.existing
    if cluster is not None and not cluster.system_scaling_groups:
        found.append(
            Problem(
                "cluster.existing.system_scaling_groups",
                "missing",
                f"required with ingress.kind={ingress.kind}",
                "name the groups whose nodes run the gateway, or take kind none",
            )
        )
    limit = _longest_idle_s(ingress)
    if ingress.max_request_s + MARGIN_S > limit:
        other = "; an alb waits longer" if limit == NLB_TLS_IDLE_S else ""
        found.append(
            problem(
                "ingress.max_request_s",
                ingress.max_request_s,
                f"not {MARGIN_S} s below the load balancer's longest idle timeout of {limit} s, so a silent request "
                "would be cut off",
                f"lower it to {limit - MARGIN_S}, and submit longer work with `Prefer: respond-async`{other}",
            )
        )
    return found


def _secrets(spec: AwsSpec) -> list[Problem]:
    found = []
    for index, name in enumerate(spec.identities.secrets):
        path = f"identities.secrets[{index}]"
        if name.startswith("arn:"):
            if name.split(":")[2:3] != ["secretsmanager"]:
                found.append(
                    problem(path, name, "not the ARN of a secret", "use one of secretsmanager, or the name")
                )
        elif re.search(r"-[A-Za-z0-9]{6}$", name):
            found.append(
                problem(
                    path,
                    name,
                    "a name that ends like an ARN's random suffix",
                    "give the whole ARN, so that the policy cannot name another secret",
                )
            )
    return found


AWS_RULES: Final[tuple[Rule[AwsSpec], ...]] = (
    Rule(("name", "region", "account", "ingress.kind"), _name),
    Rule(("network", "region"), _network),
    Rule(("cluster",), _cluster),
    Rule(("pools", "network"), _pools),
    Rule(("ingress", "network.existing", "cluster.existing"), _ingress),
    Rule(("identities.secrets",), _secrets),
)
"""In reading order."""
