"""Every wrong declaration of a platform on AWS is told with path, value, rule and remedy."""

from __future__ import annotations

from typing import Any

import pytest
from aws_args import ROLE, aws_args, cluster_args

from pulumi_holdfast.plan.aws.platform import plan_aws
from pulumi_holdfast.spec.aws import parse_aws
from pulumi_holdfast.spec.problems import SpecError

L4 = {"kind": "managed", "instance_types": ("g6.xlarge",)}
KARPENTER = {"kind": "karpenter", "instance_types": ("g6.xlarge",), "ami_alias": "al2023@v20251120"}
NETWORK = {"vpc_id": "vpc-1", "private_subnet_ids": ("subnet-1", "subnet-2")}


def pools(**fields: Any) -> dict[str, Any]:
    """The managed pool with some fields changed."""
    return {"pools": {"l4": {**L4, **fields}}}


def ingress(**fields: Any) -> dict[str, Any]:
    """The way in with some fields changed."""
    return {"ingress": {**aws_args()["ingress"], **fields}}


WRONG: list[tuple[dict[str, Any], str]] = [
    (
        {"region": "virginia"},
        'region is "virginia", not a region: write it as AWS does, such as us-east-1',
    ),
    ({"account": "1234"}, 'account is "1234", not an account number: write its 12 digits in quotes'),
    ({"reigon": "x"}, "reigon is (hidden), an unknown field: did you mean region?"),
    (
        {"network": {"zones": ("us-east-1a",)}},
        "network.zones is ['us-east-1a'], not between two and six zones: "
        "name them, such as us-east-1a and us-east-1b",
    ),
    (
        {"network": {"zones": ("us-east-1a", "us-east-1a")}},
        'network.zones[1] is "us-east-1a", named twice: leave one out',
    ),
    (
        {"network": {"zones": ("us-east-1a", "eu-west-1b")}},
        'network.zones[1] is "eu-west-1b", not a zone of us-east-1: write such as us-east-1a',
    ),
    (
        {"network": {"zones": ("us-east-1a", "us-east-1b"), "cidr": "10.0.0.0/24"}},
        'network.cidr is "10.0.0.0/24", a network of /24: take one between /16 and /19: see the guide',
    ),
    (
        {"network": {"zones": ("us-east-1a", "us-east-1b"), "cidr": "10.0.0.1/16"}},
        'network.cidr is "10.0.0.1/16", not an IPv4 network: write its first address and length, such as 10.0.0.0/16',
    ),
    (
        {"network": {"zones": ("us-east-1a", "us-east-1b"), "nat": "two"}},
        'network.nat is "two", not one of the choices: choose one of none, one, per-zone',
    ),
    (
        {"network": {"zones": ("us-east-1a", "us-east-1b"), "endpoint": ()}},
        "network.endpoint is (hidden), an unknown field: did you mean endpoints?",
    ),
    (
        {"network": {"existing": NETWORK, "cidr": "10.0.0.0/16"}, "ingress": {"kind": "none"}},
        'network.cidr is "10.0.0.0/16", beside an existing network: leave it out',
    ),
    (
        {"network": {"existing": {**NETWORK, "vpc_id": "main"}}},
        'network.existing.vpc_id is "main", not the id of a VPC: it begins with vpc-',
    ),
    (
        {"network": {"existing": NETWORK}},
        "network.existing.public_subnet_ids is [], too few for a load balancer that faces the internet: "
        "give two in different zones, or set ingress.internal",
    ),
    (
        {"cluster": cluster_args(version="1.35.1")},
        'cluster.version is "1.35.1", not a minor version of Kubernetes: write it in quotes, such as "1.35"',
    ),
    (
        {"cluster": cluster_args(version=None)},
        'cluster.version is missing, required for a new cluster: declare one, such as "1.35"',
    ),
    (
        {
            "cluster": cluster_args(
                addons={k: "v1" for k in aws_args()["cluster"]["addons"] if k != "coredns"}
            )
        },
        "cluster.addons.coredns is missing, required: pin what `aws eks describe-addon-versions --addon-name coredns "
        "--kubernetes-version 1.35` lists",
    ),
    (
        {"cluster": cluster_args(admins=())},
        "cluster.admins is missing, required for a new cluster: "
        "name the IAM role that runs Pulumi, and the people's",
    ),
    (
        {"cluster": cluster_args(admins=("deploy",))},
        'cluster.admins[0] is "deploy", not an ARN: copy it whole, from arn: on',
    ),
    (
        {"cluster": cluster_args(viewers=(ROLE,))},
        f'cluster.viewers[0] is "{ROLE}", also among cluster.admins: '
        "a principal has one entry: leave it out of one",
    ),
    (
        {"cluster": cluster_args(log_days=80)},
        "cluster.log_days is 80, not a number CloudWatch takes: take 90",
    ),
    (
        {"cluster": cluster_args(system={"min_nodes": 7})},
        "cluster.system.min_nodes is 7, above max_nodes=6: lower it or raise max_nodes",
    ),
    (
        pools(kind="spot"),
        'pools.l4.kind is "spot", not a kind of pool: choose managed, karpenter or auto',
    ),
    (
        {"pools": {"l4": {"instance_types": ("g6.xlarge",)}}},
        "pools.l4.kind is missing, required: declare it",
    ),
    (
        {"pools": {"l4": {"kind": "karpenter", "instance_types": ("g6.xlarge",)}}},
        "pools.l4.ami_alias is missing, required: declare it",
    ),
    (
        {"pools": {"l4": {**KARPENTER, "ami_alias": "al2023@latest"}}},
        'pools.l4.ami_alias is "al2023@latest", not pinned: name the version, such as al2023@v20251120: '
        "@latest replaces every node on a release",
    ),
    (
        {"pools": {"l4": {**KARPENTER, "ami_alias": "al2023@v20250801"}}},
        'pools.l4.ami_alias is "20250801", too old for the parallel pull, which it would ignore silently: use an '
        "AL2023 AMI after 20250821 or Bottlerocket 1.44 and later, or set parallel_pull=False",
    ),
    (
        pools(image="bottlerocket", release="1.43.0-1a2b3c4d"),
        'pools.l4.release is "1.43.0", too old for the parallel pull, which it would ignore silently: use an '
        "AL2023 AMI after 20250821 or Bottlerocket 1.44 and later, or set parallel_pull=False",
    ),
    (
        {"pools": {"L4": L4}},
        'pools.L4 is "L4", not a pool\'s name: use at most 30 lower-case letters, digits and -',
    ),
    (
        pools(max_nodes=0),
        "pools.l4.max_nodes is 0, below 1: use 1 or more",
    ),
    (
        pools(warm_spare=5),
        "pools.l4.warm_spare is 5, above max_nodes=4: lower it or raise max_nodes",
    ),
    (
        pools(instance_types=("m7i.large",)),
        'pools.l4.instance_types[0] is "m7i.large", a machine without a GPU: choose one with GPUs for a GPU pool',
    ),
    (
        pools(instance_types=("g9.xlarge",)),
        'pools.l4.instance_types[0] is "g9.xlarge", not in the price table: '
        "declare gpus_per_node, or choose a listed type",
    ),
    (
        pools(instance_types=("g6.xlarge", "g6.12xlarge")),
        'pools.l4.instance_types is "g6.xlarge, g6.12xlarge", of different GPU counts in one managed node group: '
        "make a pool for each count: the autoscaler takes all nodes of a group for alike",
    ),
    (
        pools(instance_types=()),
        "pools.l4.instance_types is (), empty: give at least one, or leave the field out",
    ),
    (
        pools(disk_throughput_mib_s=125),
        "pools.l4.disk_throughput_mib_s is 125, below 600, where the parallel pull is slower than the ordinary one: "
        "raise it to 600, or set parallel_pull=False",
    ),
    (
        pools(capacity={"kind": "reservation"}),
        "pools.l4.capacity.reservations is missing, required with kind=reservation: give the reservation's id",
    ),
    (
        pools(capacity={"reservations": ("cr-0123456789abcdef0",)}),
        "pools.l4.capacity.reservations is ['cr-0123456789abcdef0'], without effect with kind=on-demand: "
        "set kind to reservation or block, or leave it out",
    ),
    (
        pools(zones=("us-east-1f",)),
        'pools.l4.zones[0] is "us-east-1f", not a zone of the network: choose among us-east-1a, us-east-1b',
    ),
    (
        ingress(domain="https://gpu.example.com"),
        'ingress.domain is "https://gpu.example.com", not a domain name: '
        "write it in lower case without https:// and without a trailing dot",
    ),
    (ingress(domain=None), "ingress.domain is missing, required: declare it, or take kind none"),
    (
        ingress(zone_id=None),
        "ingress.zone_id is missing, required to prove a new certificate: "
        "declare the hosted zone, or bring certificate_arn",
    ),
    (
        ingress(max_request_s=4000),
        "ingress.max_request_s is 4000, not 30 s below the load balancer's longest idle timeout of 4000 s, so a "
        "silent request would be cut off: lower it to 3970, and submit longer work with `Prefer: respond-async`",
    ),
    (
        ingress(kind="nlb"),
        "ingress.max_request_s is 900, not 30 s below the load balancer's longest idle timeout of 350 s, so a "
        "silent request would be cut off: lower it to 320, and submit longer work with `Prefer: respond-async`; "
        "an alb waits longer",
    ),
    (
        ingress(kind="nlb", tls_secret="gpu-tls", max_request_s=6000),
        "ingress.max_request_s is 6000, not 30 s below the load balancer's longest idle timeout of 6000 s, so a "
        "silent request would be cut off: lower it to 5970, and submit longer work with `Prefer: respond-async`",
    ),
    (
        ingress(tls_secret="gpu-tls"),
        'ingress.tls_secret is "gpu-tls", beside kind alb, which passes no TLS through: '
        "take kind nlb, or leave it out",
    ),
    (
        {"ingress": {"kind": "none", "tls_secret": "gpu-tls"}},
        'ingress.tls_secret is "gpu-tls", beside kind none, which passes no TLS through: '
        "take kind nlb, or leave it out",
    ),
    (
        ingress(
            kind="nlb",
            tls_secret="gpu-tls",
            certificate_arn="arn:aws:acm:us-east-1:123456789012:certificate/1",
        ),
        'ingress.certificate_arn is "arn:aws:acm:us-east-1:123456789012:certificate/1", beside ingress.tls_secret, '
        "with which the gateway ends TLS: leave one of the two out",
    ),
    (
        {"identities": {"secrets": ("acme/db-AbCdEf",)}},
        'identities.secrets[0] is "acme/db-AbCdEf", a name that ends like an ARN\'s random suffix: '
        "give the whole ARN, so that the policy cannot name another secret",
    ),
    (
        {"identities": {"secrets": ("arn:aws:s3:::acme",)}},
        'identities.secrets[0] is "arn:aws:s3:::acme", not the ARN of a secret: '
        "use one of secretsmanager, or the name",
    ),
    (
        {"charts": {"keda": {"instal": False}}},
        "charts.keda.instal is (hidden), an unknown field: did you mean install?",
    ),
    (
        pools(image_="al2023"),
        "pools.l4.image_ is (hidden), an unknown field: did you mean image?",
    ),
    (
        pools(ami_alias="al2023@v20251120"),
        "pools.l4.ami_alias is (hidden), an unknown field: choose one of capacity, disk_gib, disk_iops, "
        "disk_throughput_mib_s, gpus_per_node, image, instance_types, kind, labels, max_nodes, parallel_pull, "
        "prepull, release, warm_spare, zones",
    ),
    (
        pools(capacity={"kinds": "spot"}),
        "pools.l4.capacity.kinds is (hidden), an unknown field: did you mean kind?",
    ),
    (
        {"charts": {"kedda": {}}},
        "charts.kedda is (hidden), an unknown field: did you mean keda?",
    ),
]


@pytest.mark.parametrize(("changes", "text"), WRONG, ids=[text.partition(" is ")[0] for _, text in WRONG])
def test_a_wrong_declaration_says_path_value_rule_and_remedy(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_aws("gpu", aws_args(**changes))
    assert text in [str(problem) for problem in caught.value.problems]


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        parse_aws("gpu", aws_args(cluster={}, ingress={}, **pools(warm_spare=9)))
    paths = [problem.path for problem in caught.value.problems]
    assert paths == [
        "cluster.version",
        "cluster.addons.aws-ebs-csi-driver",
        "cluster.addons.coredns",
        "cluster.addons.eks-pod-identity-agent",
        "cluster.addons.kube-proxy",
        "cluster.addons.vpc-cni",
        "cluster.admins",
        "pools.l4.warm_spare",
        "ingress.domain",
        "ingress.zone_id",
    ]
    assert str(caught.value).startswith('AWS platform "gpu" has 10 problems:\n')


def test_a_wrong_field_hides_no_rule_between_others() -> None:
    with pytest.raises(SpecError) as caught:
        parse_aws("gpu", aws_args(region=None, account="12", cluster={}, **pools(max_nodes=0)))
    paths = [problem.path for problem in caught.value.problems]
    assert paths[:3] == ["region", "account", "pools.l4.max_nodes"]
    assert {"cluster.version", "cluster.admins"} <= set(paths)
    assert not [path for path in paths if path.startswith("network")]


NAMES = [
    (
        "My_GPU",
        {},
        'name is "My_GPU", not a DNS label of at most 63 characters: use lower-case letters, digits and - inside it',
    ),
    (
        "a" * 16,
        {},
        f'name is "{"a" * 16}", longer than the 15 characters that the load balancer\'s name takes: shorten it',
    ),
    (
        "a" * 28,
        {
            "region": "ap-southeast-1",
            "network": {"zones": ("ap-southeast-1a", "ap-southeast-1b")},
            "ingress": {"kind": "none"},
        },
        f'name is "{"a" * 28}", longer than the 27 characters that a bucket\'s name takes in ap-southeast-1: '
        "shorten it",
    ),
]


@pytest.mark.parametrize(("name", "changes", "text"), NAMES, ids=["characters", "balancer", "bucket"])
def test_a_name_that_aws_would_refuse_is_told(name: str, changes: dict[str, Any], text: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_aws(name, aws_args(**changes))
    assert [str(problem) for problem in caught.value.problems] == [text]


@pytest.mark.parametrize(
    ("longest", "region", "kind"), [(15, "us-east-1", "alb"), (27, "ap-southeast-1", "none")]
)
def test_the_longest_name_fits_whatever_the_plan_makes_of_it(longest: int, region: str, kind: str) -> None:
    zones = (f"{region}a", f"{region}b")
    name = "a" * longest
    way_in = {**aws_args()["ingress"], "kind": kind}
    declared = aws_args(region=region, network={"zones": zones}, ingress=way_in, pools={"l4": KARPENTER})
    planned = plan_aws(parse_aws(name, declared))
    buckets = [one.props["bucket"] for one in planned if one.type == "aws:s3/bucket:Bucket"]
    roles = [one.props["name"] for one in planned if one.type == "aws:iam/role:Role"]
    # Pulumi makes these names of the resource's, a hyphen and seven characters.
    made = [f"{name}-{one.child}-1234567" for one in planned if one.type.startswith("aws:lb/")]
    assert len(buckets) == 2
    assert max(map(len, buckets)) <= 63
    assert len(set(roles)) == len(roles)
    assert all(len(one) <= 32 for one in made if "listener" not in one and "attach" not in one)


def test_existing_capacity_needs_no_spare_and_one_type() -> None:
    reserved = {"kind": "reservation", "reservations": ("cr-0123456789abcdef0", "cr-0123456789abcdef1")}
    with pytest.raises(SpecError) as caught:
        parse_aws(
            "gpu",
            aws_args(**pools(capacity=reserved, warm_spare=1, instance_types=("g6.xlarge", "g5.xlarge"))),
        )
    assert [problem.path for problem in caught.value.problems] == [
        "pools.l4.capacity.reservations",
        "pools.l4.instance_types",
        "pools.l4.warm_spare",
    ]
