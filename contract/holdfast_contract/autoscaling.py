"""What decides how many replicas run: one pure function, shared by the scaler and by the replay of the
preview.

Imports the standard library only. The Horizontal Pod Autoscaler (HPA) does the arithmetic between 1 and
`max_replicas`, and ignores every change of at most 10 %. `decide` therefore does not report demand but a
value that leads the HPA to the wanted number; `hpa_replicas` is the HPA's formula, to prove that and to
replay traces.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Protocol

KEDA_POLLING_INTERVAL_S: Final = 5
"""`pollingInterval` of every ScaledObject: how late KEDA may notice that an endpoint is idle."""
KEDA_COOLDOWN_S: Final = 0
"""`cooldownPeriod`: the idle timer is the scaler's, exact; KEDA's own would miss requests between two
polls."""
HPA_SYNC_S: Final = 15
"""How often the HPA looks (kube-controller-manager's default; managed clusters do not let it be changed)."""
HPA_TOLERANCE: Final = 0.1
"""Relative change that the HPA ignores (kube-controller-manager's default)."""
METRIC_NAME: Final = "replicas"
"""The one metric that the scaler reports; KEDA prefixes it with the trigger's index."""
METRIC_TARGET: Final = 1.0
"""Average value per replica that the HPA aims at; the trigger's `metricType` stays AverageValue, KEDA's
default."""
TRIGGER_ENDPOINT: Final = "endpoint"
"""Key in the trigger's metadata: the endpoint's name."""
TRIGGER_TOLERANCE: Final = "tolerance"
"""Key in the trigger's metadata: the HPA's tolerance for this object, decimal text, where the ScaledObject
sets one (`behavior.scaleUp.tolerance` and `scaleDown.tolerance`, honoured from Kubernetes 1.35); missing:
0.1."""
NEVER: Final = 0.0
"""`last_activity_at` of an endpoint that certainly had no request yet."""

_MILLI: Final = 1000
"""KEDA and the HPA carry values in thousandths."""


class ScalingSettings(Protocol):
    """What the decision needs of an endpoint's scaling; the document's and the spec's `Scaling` both fit."""

    @property
    def min_replicas(self) -> int:
        """Replicas that always run; 0: none while idle."""

    @property
    def max_replicas(self) -> int:
        """The most that run at a time; at least 1."""

    @property
    def timeout_s(self) -> int:
        """Seconds without a request until the endpoint goes down to `min_replicas`."""

    @property
    def concurrency(self) -> int:
        """Requests that one replica serves at a time; at least 1."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What KEDA is told of an endpoint."""

    active: bool
    """Whether at least one replica is to run. False: `min_replicas`."""
    desired: int
    """Replicas that the demand asks for: ceil(demand / concurrency), at most `max_replicas`; 0 without
    demand."""
    metric_milli: int
    """The metric's value in thousandths, against a target of 1 per replica."""

    @property
    def metric(self) -> float:
        """The metric's value as KEDA's protocol carries it."""
        return self.metric_milli / _MILLI


def decide(
    *,
    demand: int,
    last_activity_at: float | None,
    now: float,
    scaling: ScalingSettings,
    paused: bool = False,
    tolerance: float = HPA_TOLERANCE,
) -> Decision:
    """What to tell KEDA.

    `demand`: requests waiting and running. `last_activity_at`: Unix seconds of the last moment at which a
    request was there; `NEVER` where there was none; None where it cannot be known, which counts as now, so
    that nothing is ever switched off on missing information. `now`: Unix seconds. `tolerance`: the HPA's,
    see `metric_milli`.

    An endpoint is idle from exactly `timeout_s` seconds after its last activity on. A paused one is inactive
    whatever its demand. Raises ValueError for a negative demand and for a tolerance outside [0, 0.5].
    """
    if demand < 0:
        raise ValueError(f"demand is {demand}, below 0: count waiting and running requests")
    if paused:
        return Decision(active=False, desired=0, metric_milli=0)
    desired = desired_replicas(demand, scaling)
    recent = last_activity_at is None or now - last_activity_at < scaling.timeout_s
    return Decision(
        active=demand > 0 or recent or scaling.min_replicas > 0,
        desired=desired,
        metric_milli=metric_milli(desired, tolerance=tolerance),
    )


def desired_replicas(demand: int, scaling: ScalingSettings) -> int:
    """ceil(demand / concurrency), at most `max_replicas`."""
    return min(-(-demand // scaling.concurrency), scaling.max_replicas)


def metric_milli(desired: int, *, tolerance: float = HPA_TOLERANCE) -> int:
    """The value, in thousandths, that leads the HPA to `desired` replicas from any other number.

    The HPA keeps its replicas r while value / r lies within 1 ± tolerance, and else takes ceil(value). Hence:

    - from below, the hardest start is r = desired - 1: the value must exceed (1 + tolerance) * (desired - 1);
    - from above, it is r = desired + 1: the value must lie under (1 - tolerance) * (desired + 1);
    - ceil(value) is `desired` for values in (desired - 1, desired].

    Where all three can be had, the value is the middle of what is allowed and the HPA lands exactly on
    `desired` from everywhere; with the default tolerance that is up to 9 replicas, with tolerance 0 always.
    Beyond, going up comes first, for a request waits otherwise: up to 10 it is exact upwards, and above it
    exceeds `desired` by at most tolerance * (desired - 1): no value at all makes the HPA go from 10 to 11,
    12 is the least that it does. `max_replicas` still caps it.

    Raises ValueError for a negative number and for a tolerance outside [0, 0.5].
    """
    if desired < 0:
        raise ValueError(f"desired is {desired}, below 0: a number of replicas is at least 0")
    if not 0 <= tolerance <= 0.5:
        raise ValueError(f"tolerance is {tolerance}, outside 0 to 0.5: 0.1 is the autoscaler's default")
    if desired == 0:
        return 0
    # One thousandth of a thousandth off each bound: 1.1 * 10 is not exactly 11 in binary.
    above = math.floor((1 + tolerance) * (desired - 1) * _MILLI + 1e-3) + 1
    below = math.ceil((1 - tolerance) * (desired + 1) * _MILLI - 1e-3) - 1
    exact = desired * _MILLI
    if above <= min(below, exact):
        return (above + min(below, exact)) // 2 if tolerance else exact
    return max(above, exact)


def hpa_replicas(
    current: int,
    value_milli: int,
    scaling: ScalingSettings,
    *,
    tolerance: float = HPA_TOLERANCE,
) -> int:
    """What the HPA makes of `current` replicas and a metric value: its formula for an external metric with an
    average value of 1 per replica, then its bounds.

    As in Kubernetes 1.34 (`podautoscaler/replica_calculator.go`: `GetExternalPerPodMetricReplicas`,
    `Tolerances.isWithin`). Below 1 it does nothing: 0 → 1 is KEDA's part, and KEDA gives it a minimum of at
    least 1.
    """
    if current == 0:
        return 0
    ratio = value_milli / (METRIC_TARGET * _MILLI * current)
    proposed = current
    if not 1.0 - tolerance <= ratio <= 1.0 + tolerance:
        proposed = math.ceil(value_milli / (METRIC_TARGET * _MILLI))
    return max(min(proposed, scaling.max_replicas), max(scaling.min_replicas, 1))
