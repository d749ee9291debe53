"""The chain of timeouts: each link must outlast the one before it, and an inconsistent chain names both ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from holdfast_contract import names
from holdfast_contract.messages import ACK_WAIT_S, PROGRESS_INTERVAL_S
from pulumi_holdfast.spec.endpoint import EndpointSpec
from pulumi_holdfast.spec.problems import Problem
from pulumi_holdfast.spec.scaling import ScalingSpec

DRAIN_MARGIN_S: Final = 30
"""What a stopping replica gets beyond its longest request: storing the result, confirming, leaving."""
CLIENT_TIMEOUT_S: Final = 600
"""What OpenAI-style clients wait by default."""
HPA_WINDOW_LIMIT_S: Final = 3600
"""The longest stabilisation window that Kubernetes accepts."""


@dataclass(frozen=True, slots=True)
class Link:
    """`shorter` must be below `longer`."""

    shorter: str
    shorter_s: float
    longer: str
    longer_s: float
    why: str
    remedy: str

    @property
    def holds(self) -> bool:
        """Whether the longer one outlasts the shorter one."""
        return self.shorter_s < self.longer_s


def grace_s(scaling: ScalingSpec) -> int:
    """How long a replica that is told to stop may take: its longest request and a margin."""
    return scaling.max_request_s + DRAIN_MARGIN_S


def scale_down_window_s(scaling: ScalingSpec) -> int:
    """How long the autoscaler looks back before it removes replicas above the floor."""
    return min(scaling.timeout_s, HPA_WINDOW_LIMIT_S)


def progress_deadline_s(scaling: ScalingSpec) -> int:
    """When a rollout counts as stuck: the startup budget, and time for the pod to be made."""
    return scaling.startup_budget_s + DRAIN_MARGIN_S


def chain(spec: EndpointSpec, load_balancer_idle_s: int | None = None) -> tuple[Link, ...]:
    """Every pair of timeouts that depend on each other. `load_balancer_idle_s`: None without one."""
    scaling = spec.scaling
    links = [
        Link(
            "the worker's sign of life, three times",
            3 * PROGRESS_INTERVAL_S - 1,
            "the queue's ack_wait",
            ACK_WAIT_S,
            "a busy worker would lose its request",
            "set by the product",
        ),
        Link(
            "scaling.max_request_s",
            scaling.max_request_s,
            "the replica's termination grace",
            grace_s(scaling),
            "a stopping replica would be killed at work",
            "set by the product; do not override terminationGracePeriodSeconds",
        ),
        Link(
            "scaling.max_request_s",
            scaling.max_request_s,
            "the queue's max_age",
            names.RETENTION_S,
            "a request would be dropped before its deadline",
            "lower scaling.max_request_s",
        ),
        Link(
            "the startup budget",
            scaling.startup_budget_s,
            "the rollout's progress deadline",
            progress_deadline_s(scaling),
            "a rollout would count as stuck while a machine is still on its way",
            "set by the product; do not override progressDeadlineSeconds",
        ),
    ]
    if scaling.min_replicas == 0:
        links.append(
            Link(
                "scaling.startup_budget_s",
                scaling.startup_budget_s,
                "scaling.max_request_s",
                scaling.max_request_s,
                "the request that wakes the endpoint may pass its deadline first",
                "lower startup_budget_s, raise max_request_s, or keep a replica",
            )
        )
    if load_balancer_idle_s is not None:
        links.append(
            Link(
                "scaling.max_request_s",
                scaling.max_request_s,
                "the load balancer's idle timeout",
                load_balancer_idle_s,
                "a silent synchronous request would be cut off while it works",
                "raise the idle timeout, lower max_request_s, or call with `Prefer: respond-async`",
            )
        )
    return tuple(links)


def broken_links(spec: EndpointSpec, load_balancer_idle_s: int | None = None) -> list[Problem]:
    """The links that do not hold, as problems that name both ends."""
    return [
        Problem(
            link.shorter,
            f"{link.shorter_s:g} s",
            f"not below {link.longer} of {link.longer_s:g} s, so {link.why}",
            link.remedy,
        )
        for link in chain(spec, load_balancer_idle_s)
        if not link.holds
    ]


def notes(spec: EndpointSpec) -> list[str]:
    """What holds, but deserves to be known."""
    longest = spec.scaling.max_request_s
    if longest > CLIENT_TIMEOUT_S:
        return [
            f"scaling.max_request_s is {longest}: OpenAI-style clients give up after {CLIENT_TIMEOUT_S} s by "
            "default; raise theirs or submit with `Prefer: respond-async`"
        ]
    return []
