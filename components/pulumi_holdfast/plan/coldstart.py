"""How long an endpoint's first request after a pause waits, by phase, from declared or measured sizes.

Every figure has a source; a phase without one says so instead of guessing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

from pulumi_holdfast.spec.endpoint import EndpointSpec

GPU_NODE_S: Final = (80.0, 120.0)
"""A new GPU machine on AWS until it takes pods (Karpenter and EKS reports; see "Others' trouble" in kserve#1247)."""
PULL_S_PER_GB: Final = (12.0, 24.0)
"""15–20 GB take 4–6 minutes (AWS containers blog on SOCI): 240 s / 20 GB to 360 s / 15 GB, compressed."""
PARALLEL_PULL_SHARE: Final = (0.4, 0.5)
"""What is left of it with parallel pull and unpack (karpenter-blueprints: 50–60 % less)."""
LOAD_S_PER_GB: Final = (0.15, 3.0)
"""Weights into GPU memory: 140 GB streamed from S3 in 20 s (Anyscale) to 16 GB from gp3 in 48 s (NVIDIA)."""


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase of a cold start."""

    name: str
    """`node`, `pull`, `load` or `ready`."""
    low_s: float | None
    """None: not known."""
    high_s: float | None
    why: str


@dataclass(frozen=True, slots=True)
class ColdStart:
    """The estimate of an endpoint."""

    phases: tuple[Phase, ...]

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
        return tuple(phase.name for phase in self.phases if phase.low_s is None)

    def as_output(self) -> dict[str, Any]:
        """As a stack output."""
        return {
            "low_s": self.low_s,
            "high_s": self.high_s,
            "phases": [asdict(phase) for phase in self.phases],
        }

    def text(self) -> str:
        """One line for people."""
        parts = [
            f"{phase.name} {phase.low_s:.0f}–{phase.high_s:.0f} s"
            if phase.low_s is not None and phase.high_s is not None
            else f"{phase.name} unknown ({phase.why})"
            for phase in self.phases
        ]
        return f"a cold start takes at least {self.low_s:.0f}–{self.high_s:.0f} s: {', '.join(parts)}"


def estimate(
    spec: EndpointSpec,
    *,
    image_bytes: int | None = None,
    weights_bytes: int | None = None,
    parallel_pull: bool = False,
) -> ColdStart:
    """The estimate for a replica whose machine does not run yet and has never seen the image.

    `image_bytes`: compressed, as the registry tells; None: not known. `weights_bytes`: None: not known.
    `parallel_pull`: whether nodes pull with SOCI's parallel mode.
    """
    node = (
        Phase("node", *GPU_NODE_S, "a new GPU machine on AWS")
        if spec.hardware.gpus
        else Phase("node", None, None, "no figure for machines without a GPU")
    )
    return ColdStart((node, _pull(image_bytes, parallel_pull), _load(spec, weights_bytes), _ready()))


def _pull(image_bytes: int | None, parallel: bool) -> Phase:
    if image_bytes is None:
        return Phase("pull", None, None, "the image's size is not known")
    low, high = (rate * image_bytes / 1e9 for rate in PULL_S_PER_GB)
    if parallel:
        low, high = low * PARALLEL_PULL_SHARE[0], high * PARALLEL_PULL_SHARE[1]
    return Phase("pull", round(low, 1), round(high, 1), f"{image_bytes / 1e9:.2g} GB compressed")


def _load(spec: EndpointSpec, weights_bytes: int | None) -> Phase:
    if weights_bytes is None:
        return Phase("load", None, None, "the weights' size is not known")
    low, high = (rate * weights_bytes / 1e9 for rate in LOAD_S_PER_GB)
    return Phase("load", round(low, 1), round(high, 1), f"{weights_bytes / 1e9:.2g} GB of weights")


def _ready() -> Phase:
    return Phase("ready", None, None, "measured once it runs: `holdfast status`")


def beyond_budget(spec: EndpointSpec, start: ColdStart) -> str | None:
    """What is wrong where even the fastest start is past the budget; None: nothing that is known."""
    budget = spec.scaling.startup_budget_s
    if not spec.hardware.gpus or start.low_s < budget:
        return None
    known = ", ".join(f"{p.name} {p.low_s:.0f} s" for p in start.phases if p.low_s)
    return (
        f"scaling.startup_budget_s is {budget}, not above the {start.low_s:.0f} s that a cold start takes at least "
        f"({known}): raise it, or keep a replica with min_replicas=1"
    )
