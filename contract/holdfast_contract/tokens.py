"""Tokens open endpoints: `hf_<id>_<43 url-safe characters>`. Only SHA-256 is declared and stored."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable

from holdfast_contract.document import TokenHash

_TOKEN = re.compile(r"hf_([a-z0-9]{4,16})_([A-Za-z0-9_-]{43})")
_DECLARED = re.compile(r"sha256:([a-z0-9]{4,16}):([0-9a-f]{64})")


def new_token(token_id: str | None = None) -> str:
    """A fresh token with 256 random bits. `token_id`: 4 to 16 lower-case letters and digits, random if None.

    Raises ValueError for an id of another shape.
    """
    token = f"hf_{token_id or secrets.token_hex(4)}_{secrets.token_urlsafe(32)}"
    if not _TOKEN.fullmatch(token):
        raise ValueError(
            f"token id {token_id!r} is not 4 to 16 lower-case letters and digits: choose another"
        )
    return token


def token_id(token: str) -> str | None:
    """The id inside a token; None where the text has not the form of a token."""
    match = _TOKEN.fullmatch(token)
    return match[1] if match else None


def hash_token(token: str) -> TokenHash:
    """What is declared of a token. Raises ValueError where the text has not the form of a token."""
    match = _TOKEN.fullmatch(token)
    if not match:
        raise ValueError("not a token: expected hf_<id>_<43 characters>, as `holdfast token new` prints")
    return TokenHash(id=match[1], sha256=hashlib.sha256(token.encode()).hexdigest())


def declare(token: str) -> str:
    """The line for the stack code: `sha256:<id>:<hash>`."""
    hashed = hash_token(token)
    return f"sha256:{hashed.id}:{hashed.sha256}"


def parse_declared(text: str) -> TokenHash:
    """Read `sha256:<id>:<hash>`. Raises ValueError that never repeats a token's secret part."""
    match = _DECLARED.fullmatch(text)
    if not match:
        if text.startswith("hf_"):
            raise ValueError("is a token itself, not its hash: `holdfast token hash` prints what to declare")
        raise ValueError("is not of the form sha256:<id>:<64 hex digits>, as `holdfast token new` prints")
    return TokenHash(id=match[1], sha256=match[2])


def opens(token: str, accepted: Iterable[TokenHash]) -> bool:
    """Whether one of `accepted` is this token. Takes the same time whichever differs, and looks at all."""
    digest = hashlib.sha256(token.encode()).hexdigest()
    found = False
    for candidate in accepted:
        found |= hmac.compare_digest(candidate.sha256, digest)
    return found


def body_key(root: str, endpoint: str) -> str:
    """The key with which an endpoint's workers ask a gateway for bodies. `root`: what all of them are made from."""
    return hmac.new(root.encode(), f"bodies of {endpoint}".encode(), hashlib.sha256).hexdigest()
