"""Loads nats-py without aiohttp, which it wants for websockets that nobody here uses.

Imported before anything that imports nats-py: aiohttp would be two fifths of a worker's start. Where aiohttp is loaded
already, or nats-py is, nothing is different.
"""

from __future__ import annotations

import importlib
import sys
from typing import Final

__all__: list[str] = []

_WEBSOCKETS: Final = "aiohttp"

if _WEBSOCKETS not in sys.modules:
    sys.modules[_WEBSOCKETS] = None  # type: ignore[assignment]  # how Python is told that there is no such module
    try:
        importlib.import_module("nats.aio.transport")
    finally:
        del sys.modules[_WEBSOCKETS]
