"""What to do with a delivered request, before and after the model had it. Pure.

| before the model | |
|---|---|
| withdrawn | end it CANCELED |
| its deadline passed | end it EXPIRED |
| delivered more often than allowed: workers died of it | end it FAILED |
| else | run it |

| after a fault that is not the model's answer | |
|---|---|
| deliveries left | give it back, after a delay |
| none left | end it FAILED |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from holdfast_contract import problems
from holdfast_contract.messages import MAX_DELIVERIES, Mode, RequestMessage, RequestState

__all__ = ["NAK_DELAY_S", "End", "GiveBack", "Run", "after_fault", "at_claim", "timed_out"]

NAK_DELAY_S: Final = 1.0
"""Redelivery without a delay comes back at once and would use up all deliveries within a millisecond."""


@dataclass(frozen=True, slots=True)
class Run:
    """Hand it to the model."""

    start_by: float | None
    """Unix seconds by which the answer must begin; None: whenever."""
    end_by: float
    """Unix seconds by which it must be complete."""


@dataclass(frozen=True, slots=True)
class GiveBack:
    """Let another attempt have it."""

    delay_s: float
    why: str


@dataclass(frozen=True, slots=True)
class End:
    """It is over without an answer of the model."""

    state: RequestState
    problem: problems.Problem
    why: str


def at_claim(
    message: RequestMessage, *, deliveries: int, canceled: bool, now: float, max_request_s: float
) -> Run | End:
    """`deliveries`: 1 for the first."""
    if canceled:
        return End(RequestState.CANCELED, problems.GONE, "it was withdrawn")
    if now >= message.deadline_at:
        late = now - message.deadline_at
        return End(
            RequestState.EXPIRED,
            problems.DEADLINE,
            f"its deadline passed {late:.1f} s before a replica was free",
        )
    if deliveries > MAX_DELIVERIES:
        return End(
            RequestState.FAILED,
            problems.BAD_ANSWER,
            f"{MAX_DELIVERIES} replicas were lost while they worked on it: it may be what breaks them",
        )
    start_by = message.deadline_at if message.mode is Mode.SYNC else None
    return Run(start_by=start_by, end_by=now + max_request_s)


def after_fault(why: str, *, deliveries: int) -> GiveBack | End:
    """The model could not be reached, or broke off before anything of its answer was used."""
    if deliveries >= MAX_DELIVERIES:
        return End(
            RequestState.FAILED, problems.BAD_ANSWER, f"{why}, on attempt {deliveries} of {deliveries}"
        )
    return GiveBack(NAK_DELAY_S, why)


def timed_out(run: Run, *, now: float, max_request_s: float) -> End:
    """The model did not answer in time. A timer may be early by a hair: the nearer of both bounds has passed."""
    if run.start_by is not None and abs(now - run.start_by) < abs(now - run.end_by):
        return End(
            RequestState.EXPIRED, problems.DEADLINE, "its deadline passed while the model worked on it"
        )
    return End(
        RequestState.FAILED,
        problems.DEADLINE,
        f"the model took longer than scaling.max_request_s={max_request_s:.0f}",
    )
