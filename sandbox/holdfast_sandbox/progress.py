"""Progress on a terminal: a line when something long begins, a line with its seconds when it is done."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


class Progress:
    """Prints `+12.3s  what` lines; seconds count from its making. Safe to share between functions, not threads."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._start = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Seconds since it was made."""
        return time.monotonic() - self._start

    def say(self, text: str) -> None:
        """One line, with the seconds since the beginning."""
        print(f"  +{self.elapsed_s:6.1f}s  {text}", file=self._stream, flush=True)

    @contextmanager
    def step(self, text: str, *, announce: bool = False) -> Iterator[None]:
        """A step with its own duration. `announce`: also say that it begins, for what takes long."""
        if announce:
            self.say(f"{text} …")
        began = time.monotonic()
        yield
        self.say(f"{text}: {time.monotonic() - began:.1f} s")
