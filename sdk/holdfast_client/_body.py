"""A request's body, encoded once: a retry must send the same bytes, or its idempotency key is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2

from holdfast_client._media import OCTETS, Media, file, image, is_pil
from holdfast_client._types import Files, Input


@dataclass(frozen=True, slots=True)
class Body:
    """Bytes and their content type; no content type: no body."""

    content: bytes = field(default=b"", repr=False)
    content_type: str | None = None


NO_BODY: Final = Body()


def encode(data: Input = None, files: Files | None = None, form: Mapping[str, str] | None = None) -> Body:
    """Choose the encoding by what is given.

    `data` alone: JSON, or the bytes of a medium or `bytes` as they are; None: no body. `files` or `form`: a
    multipart form, in which the fields of `data` (a mapping) are parts as well. Raises TypeError for what
    cannot be sent, ValueError for bodies that exclude each other.
    """
    if files is not None or form is not None:
        return _multipart(data, files or {}, form or {})
    if data is None:
        return NO_BODY
    if isinstance(data, bytes):
        return Body(data, OCTETS)
    if isinstance(data, Media):
        return Body(data.data, data.content_type)
    if is_pil(data):
        return encode(image(data))
    text = json.dumps(data, default=_json_default, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Body(text.encode(), "application/json")


def _json_default(value: object) -> Any:
    if isinstance(value, Media):
        return value.data_uri
    if is_pil(value):
        return image(value).data_uri
    name = type(value).__name__
    raise TypeError(
        f"a {name} cannot be sent as JSON: make it text, numbers, lists or mappings; "
        "wrap files and bytes in image(), audio(), video() or file()"
    )


def _multipart(data: Input, files: Files, form: Mapping[str, str]) -> Body:
    if data is not None and not isinstance(data, Mapping):
        raise ValueError("input goes with files only as a mapping, whose entries become form fields")
    fields = {
        name: value if isinstance(value, str) else json.dumps(value, default=_json_default)
        for name, value in {**(data or {}), **form}.items()
    }
    media = {name: file(source) for name, source in files.items()}
    if not media:
        request = httpx2.Request("POST", "http://gateway/", data=fields)
    else:
        parts = {name: (one.filename or name, one.data, one.content_type) for name, one in media.items()}
        request = httpx2.Request("POST", "http://gateway/", data=fields, files=parts)
    return Body(request.read(), request.headers["content-type"])
