"""Which headers pass through, and which do not. Pure; used on both sides of the queue."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from holdfast_contract import names

__all__ = [
    "ISOLATED",
    "MAX_ANSWER_HEADERS_BYTES",
    "MAX_REQUEST_HEADERS_BYTES",
    "from_model",
    "runs_in_a_browser",
    "to_model",
]

MAX_REQUEST_HEADERS_BYTES: Final = 64 * 1024
"""Names and values of one request together; AWS's load balancers stop at the same size."""
MAX_ANSWER_HEADERS_BYTES: Final = 64 * 1024

_HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "http2-settings",
    }
)
"""RFC 9110, 7.6.1: they belong to one connection. Whatever `Connection` names does, too."""
_NOT_TO_MODEL: Final = (
    _HOP_BY_HOP
    | {
        "authorization",  # a caller's token opens endpoints: no model sees it
        "cookie",  # at `/e/<endpoint>/` all endpoints share one origin, and so would share cookies
        "host",
        "content-length",  # said anew, from what was really received
        "expect",
        "prefer",
        names.HEADER_REQUEST_ID,
        names.HEADER_ATTEMPT,
        names.HEADER_WEBHOOK_URL,
        "traceparent",  # carried in the message itself
        names.HEADER_REPLICA,
        names.HEADER_QUEUE_SECONDS,
        names.HEADER_MODEL_SECONDS,
        "forwarded",  # a caller says of itself what it likes, and model servers believe whoever is on the same host
        "x-real-ip",
    }
)
_NOT_FROM_MODEL: Final = _HOP_BY_HOP | {
    "set-cookie",
    "content-length",  # carried apart, so that it cannot be said twice
    names.HEADER_REQUEST_ID,
    names.HEADER_ATTEMPT,
    names.HEADER_REPLICA,
    names.HEADER_QUEUE_SECONDS,
    names.HEADER_MODEL_SECONDS,
    # They hold for a whole origin, which models share with each other and with the gateway's page.
    "alt-svc",
    "clear-site-data",
    "nel",
    "report-to",
    "reporting-endpoints",
    "service-worker-allowed",
    "strict-transport-security",
}
_NEVER: Final = ("holdfast-", "x-holdfast-", "x-reply")
"""Reserved for holdfast, in both directions."""
_NEVER_TO_MODEL: Final = (*_NEVER, "x-forwarded-")

Pairs = tuple[tuple[str, str], ...]


def _named_by_connection(pairs: Iterable[tuple[bytes, bytes]]) -> frozenset[str]:
    named: set[str] = set()
    for name, value in pairs:
        if name.lower() == b"connection":
            named.update(part.strip().lower() for part in value.decode("latin-1").split(","))
    return frozenset(named)


def _filter(pairs: Iterable[tuple[bytes, bytes]], refused: frozenset[str], never: tuple[str, ...]) -> Pairs:
    pairs = list(pairs)
    dropped = _named_by_connection(pairs)
    return tuple(
        (name, value.decode("latin-1"))
        for raw, value in pairs
        if (name := raw.decode("latin-1").lower()) not in refused
        and name not in dropped
        and not name.startswith(never)
    )


ISOLATED: Final = (b"content-security-policy", b"sandbox allow-forms allow-popups allow-scripts")
"""Makes a browser treat an answer as of an origin of its own: it works, but reads nothing of the gateway's page,
such as a token entered there."""
_DOCUMENTS: Final = (
    b"text/html",
    b"application/xhtml+xml",
    b"image/svg+xml",
    b"text/xml",
    b"application/xml",
)


def runs_in_a_browser(pairs: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a browser that is sent to such an answer may run scripts in it. No type at all counts as one:
    browsers guess."""
    kinds = [value.split(b";")[0].strip().lower() for name, value in pairs if name.lower() == b"content-type"]
    return not kinds or any(kind in _DOCUMENTS for kind in kinds)


def to_model(pairs: Iterable[tuple[bytes, bytes]]) -> Pairs:
    """A caller's headers as the model gets them: in order, names lower-cased, without those of the connection,
    without credentials and without those that holdfast sets itself."""
    return _filter(pairs, _NOT_TO_MODEL, _NEVER_TO_MODEL)


def from_model(pairs: Iterable[tuple[bytes, bytes]]) -> Pairs:
    """The model's headers as the caller gets them.

    Raises ValueError where they are larger together than MAX_ANSWER_HEADERS_BYTES: a model must not be able to
    fill the gateway's memory.
    """
    pairs = list(pairs)
    size = sum(len(name) + len(value) for name, value in pairs)
    if size > MAX_ANSWER_HEADERS_BYTES:
        raise ValueError(f"answer's headers are {size} bytes, above {MAX_ANSWER_HEADERS_BYTES}: send fewer")
    return _filter(pairs, _NOT_FROM_MODEL, _NEVER)
