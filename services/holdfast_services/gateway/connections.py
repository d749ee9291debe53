"""How many connections callers may hold open, and which of them give way when there are too many.

A connection costs a file and some 10 KiB (with TLS 41), also where nobody has shown a token yet. It is at work from
the end of a request's head until the answer's end, and idle otherwise. Idle ones give way to new ones; where all are
at work, new ones are told so.
"""

from __future__ import annotations

import resource
from collections.abc import Callable
from typing import Final, Protocol

__all__ = ["Connections", "Leaving", "most_connections"]

_GRACE_S: Final = 1.0
"""An idle connection gives way after this long: its request may be there already and not be read yet."""
_FILES: Final = 3 / 5
"""Share of the files that callers' connections may be. Those to be refused are a quarter as many again; the rest is
for workers' answers and the broker."""
_MOST_FILES: Final = 1024 * 1024
"""Enough where the system sets no limit."""


class Leaving(Protocol):
    """A connection, as seen from here."""

    def leave(self) -> bool:
        """Close, unless a part of the last answer is still on its way; says whether it did."""
        ...


def most_connections(declared: int | None) -> int:
    """How many connections may be at work: as declared, and no more than the files that this process may open allow.
    Raises its limit of open files to the most that the system grants."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    allowed = int(files * _FILES)
    return allowed if declared is None else min(declared, allowed)


class Connections:
    """The open connections of one port."""

    def __init__(self, most: int, clock: Callable[[], float]) -> None:
        """`most`: how many may be at work. `clock`: seconds that only grow."""
        self.most = most
        self.clock = clock
        self._unproven: dict[Leaving, float] = {}
        """Idle, and never answered: they sent nothing, half a head, or a body that nobody wants. By when that began,
        the longest first; likewise below."""
        self._kept: dict[Leaving, float] = {}
        """Idle between two requests."""
        self._leaving: set[Leaving] = set()
        """Told to close, and not closed yet: they take nobody's place."""
        self.open = 0

    @property
    def idle(self) -> int:
        """How many are not at work."""
        return len(self._unproven) + len(self._kept)

    def arrive(self, connection: Leaving) -> None:
        """It was opened. May close another; this one where there are too many even to be refused."""
        self.open += 1
        if self.open > self.most:
            patient = self.clock() - _GRACE_S
            made_room = self._one_leaves(self._unproven, patient) or self._one_leaves(self._kept, patient)
            if not made_room and self.open > self.most + self.most // 4:
                # A client whose kept connection ends may have another; who has just come has only this one.
                now = self.clock()
                if not self._one_leaves(self._kept, now) and not self._one_leaves(self._unproven, now):
                    self._leaves(connection)
                    return
        self._unproven[connection] = self.clock()

    def work(self, connection: Leaving) -> bool:
        """A request's head is complete. False: as many are at work as may be, and it is to be refused."""
        self._unproven.pop(connection, None)
        self._kept.pop(connection, None)
        return self.open - self.idle <= self.most

    def rest(self, connection: Leaving, *, proven: bool) -> None:
        """Its answer is complete. `proven`: so is its request."""
        self._unproven.pop(connection, None)
        (self._kept if proven else self._unproven)[connection] = self.clock()

    def depart(self, connection: Leaving) -> None:
        """It is closed."""
        if connection in self._leaving:
            self._leaving.remove(connection)
            return
        self.open -= 1
        self._unproven.pop(connection, None)
        self._kept.pop(connection, None)

    def _one_leaves(self, idle: dict[Leaving, float], before: float) -> bool:
        for _ in range(len(idle)):
            connection, since = next(iter(idle.items()))
            if since > before:
                return False
            del idle[connection]
            if self._leaves(connection):
                return True
            idle[connection] = self.clock()
        return False

    def _leaves(self, connection: Leaving) -> bool:
        if not connection.leave():
            return False
        self._leaving.add(connection)
        self.open -= 1
        return True
