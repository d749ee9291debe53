"""Webhooks by Standard Webhooks: what is signed and how, when it is tried again, where it may go. Pure.

The secret of an endpoint's webhooks is derived from the SHA-256 of the token that made the request, which caller
and gateway both know, so nothing new has to be stored or handed out:
`whsec_` + base64(HMAC-SHA256(key=SHA-256(token), "holdfast-webhook-v1")).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

__all__ = ["DELAYS_S", "refused_address", "retry_delay_s", "secret", "sign"]

DELAYS_S: Final = (5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0)
"""Before the second, third … attempt: about 18 hours altogether, within the results' 24."""
_MAX_RETRY_AFTER_S: Final = 36000.0
_PURPOSE: Final = b"holdfast-webhook-v1"


def secret(token_sha256: str) -> str:
    """The secret for requests made with a token; `token_sha256`: as declared, hexadecimal."""
    key = hmac.new(bytes.fromhex(token_sha256), _PURPOSE, hashlib.sha256).digest()
    return "whsec_" + base64.b64encode(key).decode()


def sign(token_sha256: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`."""
    key = base64.b64decode(secret(token_sha256).removeprefix("whsec_"))
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def retry_delay_s(attempt: int, status: int | None, retry_after: str | None) -> float | None:
    """Seconds until the next try; None: no more. `attempt`: 1 for the first. `status`: None: no answer."""
    if status == 410 or attempt > len(DELAYS_S):
        return None
    delay_s = DELAYS_S[attempt - 1]
    if retry_after is not None and re.fullmatch(r"[0-9]{1,9}", retry_after):
        delay_s = max(delay_s, min(float(retry_after), _MAX_RETRY_AFTER_S))
    return delay_s


def refused_address(address: str, allowed: Sequence[IPv4Network | IPv6Network] = ()) -> str | None:
    """Why a webhook must not go to this address; None: it may. `allowed`: networks that may be reached although
    they are private."""
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if inner is not None:
            ip = inner
    if any(ip.version == network.version and ip in network for network in allowed):
        return None
    if not ip.is_global or ip.is_multicast or ip.is_reserved:
        return f"{ip} is not a public address"
    return None
