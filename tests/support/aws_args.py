"""Declarations of a platform on AWS that tests start from."""

from __future__ import annotations

from typing import Any

ROLE = "arn:aws:iam::123456789012:role/deploy"
ADDONS = {
    "aws-ebs-csi-driver": "v1.55.0-eksbuild.1",
    "coredns": "v1.13.1-eksbuild.1",
    "eks-pod-identity-agent": "v1.3.10-eksbuild.2",
    "kube-proxy": "v1.35.0-eksbuild.2",
    "vpc-cni": "v1.21.1-eksbuild.1",
}
"""In the form of real ones; that these exist was not looked up."""


def aws_args(**changes: Any) -> dict[str, Any]:
    """A small platform with one managed pool; `changes` replace whole sections, and None removes one."""
    args: dict[str, Any] = {
        "region": "us-east-1",
        "account": "123456789012",
        "network": {"zones": ("us-east-1a", "us-east-1b")},
        "cluster": {"version": "1.35", "addons": dict(ADDONS), "admins": (ROLE,)},
        "pools": {"l4": {"kind": "managed", "instance_types": ("g6.xlarge", "g5.xlarge")}},
        "identities": {"secrets": ("acme/ghcr",)},
        "ingress": {"domain": "gpu.example.com", "zone_id": "Z0123456789ABC"},
        **changes,
    }
    return {key: value for key, value in args.items() if value is not None}


def cluster_args(**changes: Any) -> dict[str, Any]:
    """The cluster's section with some fields changed."""
    return {**aws_args()["cluster"], **changes}
