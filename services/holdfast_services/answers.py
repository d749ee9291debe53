"""How a worker hands an answer to the gateway: one frame with the head, then the body as it comes.

The head is inside the body of the worker's POST and not among its headers, so that the connection can be opened
while the model still works: the gateway then sees at once when the worker dies.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Final

__all__ = ["MAX_HEAD_BYTES", "NOTHING_YET", "AnswerHead", "Malformed", "decode_head", "encode_head"]

_LENGTH: Final = struct.Struct(">I")
_encode: Final = json.JSONEncoder(separators=(",", ":")).encode
NOTHING_YET: Final = b"\0\0\0\0"
"""A frame that only opens the connection, or keeps it from looking idle."""
MAX_HEAD_BYTES: Final = 512 * 1024
"""JSON may write one byte of a header as six characters; see headers.MAX_ANSWER_HEADERS_BYTES."""


class Malformed(Exception):
    """The frame is not one that a worker writes."""


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """What precedes the body: either the model's status and headers, or a problem."""

    attempt: int
    replica: str
    queue_s: float
    """Seconds from acceptance until the replica took the request."""
    model_s: float
    """Seconds from then until the first byte of the answer."""
    status: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    length: int | None = None
    """Bytes of body; None: it ends when it ends."""
    problem: str | None = None
    """Slug of a problem of the contract: there is no answer, and no body."""
    detail: str = ""


def encode_head(head: AnswerHead) -> bytes:
    """The frame: four bytes of length, then JSON."""
    text = _encode(
        {
            "a": head.attempt,
            "r": head.replica,
            "q": head.queue_s,
            "m": head.model_s,
            "s": head.status,
            "h": head.headers,
            "l": head.length,
            "p": head.problem,
            "d": head.detail,
        }
    ).encode()
    return _LENGTH.pack(len(text)) + text


def decode_head(buffer: bytes | bytearray) -> tuple[AnswerHead, int] | None:
    """The head at the start of `buffer` and the number of bytes that it takes; None: not all of it is there.

    Frames of length 0 before it say "still at it" and count as its bytes. Raises Malformed.
    """
    start = 0
    while buffer[start : start + _LENGTH.size] == NOTHING_YET:
        start += _LENGTH.size
    if len(buffer) < start + _LENGTH.size:
        return None
    (size,) = _LENGTH.unpack_from(buffer, start)
    if size > MAX_HEAD_BYTES:
        raise Malformed(f"head of {size} bytes is above {MAX_HEAD_BYTES}")
    start += _LENGTH.size
    end = start + size
    if len(buffer) < end:
        return None
    try:
        raw = json.loads(bytes(buffer[start:end]))
        head = AnswerHead(
            attempt=int(raw["a"]),
            replica=str(raw["r"]),
            queue_s=float(raw["q"]),
            model_s=float(raw["m"]),
            status=int(raw["s"]),
            headers=tuple((str(name), str(value)) for name, value in raw["h"]),
            length=None if raw["l"] is None else int(raw["l"]),
            problem=None if raw["p"] is None else str(raw["p"]),
            detail=str(raw["d"]),
        )
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise Malformed(repr(error)) from error
    if head.problem is None and not 200 <= head.status <= 599:
        raise Malformed(f"status {head.status} is not from 200 to 599")
    return head, end
