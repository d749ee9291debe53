"""The web page: a folder of static files, read once at start and answered from memory.

`/` is the page, `/docs` explains the HTTP interface, `/page/<path>` are their parts. The files call nothing but the
gateway's own public interface, which the content security policy holds them to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, Self

from holdfast_services.gateway.core.refusal import Answer

__all__ = ["PAGE_HEADERS", "POLICY", "Page", "StaticFile", "answer_file"]

POLICY: Final = "; ".join(
    (
        "default-src 'self'",
        # Pictures, sounds and films that a model answers with are shown from memory, never from a URL of its choice.
        "img-src 'self' data: blob:",
        "media-src 'self' data: blob:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "object-src 'none'",
    )
)
PAGE_HEADERS: Final = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"permissions-policy", b"camera=(self), microphone=(self), geolocation=()"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
_TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {
        ".html": "text/html; charset=utf-8",
        ".css": "text/css; charset=utf-8",
        ".js": "text/javascript; charset=utf-8",
        ".svg": "image/svg+xml",
        ".json": "application/json",
    }
)
"""What the page may consist of; other files of the folder are not served."""
_ADDRESSES: Final[Mapping[str, str]] = MappingProxyType({"index.html": "/", "docs.html": "/docs"})
"""Files with an address of their own."""


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file in memory."""

    body: bytes
    content_type: str
    etag: str
    """Strong: SHA-256 of the content, in quotes."""

    @classmethod
    def of(cls, body: bytes, content_type: str) -> Self:
        """With the ETag that belongs to `body`."""
        return cls(body, content_type, f'"{hashlib.sha256(body).hexdigest()[:32]}"')


def answer_file(
    file: StaticFile, if_none_match: str | None, extra: tuple[tuple[bytes, bytes], ...] = ()
) -> Answer:
    """The file, or 304 where the caller has it. Always asked for again, so that a new version shows at once."""
    headers = (
        (b"etag", file.etag.encode()),
        (b"cache-control", b"no-cache"),
        *extra,
    )
    if if_none_match is not None and file.etag in (
        tag.strip().removeprefix("W/") for tag in if_none_match.split(",")
    ):
        return Answer(304, b"", headers)
    described = (
        (b"content-type", file.content_type.encode()),
        (b"content-length", b"%d" % len(file.body)),
    )
    return Answer(200, file.body, described + headers)


class Page:
    """The files by the path that they are asked for."""

    def __init__(self, files: Mapping[str, StaticFile]) -> None:
        self.files = MappingProxyType(dict(files))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the folder. Raises ValueError where it holds no `index.html`."""
        files: dict[str, StaticFile] = {}
        for path in sorted(folder.rglob("*")):
            content_type = _TYPES.get(path.suffix)
            if content_type is None or not path.is_file():
                continue
            name = path.relative_to(folder).as_posix()
            files[_ADDRESSES.get(name, f"/page/{name}")] = StaticFile.of(path.read_bytes(), content_type)
        if "/" not in files:
            raise ValueError(f"{folder} has no index.html: point HOLDFAST_WEB_DIR at the folder `web`")
        return cls(files)

    def answer(self, path: str, if_none_match: str | None = None) -> Answer | None:
        """The answer to GET; None where the path is not the page's."""
        file = self.files.get(path)
        return None if file is None else answer_file(file, if_none_match, PAGE_HEADERS)
