"""Whether every accepted request ended, and every caller was told the truth. Pure.

Three witnesses that know nothing of each other: the broker's acknowledgements say what was accepted, the models' logs
what was executed, the callers what they were told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

__all__ = ["Account", "Ending", "Execution", "Outcome", "settle"]


class Ending(Enum):
    """What a caller saw last."""

    ANSWERED = "answered"
    """The whole answer, and the right one."""
    TOLD = "told that it failed"
    """A problem that says so; no retry is asked for."""
    REFUSED = "refused"
    """Never accepted, and said so; or the connection was refused."""
    BROKE_OFF = "broke off visibly"
    """The answer had begun, and broke off with an error."""
    LEFT = "left"
    """The caller itself went away."""
    CUT = "cut off"
    """The connection broke before an answer began: the caller does not know."""
    WRONG = "wrong answer"
    """A clean end of an answer that is not complete or not to this request."""
    HUNG = "no end"
    """Nothing came for longer than any deadline."""
    ERRED = "an error of the gateway's own"
    """500: nothing that is killed around a gateway may come to this."""


_FAULTS = (Ending.WRONG, Ending.HUNG, Ending.ERRED)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One request as its caller saw it; asking again with the same idempotency key is the same request."""

    number: int
    kind: str
    ending: Ending
    request_id: str | None = None
    """Where the gateway had said it."""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Execution:
    """One execution as a model recorded it."""

    request_id: str
    number: int
    outcome: str
    """`answered`, `canceled`, …; `lost` where the model was killed meanwhile."""
    concurrency: int
    """How many ran when it began, itself included."""


@dataclass(frozen=True, slots=True)
class Account:
    """The result."""

    accepted: int
    completed: int
    """Executed to the end."""
    excused: int
    """Accepted and not completed, but whoever asked was told so, saw it break off, or had left."""
    repeated: int
    """Executions beyond the first of a request."""
    unheard: int = 0
    """Callers who left, and of whose request no witness knows: it may have been accepted while the first witness was
    cut off from the broker, and taken back before anybody executed it."""
    endings: Mapping[str, int] = field(default_factory=dict)
    """By kind and ending."""
    faults: tuple[str, ...] = ()
    """What must not be; empty: all is accounted for."""


def settle(
    accepted: Mapping[str, int],
    executions: Iterable[Execution],
    outcomes: Iterable[Outcome],
    *,
    concurrency: int,
) -> Account:
    """`accepted`: the caller's number by request id. `concurrency`: what one replica may run at a time."""
    by_number = {outcome.number: outcome for outcome in outcomes}
    faults: list[str] = []
    began: Counter[str] = Counter()
    done: set[str] = set()
    ends: dict[str, list[str]] = {}
    numbers = dict(accepted)
    for execution in executions:
        began[execution.request_id] += 1
        numbers.setdefault(execution.request_id, execution.number)
        ends.setdefault(execution.request_id, []).append(execution.outcome)
        if execution.outcome == "answered":
            done.add(execution.request_id)
        if execution.concurrency > concurrency:
            faults.append(
                f"request {execution.request_id} was executed beside {execution.concurrency - 1} others, "
                f"above a concurrency of {concurrency}"
            )
    excused = 0
    for request_id, number in numbers.items():
        if request_id in done:
            continue
        outcome = by_number.get(number)
        if outcome is not None and _excuses(outcome, request_id, ends.get(request_id, [])):
            excused += 1
        else:
            seen = f"{outcome.ending.value} {outcome.detail}" if outcome else "no caller knows it"
            faults.append(
                f"request {request_id} (number {number}, {outcome.kind if outcome else 'unknown'}) was accepted "
                f"and never completed; its caller: {seen}; executions: {ends.get(request_id, [])}"
            )
    known_numbers = set(numbers.values())
    answered = {numbers[request_id] for request_id in done}
    for outcome in by_number.values():
        if outcome.ending in _FAULTS:
            faults.append(
                f"number {outcome.number} ({outcome.kind}): {outcome.ending.value} {outcome.detail}"
            )
        elif outcome.ending is Ending.ANSWERED and outcome.number not in answered:
            faults.append(
                f"number {outcome.number} ({outcome.kind}) was answered and never executed to its end"
            )
    return Account(
        accepted=len(numbers),
        completed=len(done),
        excused=excused,
        repeated=sum(began.values()) - len(began),
        unheard=sum(it.ending is Ending.LEFT and it.number not in known_numbers for it in by_number.values()),
        endings=dict(Counter(f"{it.kind}: {it.ending.value}" for it in by_number.values())),
        faults=tuple(faults),
    )


def _excuses(outcome: Outcome, request_id: str, ends: list[str]) -> bool:
    """Whether it is all right that this request never completed."""
    if outcome.ending is Ending.LEFT:
        return True
    if outcome.ending in (Ending.TOLD, Ending.BROKE_OFF):
        # Told of this very request; an earlier one of the same caller is no excuse.
        return outcome.request_id == request_id
    # A stream that was under way when its gateway was killed, of which not even the head had reached the caller: what
    # was sent on is gone with the gateway.
    return outcome.ending is Ending.CUT and outcome.kind == "stream" and "canceled" in ends
