"""What Karpenter is told before AWS takes a machine away: a queue, and the events that go into it.

With it, a node that will be gone in two minutes is drained and another is started at once; without it, the node is
simply gone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from pulumi_holdfast.plan.aws.resource import Planned, document, out, tags
from pulumi_holdfast.spec.aws import AwsSpec
from pulumi_holdfast.spec.aws_pools import PoolKind

KEPT_S: Final = 300
"""A notice is worth two minutes; Karpenter's own template keeps it five."""
EVENTS: Final[Mapping[str, tuple[str, str]]] = {
    "health": ("aws.health", "AWS Health Event"),
    "spot": ("aws.ec2", "EC2 Spot Instance Interruption Warning"),
    "rebalance": ("aws.ec2", "EC2 Instance Rebalance Recommendation"),
    "state": ("aws.ec2", "EC2 Instance State-change Notification"),
}
"""Source and kind of each event that Karpenter reads."""


def queue_name(spec: AwsSpec) -> str:
    """The queue's name, known before it exists."""
    return f"{spec.name}-{spec.region}-interruptions"


def interruptions(spec: AwsSpec) -> list[Planned]:
    """Queue, its policy, and a rule for each kind of event; nothing without a pool of Karpenter's."""
    if not spec.has(PoolKind.KARPENTER):
        return []
    planned = [
        Planned(
            "interruptions",
            "aws:sqs/queue:Queue",
            {
                "name": queue_name(spec),
                "messageRetentionSeconds": KEPT_S,
                "sqsManagedSseEnabled": True,
                "tags": tags(spec, "interruptions"),
            },
        ),
        Planned(
            "interruptions-policy",
            "aws:sqs/queuePolicy:QueuePolicy",
            {"queueUrl": out("interruptions", "url"), "policy": _policy(spec)},
        ),
    ]
    for name, (source, kind) in EVENTS.items():
        planned += _rule(spec, f"interruptions-{name}", source, kind)
    return planned


def _rule(spec: AwsSpec, child: str, source: str, kind: str) -> list[Planned]:
    pattern: dict[str, Any] = {"source": [source], "detail-type": [kind]}
    return [
        Planned(
            child,
            "aws:cloudwatch/eventRule:EventRule",
            {"name": f"{spec.name}-{child}"[:64], "eventPattern": json.dumps(pattern)},
        ),
        Planned(
            f"{child}-target",
            "aws:cloudwatch/eventTarget:EventTarget",
            {"rule": out(child, "name"), "targetId": "karpenter", "arn": out("interruptions", "arn")},
        ),
    ]


def _policy(spec: AwsSpec) -> str:
    """EventBridge alone may write, and from this account alone; nobody without TLS."""
    queue = f"arn:{spec.partition}:sqs:{spec.region}:{spec.account}:{queue_name(spec)}"
    return document(
        [
            {
                "Sid": "Events",
                "Effect": "Allow",
                "Principal": {"Service": "events.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": queue,
                "Condition": {"StringEquals": {"aws:SourceAccount": spec.account}},
            },
            {
                "Sid": "TlsOnly",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "sqs:*",
                "Resource": queue,
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            },
        ]
    )
