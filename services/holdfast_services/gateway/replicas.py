"""What is known of an endpoint's replicas: the port, and its answer where there is no cluster to look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

__all__ = ["NoReplicaView", "ReplicaCounts", "ReplicaView", "StartPhases"]


@dataclass(frozen=True, slots=True)
class ReplicaCounts:
    """Pods of an endpoint that are not being terminated."""

    desired: int
    pending: int
    ready: int


@dataclass(frozen=True, slots=True)
class StartPhases:
    """When an endpoint's newest replica came up, Unix seconds; None: not seen."""

    scaled: float | None = None
    """Its pod appeared."""
    scheduled: float | None = None
    pulled: float | None = None
    """The model container ran."""
    ready: float | None = None


class ReplicaView(Protocol):
    """What the gateway asks about replicas. Answers come from memory, at once."""

    def failure(self, endpoint: str) -> str | None:
        """Why the endpoint cannot get a replica ready, with cause and remedy; None: it can, or it is not known."""

    def counts(self, endpoint: str) -> ReplicaCounts | None:
        """None: not known."""

    def start_phases(self, endpoint: str) -> StartPhases:
        """When the newest replica came up."""


class NoReplicaView:
    """Outside of a cluster nothing is known."""

    def failure(self, endpoint: str) -> str | None:
        """Never."""
        return None

    def counts(self, endpoint: str) -> ReplicaCounts | None:
        """Not known."""
        return None

    def start_phases(self, endpoint: str) -> StartPhases:
        """Not seen."""
        return StartPhases()
