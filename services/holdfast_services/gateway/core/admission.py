"""Who may, and what they ask for: token, deadline, preferences. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final
from urllib.parse import urlsplit

from holdfast_contract import problems, tokens
from holdfast_contract.document import EndpointDocument, EndpointState, Visibility
from holdfast_contract.names import RETENTION_S
from holdfast_services.gateway.core.refusal import Refusal

__all__ = [
    "MAX_WAIT_S",
    "Preference",
    "authenticate",
    "bearer",
    "check_state",
    "deadline",
    "idempotency_key",
    "keepalive_s",
    "preference",
    "wait_s",
    "webhook_url",
]

MAX_WAIT_S: Final = 120
"""Longest that `Prefer: wait` and `?wait=` are honoured for."""
_MAX_KEY: Final = 255
_MAX_KEEPALIVE_S: Final = 300
_MAX_URL_CHARS: Final = 2048


@dataclass(frozen=True, slots=True)
class Preference:
    """RFC 7240: how the caller wants to wait."""

    respond_async: bool = False
    wait_s: float | None = None
    """Seconds to wait before a 202; None: not said."""


def bearer(authorization: bytes | None) -> str | None:
    """The token of an Authorization header; None where there is none of this kind."""
    if authorization is None or authorization[:7].lower() != b"bearer ":
        return None
    return authorization[7:].strip().decode("latin-1")


def authenticate(document: EndpointDocument, token: str | None, known: Mapping[str, object]) -> str | None:
    """Whose request this is: the token's id, or None for an anonymous request to a public endpoint.

    `known`: SHA-256 of every token of any endpoint. Raises Refusal: unauthenticated or forbidden.
    """
    if token is not None and tokens.opens(token, document.tokens):
        return tokens.token_id(token)
    if document.visibility is Visibility.PUBLIC:
        return None
    if token is None:
        raise Refusal(problems.UNAUTHENTICATED, f"endpoint {document.name} is private")
    if sha256(token.encode()).hexdigest() in known:
        raise Refusal(problems.FORBIDDEN, f"the token does not open endpoint {document.name}")
    raise Refusal(problems.UNAUTHENTICATED, "the token is not valid")


def check_state(document: EndpointDocument) -> None:
    """Raises Refusal where the endpoint is paused."""
    if document.state is EndpointState.PAUSED:
        raise Refusal(problems.PAUSED, f"endpoint {document.name} is paused")


def deadline(document: EndpointDocument, header: bytes | None, now: float, *, asynchronous: bool) -> float:
    """Unix seconds after which the request must not start any more.

    Without a header: `max_request_s` for a caller who waits, and the retention of results for one who does not.
    A header can only make it earlier. Raises Refusal for a header that is neither seconds nor RFC 3339.
    """
    latest = now + (RETENTION_S if asynchronous else document.scaling.max_request_s)
    if header is None:
        return latest
    text = header.decode("latin-1").strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,6})?", text):
        return min(latest, now + float(text))
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Refusal(
            problems.BAD_REQUEST,
            f"x-deadline is {text[:60]!r}, neither seconds nor an RFC 3339 time: send e.g. 30",
        ) from None
    return min(latest, (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())


def preference(header: bytes | None) -> Preference:
    """What a Prefer header asks for; what is not understood is ignored, as the RFC says."""
    if header is None:
        return Preference()
    respond_async, wait_s = False, None
    for part in header.decode("latin-1").split(","):
        name, _, value = part.split(";")[0].strip().partition("=")
        if name.lower() == "respond-async":
            respond_async = True
        elif name.lower() == "wait" and re.fullmatch(r"\d{1,6}", value.strip(' "')):
            wait_s = min(float(value.strip(' "')), MAX_WAIT_S)
    return Preference(respond_async, wait_s)


def idempotency_key(header: bytes | None) -> str | None:
    """The key, without the quotes of a structured field. Raises Refusal for an empty or overlong one."""
    if header is None:
        return None
    key = header.decode("latin-1").strip().strip('"')
    if not key or len(key) > _MAX_KEY:
        raise Refusal(
            problems.BAD_REQUEST,
            f"idempotency-key has {len(key)} characters, not 1 to {_MAX_KEY}: send a UUID",
        )
    return key


def keepalive_s(header: bytes | None, default: float) -> float:
    """Seconds between keep-alive comments on an event stream; `default` where the header is not a number."""
    if header is None or not re.fullmatch(rb"[0-9]{1,9}", header):
        return default
    return float(min(int(header), _MAX_KEEPALIVE_S))


def wait_s(query: bytes) -> float:
    """`?wait=N`, bounded; 0 where it is not there. Raises Refusal for what is not a number."""
    match = re.search(rb"(?:^|&)wait=([^&]*)", query)
    if match is None:
        return 0.0
    if not re.fullmatch(rb"\d{1,6}(\.\d{1,3})?", match[1]):
        raise Refusal(problems.BAD_REQUEST, "wait is not a number of seconds: send e.g. ?wait=20")
    return min(float(match[1]), MAX_WAIT_S)


def webhook_url(header: bytes) -> str:
    """Where a webhook is to go. Raises Refusal for what is not a URL of http or https without user information."""
    text = header.decode("latin-1").strip()
    try:
        url = urlsplit(text)
        sound = url.scheme in ("http", "https") and bool(url.hostname) and url.username is None
        _ = url.port
    except ValueError:
        sound = False
    if not sound or len(text) >= _MAX_URL_CHARS:
        raise Refusal(
            problems.BAD_REQUEST,
            "webhook-url is not an http or https URL without user information: send one",
        )
    return text
