"""A cold start by phase: what was estimated beside what the last real one took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from holdfast_contract.document import PhaseEstimate

__all__ = ["PHASES", "ComparedPhase", "Measured", "Verdict", "compared", "durations"]


@dataclass(frozen=True, slots=True)
class Measured:
    """A phase that the gateway can tell apart: between two of the times that it takes."""

    begins: str
    ends: str
    estimated: tuple[str, ...]
    """The phases of an estimate that lie in it."""


PHASES: Final[Mapping[str, Measured]] = MappingProxyType(
    {
        "node": Measured("scaled", "scheduled", ("node",)),
        "pull": Measured("scheduled", "pulled", ("pull",)),
        # From outside nobody sees where loading ends and the first health check begins.
        "load and ready": Measured("pulled", "ready", ("load", "ready")),
    }
)
"""By name, in their order."""


class Verdict(StrEnum):
    """A real phase against its estimate."""

    FASTER = "faster"
    WITHIN = "within"
    SLOWER = "slower"


@dataclass(frozen=True, slots=True)
class ComparedPhase:
    """One phase of a cold start, estimated and real."""

    phase: str
    """`node`, `pull` or `load and ready`."""
    low_s: float | None
    """At its fastest; of phases of which only a part is known, that part. None: not known."""
    high_s: float | None
    """At its slowest; None: not known, or only in part."""
    last_s: float | None
    """What the last real one took; None: not seen."""
    verdict: Verdict | None
    """None: one of both is missing, or nothing known contradicts it."""
    why: str
    """Where the figures come from, or what is missing for them."""


def durations(ends_s: Mapping[str, float | None]) -> dict[str, float | None]:
    """How long each phase took. `ends_s`: seconds from acceptance to `scaled`, `scheduled`, `pulled` and `ready`, as
    the gateway takes them; a phase with an end that is missing is None, never counted to another."""
    return {name: _between(ends_s.get(one.begins), ends_s.get(one.ends)) for name, one in PHASES.items()}


def compared(
    estimate: Sequence[PhaseEstimate], ends_s: Mapping[str, float | None] | None
) -> tuple[ComparedPhase, ...]:
    """Each phase of `estimate` beside the real one. `ends_s`: as in `durations`; None: no start was seen.

    Empty where there is neither an estimate nor a real start.
    """
    if not estimate and ends_s is None:
        return ()
    known = {one.phase: one for one in estimate}
    took = durations(ends_s or {})
    return tuple(
        _compared(name, [known[part] for part in one.estimated if part in known], took[name])
        for name, one in PHASES.items()
    )


def _compared(name: str, parts: Sequence[PhaseEstimate], last_s: float | None) -> ComparedPhase:
    lows = [part.low_s for part in parts if part.low_s is not None]
    highs = [part.high_s for part in parts if part.high_s is not None]
    low_s = round(sum(lows), 3) if lows else None
    high_s = round(sum(highs), 3) if highs and len(highs) == len(parts) else None
    why = parts[0].why if len(parts) == 1 else "; ".join(f"{part.phase}: {_told(part)}" for part in parts)
    return ComparedPhase(
        name, low_s, high_s, last_s, _verdict(low_s, high_s, last_s), why or "nothing is declared of it"
    )


def _told(part: PhaseEstimate) -> str:
    if part.low_s is None or part.high_s is None:
        return part.why
    return f"{part.low_s:g}–{part.high_s:g} s for {part.why}"


def _verdict(low_s: float | None, high_s: float | None, last_s: float | None) -> Verdict | None:
    if last_s is None:
        return None
    if low_s is not None and last_s < low_s:
        return Verdict.FASTER
    if high_s is None:
        return None
    return Verdict.SLOWER if last_s > high_s else Verdict.WITHIN


def _between(begin_s: float | None, end_s: float | None) -> float | None:
    # Times of two clocks, in whole seconds on one side: an end may seem to come before its beginning.
    return None if begin_s is None or end_s is None else round(max(0.0, end_s - begin_s), 3)
