"""How long an endpoint's first request after a pause waits, by phase, from declared or measured sizes.

Every figure has a source; a phase without one says so instead of guessing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from holdfast_contract.document import PhaseEstimate
from pulumi_holdfast.plan.replay import Startup
from pulumi_holdfast.spec.endpoint import EndpointSpec

GPU_NODE_S: Final = (80.0, 120.0)
"""A new GPU machine on AWS until it takes pods (Karpenter and EKS reports; see "Others' trouble" in kserve#1247)."""
PULL_S_PER_GB: Final = (12.0, 24.0)
"""15–20 GB take 4–6 minutes (AWS containers blog on SOCI): 240 s / 20 GB to 360 s / 15 GB, compressed."""
PARALLEL_PULL_SHARE: Final = (0.4, 0.5)
"""What is left of it with parallel pull and unpack (karpenter-blueprints: 50–60 % less)."""
LOAD_S_PER_GB: Final = (0.15, 3.0)
"""Weights into GPU memory: 140 GB streamed from S3 in 20 s (Anyscale) to 16 GB from gp3 in 48 s (NVIDIA)."""
SIZE_TOLERANCE: Final = 0.25
"""A declared size may be this far off before a preview tells it: images grow between two releases."""


@dataclass(frozen=True, slots=True)
class ColdStart:
    """The estimate of an endpoint."""

    phases: tuple[PhaseEstimate, ...]

    @property
    def low_s(self) -> float:
        """All known phases at their fastest."""
        return sum(phase.low_s or 0.0 for phase in self.phases)

    @property
    def high_s(self) -> float:
        """All known phases at their slowest."""
        return sum(phase.high_s or 0.0 for phase in self.phases)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Phases without a figure."""
        return tuple(phase.phase for phase in self.phases if phase.low_s is None)

    def as_startup(self) -> Startup:
        """As a replay takes it: every known phase at its fastest."""
        low = {phase.phase: phase.low_s for phase in self.phases}
        return Startup.estimated(node_s=low.get("node"), pull_s=low.get("pull"), load_s=low.get("load"))

    def as_output(self) -> dict[str, Any]:
        """As a stack output."""
        return {
            "low_s": self.low_s,
            "high_s": self.high_s,
            "phases": [phase.model_dump() for phase in self.phases],
        }

    def text(self) -> str:
        """One line for people."""
        parts = [
            f"{phase.phase} {phase.low_s:.0f}–{phase.high_s:.0f} s"
            if phase.low_s is not None and phase.high_s is not None
            else f"{phase.phase} unknown ({phase.why})"
            for phase in self.phases
        ]
        return (
            f"a cold start takes at least {self.low_s:.0f}–{self.high_s:.0f} s: {', '.join(parts)}; "
            "`holdfast status` shows the last real one beside it"
        )


def estimate(
    spec: EndpointSpec, *, image_bytes: int | None = None, parallel_pull: bool | None = None
) -> ColdStart:
    """The estimate for a replica whose machine does not run yet and has never seen the image.

    `image_bytes`: compressed, as the registry tells; None: as declared. `parallel_pull`: whether nodes pull with SOCI's
    parallel mode; None: not known, so that the figures reach from the fastest with it to the slowest without.
    """
    image_gb = spec.sizes.image_gb if image_bytes is None else image_bytes / 1e9
    return ColdStart((_node(spec), _pull(image_gb, parallel_pull), _load(spec), _ready()))


def _node(spec: EndpointSpec) -> PhaseEstimate:
    if not spec.hardware.gpus:
        return PhaseEstimate(phase="node", why="no figure for machines without a GPU")
    low, high = GPU_NODE_S
    return PhaseEstimate(phase="node", low_s=low, high_s=high, why="a new GPU machine on AWS")


def _pull(image_gb: float | None, parallel: bool | None) -> PhaseEstimate:
    if image_gb is None:
        return PhaseEstimate(
            phase="pull", why="the image's size is not known: declare it with sizes.image_gb"
        )
    low, high = (rate * image_gb for rate in PULL_S_PER_GB)
    if parallel is not False:
        low *= PARALLEL_PULL_SHARE[0]
    if parallel:
        high *= PARALLEL_PULL_SHARE[1]
    return _known("pull", low, high, f"{image_gb:.2g} GB compressed")


def _load(spec: EndpointSpec) -> PhaseEstimate:
    weights_gb = spec.sizes.weights_gb
    if weights_gb is None:
        return PhaseEstimate(
            phase="load", why="the weights' size is not known: declare it with sizes.weights_gb"
        )
    low, high = (rate * weights_gb for rate in LOAD_S_PER_GB)
    # A new machine's cache is empty, and how fast a server fills it is its own and its source's affair.
    fetched = ", fetching them into the cache not counted" if spec.cache else ""
    return _known("load", low, high, f"{weights_gb:.2g} GB of weights{fetched}")


def _known(phase: Literal["pull", "load"], low_s: float, high_s: float, why: str) -> PhaseEstimate:
    return PhaseEstimate(phase=phase, low_s=round(low_s, 1), high_s=round(high_s, 1), why=why)


def _ready() -> PhaseEstimate:
    return PhaseEstimate(phase="ready", why="only a real start tells")


def size_differs(spec: EndpointSpec, image_bytes: int) -> str | None:
    """What is wrong where the declared size of the image is far from what the registry tells; None: it is near, or
    none is declared."""
    declared_gb, real_gb = spec.sizes.image_gb, image_bytes / 1e9
    if declared_gb is None or abs(declared_gb - real_gb) <= SIZE_TOLERANCE * real_gb:
        return None
    return (
        f"sizes.image_gb is {declared_gb:g}, more than {SIZE_TOLERANCE:.0%} off the {real_gb:.2g} GB that the registry "
        f"tells: declare {real_gb:.2g}"
    )


def beyond_budget(spec: EndpointSpec, start: ColdStart) -> str | None:
    """What is wrong where even the fastest start is past the budget; None: nothing that is known."""
    budget = spec.scaling.startup_budget_s
    if not spec.hardware.gpus or start.low_s < budget:
        return None
    known = ", ".join(f"{p.phase} {p.low_s:.0f} s" for p in start.phases if p.low_s)
    return (
        f"scaling.startup_budget_s is {budget}, not above the {start.low_s:.0f} s that a cold start takes at least "
        f"({known}): raise it, or keep a replica with min_replicas=1"
    )
