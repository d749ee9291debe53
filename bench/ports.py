"""Loopback ports for processes that are started, killed and started again."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from itertools import count, islice
from typing import Final

__all__ = ["free_port"]

_FIRST: Final = 20_000
_COUNT: Final = 10_000
"""20,000 to 29,999: below the ports that Linux gives to outgoing connections (32,768 on), one of which would take
the port of a killed server before that is back, and below Kubernetes' node ports (30,000 on)."""
_drawn = count(os.getpid() * 577)


def free_port() -> int:
    """A loopback port that nothing listens on, and that this process has not given out among its last 9,999.

    Raises OSError where all are taken.
    """
    for number in islice(_drawn, _COUNT):
        port = _FIRST + number % _COUNT
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError(f"no loopback port from {_FIRST} to {_FIRST + _COUNT - 1} is free")
