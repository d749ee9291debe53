"""What is known of an endpoint's replicas: the port, and its answer where there is no cluster to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

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
    """What the gateway asks about replicas. Answers come from memory, at once; logs do not."""

    def failure(self, endpoint: str) -> str | None:
        """Why the endpoint cannot get a replica ready, with cause and remedy; None: it can, or it is not known."""

    def counts(self, endpoint: str) -> ReplicaCounts | None:
        """None: not known."""

    def running(self, endpoint: str) -> frozenset[str]:
        """What the ready replicas run: another one where declaration or image changed. Empty: none is ready, or it is
        not known."""

    def start_phases(self, endpoint: str) -> StartPhases:
        """When the newest replica came up."""

    def events(self, endpoint: str) -> Sequence[Mapping[str, Any]]:
        """What happened to the endpoint's objects within the last hour, oldest first, bounded."""

    async def logs(self, endpoint: str, container: str, tail: int) -> Sequence[tuple[str, str]]:
        """The last lines of its newest replicas: name and text, bounded."""


class NoReplicaView:
    """Outside of a cluster nothing is known."""

    def failure(self, endpoint: str) -> str | None:
        """Never."""
        return None

    def counts(self, endpoint: str) -> ReplicaCounts | None:
        """Not known."""
        return None

    def running(self, endpoint: str) -> frozenset[str]:
        """Not known."""
        return frozenset()

    def start_phases(self, endpoint: str) -> StartPhases:
        """Not seen."""
        return StartPhases()

    def events(self, endpoint: str) -> Sequence[Mapping[str, Any]]:
        """None."""
        return ()

    async def logs(self, endpoint: str, container: str, tail: int) -> Sequence[tuple[str, str]]:
        """None."""
        return ()
