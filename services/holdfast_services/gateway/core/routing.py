"""Which endpoint a request addresses, and with which path. Works on the bytes as they were sent.

The endpoint is decided by the host, or by the first part after `/e/`, and by nothing that follows: `..` and
encoded slashes reach the model exactly as sent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from holdfast_contract import names

__all__ = ["Page", "Target", "route"]

_NAME: Final = re.compile(r"[a-z](?:[-a-z0-9]{0,38}[a-z0-9])?")
_PREFIX: Final = names.PATH_ENDPOINT.encode() + b"/"


@dataclass(frozen=True, slots=True)
class Target:
    """An endpoint's own route."""

    endpoint: str
    path: str
    """Path and query for the model; starts with `/`."""
    shared_origin: bool = False
    """Whether its answers come from the same origin as the gateway's own page."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the gateway itself."""

    path: str


def route(host: str, raw_path: bytes, query: bytes, domain: str | None) -> Target | Page:
    """`host`: the Host header, with or without port. `domain`: where endpoints have names of their own; None:
    nowhere. A name that no endpoint can have gives a target that no endpoint matches."""
    if domain:
        name, _, rest = host.partition(":")[0].lower().partition(".")
        if rest == domain.lower() and _NAME.fullmatch(name):
            return Target(name, _with_query(raw_path or b"/", query))
    if raw_path.startswith(_PREFIX):
        name_bytes, slash, rest_bytes = raw_path[len(_PREFIX) :].partition(b"/")
        name = name_bytes.decode("latin-1")
        return Target(
            name if _NAME.fullmatch(name) else "",
            _with_query(slash + rest_bytes if slash else b"/", query),
            shared_origin=True,
        )
    return Page(raw_path.decode("latin-1"))


def _with_query(path: bytes, query: bytes) -> str:
    return (path + b"?" + query if query else path).decode("latin-1")
