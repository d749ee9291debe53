"""How the garbage collector treats a server that lives long and allocates much."""

from __future__ import annotations

import gc

__all__ = ["settle"]


def settle() -> None:
    """Call once everything is assembled: what is there stays out of every later collection, and collections are
    rarer. Requests free almost everything by reference counts alone; the collector's default made up 6.5 % of a
    busy gateway's time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
