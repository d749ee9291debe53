"""Request ids: UUIDv7 (RFC 9562), or a hash where an idempotency key says that two requests are one."""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from typing import Final

__all__ = ["ID_PATTERN", "idempotent_id", "new_id"]

ID_PATTERN: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def new_id(now: float, randomness: bytes | None = None) -> str:
    """A UUIDv7: sorts by time. `now`: Unix seconds. `randomness`: 10 bytes, from the system when None."""
    raw = int(now * 1000).to_bytes(6, "big") + (randomness or os.urandom(10))
    value = bytearray(raw)
    value[6] = 0x70 | (value[6] & 0x0F)
    value[8] = 0x80 | (value[8] & 0x3F)
    text = value.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def idempotent_id(endpoint: str, caller: str, key: str) -> str:
    """The same for the same three, and a UUIDv8. `caller`: hash of the token, or the client's address."""
    digest = hashlib.sha256("\x00".join((endpoint, caller, key)).encode()).digest()
    value = bytearray(digest[:16])
    value[6] = 0x80 | (value[6] & 0x0F)
    value[8] = 0x80 | (value[8] & 0x3F)
    return str(uuid.UUID(bytes=bytes(value)))
