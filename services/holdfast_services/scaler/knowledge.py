"""What the scaler knows of one endpoint, and what follows from it. Pure: no broker, no clock, no waiting.

Knowledge comes in three kinds. A *reading* is exact: what the broker says of this endpoint at one moment. A
*wake* and a *backlog* (one line of the list of all queues) only ever add activity. So an endpoint may be
called active on any of them, and inactive only on a reading that nothing has contradicted since.
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast_contract.autoscaling import HPA_TOLERANCE, NEVER, Decision, decide
from holdfast_contract.document import EndpointDocument, EndpointState

__all__ = ["Backlog", "Knowledge", "Reading"]


@dataclass(frozen=True, slots=True)
class Reading:
    """What the broker says of one endpoint, exactly."""

    demand: int
    """Requests waiting and running."""
    last_activity_at: float
    """Unix seconds of the last moment at which a request came, was taken or ended; NEVER: none ever."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """One line of the list of all queues."""

    requests: int
    """Messages in the queue: waiting and running."""
    last_request_at: float
    """Unix seconds at which the last request was accepted; NEVER: none ever."""


@dataclass(slots=True)
class Knowledge:
    """What is known of one endpoint. Times of activity are Unix seconds; `read_at` is monotonic."""

    document: EndpointDocument
    demand: int = 0
    last_activity_at: float = NEVER
    read_at: float | None = None
    """When the last reading was asked for; None: never read, so nothing is known but wakes."""
    outdated: bool = False
    """Whether a request was queued since the last reading was asked for."""
    active: bool | None = None
    """The last verdict; None: none yet. Streams are told of the way from anything else to True."""

    @property
    def paused(self) -> bool:
        """Whether the declaration says that nothing is to run."""
        return self.document.state is EndpointState.PAUSED

    def decide(self, now: float, tolerance: float = HPA_TOLERANCE) -> Decision:
        """The decision that follows from what is known, whatever its age."""
        return decide(
            demand=self.demand,
            last_activity_at=self.last_activity_at,
            now=now,
            scaling=self.document.scaling,
            paused=self.paused,
            tolerance=tolerance,
        )

    def idle_at(self) -> float:
        """Unix seconds from which the endpoint is idle, provided that no request is there."""
        return self.last_activity_at + self.document.scaling.timeout_s

    def learn_reading(self, reading: Reading, *, asked_at: float) -> None:
        """Take over a reading that was asked for at `asked_at`. Activity never goes back: a broker that
        lost its memory does not make an endpoint idle."""
        if self.read_at is not None and asked_at < self.read_at:
            return  # an older question, answered later
        self.read_at = asked_at
        self.demand = reading.demand
        self.last_activity_at = max(self.last_activity_at, reading.last_activity_at)

    def learn_wake(self, now: float) -> bool:
        """Note that a request was queued just now. True: the endpoint was inactive, and its streams are to
        know.

        What counts is the state at this moment, not the last verdict: the timeout may have passed since.
        """
        was_active = bool(self.active) and self.decide(now).active
        self.outdated = True
        self.last_activity_at = max(self.last_activity_at, now)
        self.active = self.decide(now).active
        return self.active and not was_active

    def learn_backlog(self, backlog: Backlog, now: float) -> bool:
        """Note a line of the list. True: the endpoint turns out to be active, and its streams are to know.

        `requests` alone proves nothing (a reading decides): it may count what is just being finished.
        """
        self.last_activity_at = max(self.last_activity_at, backlog.last_request_at)
        if self.active or not self.decide(now).active:
            return False
        self.active = True
        return True

    def judge(self, now: float) -> bool:
        """Set the verdict after a reading. True: it went from anything else to active."""
        was_active = bool(self.active)
        self.active = self.decide(now).active
        return self.active and not was_active

    def replace_document(self, document: EndpointDocument, now: float) -> bool:
        """Take over a changed document. True: that alone made the endpoint active (a minimum, a longer
        timeout).

        It never makes one inactive, for that takes a reading; unless it is paused, which needs none.
        """
        self.document = document
        if self.paused:
            self.active = False
        elif self.active is False and self.decide(now).active:
            self.active = True
            return True
        return False
