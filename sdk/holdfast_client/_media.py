"""Pictures, sound, film and files: from a path, a URL, bytes or PIL; to a path, base64 or PIL."""

from __future__ import annotations

import base64
import html
import importlib
import io
import mimetypes
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import unquote_to_bytes, urlsplit

from holdfast_client._errors import APIConnectionError, HoldfastError

Source: TypeAlias = "str | os.PathLike[str] | bytes | Any"
"""A path, an http(s) or data: URL, bytes, or a PIL image."""

OCTETS: Final = "application/octet-stream"
MAX_DOWNLOAD_BYTES: Final = 256 * 1024 * 1024
DOWNLOAD_TIMEOUT_S: Final = 60.0
_MEDIA_TYPE: Final = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+", re.ASCII)
"""RFC 6838. Anything else, which a model or a stranger's file may say, could add a header or an attribute."""

_MAGIC: Final[tuple[tuple[int, bytes, str], ...]] = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF8", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (0, b"BM", "image/bmp"),
    (0, b"II*\x00", "image/tiff"),
    (0, b"MM\x00*", "image/tiff"),
    (8, b"WAVE", "audio/wav"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"\xff\xfb", "audio/mpeg"),
    (0, b"fLaC", "audio/flac"),
    (0, b"OggS", "audio/ogg"),
    (4, b"ftypM4A", "audio/mp4"),
    (4, b"ftyp", "video/mp4"),
    (0, b"\x1aE\xdf\xa3", "video/webm"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"PK\x03\x04", "application/zip"),
)
"""(offset, bytes, media type): how formats begin, by their own specifications."""


class MediaError(HoldfastError, ValueError):
    """A medium cannot be read, or is of another kind than asked for."""


@dataclass(frozen=True, slots=True)
class Media:
    """One picture, sound, film or file, in memory.

    >>> note = Media(b"hello", "text/plain", "note.txt")
    >>> note.data_uri
    'data:text/plain;base64,aGVsbG8='
    """

    data: bytes = field(repr=False)
    content_type: str = OCTETS
    filename: str | None = None

    @property
    def base64(self) -> str:
        """The bytes as base64 text."""
        return base64.b64encode(self.data).decode()

    @property
    def data_uri(self) -> str:
        """The bytes as a `data:` URI; this is how media travel inside JSON."""
        return f"data:{self.content_type};base64,{self.base64}"

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it to a file; a folder gets a file of its own name in it. Returns the file's path."""
        target = Path(path)
        if target.is_dir():
            suffix = mimetypes.guess_extension(self.content_type) or ""
            target = target / (Path(self.filename).name if self.filename else f"answer{suffix}")
        target.write_bytes(self.data)
        return target

    def to_pil(self) -> Any:
        """A `PIL.Image.Image`. Raises ImportError where Pillow is not installed."""
        # By name: Pillow is the caller's, not a dependency of this package.
        return importlib.import_module("PIL.Image").open(io.BytesIO(self.data))

    def __len__(self) -> int:
        return len(self.data)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        """Notebooks show pictures, sound and film as such."""
        kind = self.content_type.partition("/")[0]
        source = html.escape(self.data_uri)
        if kind == "image":
            return {"text/plain": repr(self), "text/html": f'<img src="{source}">'}
        if kind in ("audio", "video"):
            return {"text/plain": repr(self), "text/html": f'<{kind} controls src="{source}"></{kind}>'}
        return {"text/plain": repr(self)}


def image(source: Source) -> Media:
    """A picture, from a path, a URL, bytes or a PIL image (which is sent as PNG).

    Raises MediaError where the source cannot be read or is not a picture.
    """
    return _of_kind("image", source)


def audio(source: Source) -> Media:
    """A sound, from a path, a URL or bytes. Raises MediaError where it cannot be read or is not a sound."""
    return _of_kind("audio", source)


def video(source: Source) -> Media:
    """A film, from a path, a URL or bytes. Raises MediaError where it cannot be read or is not a film."""
    return _of_kind("video", source)


def file(source: Source) -> Media:
    """Anything, from a path, a URL or bytes. Raises MediaError where it cannot be read.

    >>> file(b"%PDF-1.7 ...").content_type
    'application/pdf'
    """
    if isinstance(source, Media):
        return source
    if isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
        return Media(data, sniff(data))
    if isinstance(source, str) and source.startswith("data:"):
        return _from_data_uri(source)
    if isinstance(source, str) and source.startswith(("http://", "https://")):
        return _download(source)
    if isinstance(source, str | os.PathLike):
        return _read(Path(source))
    if is_pil(source):
        buffer = io.BytesIO()
        source.save(buffer, format="PNG")
        return Media(buffer.getvalue(), "image/png", "image.png")
    raise MediaError(
        f"a {type(source).__name__} is no source of media: give a path, a URL, bytes or a PIL image"
    )


def is_pil(value: object) -> bool:
    """Whether it is a PIL image, without importing Pillow."""
    return any(base.__name__ == "Image" and base.__module__ == "PIL.Image" for base in type(value).__mro__)


def sniff(data: bytes) -> str:
    """The media type by how the bytes begin; `application/octet-stream` where that says nothing."""
    for offset, magic, media_type in _MAGIC:
        if data[offset : offset + len(magic)] == magic:
            return media_type
    return OCTETS


def from_answer(content: bytes, headers: Mapping[str, str]) -> Media:
    """An answer's body as a medium, with the file name that `content-disposition` gives. What its `content-type` says
    and is no media type counts as unsaid."""
    declared = headers.get("content-type", "").partition(";")[0].strip().lower()
    message = Message()
    message["content-disposition"] = headers.get("content-disposition", "attachment")
    known = _MEDIA_TYPE.fullmatch(declared) is not None
    return Media(content, declared if known else sniff(content), message.get_filename())


def _of_kind(kind: str, source: Source) -> Media:
    medium = file(source)
    found = medium.content_type.partition("/")[0]
    if found == kind or medium.content_type == OCTETS:
        # A format that neither its name nor its beginning tells may well be one: the model decides.
        return medium
    what = "the bytes given" if medium.filename is None else medium.filename
    raise MediaError(f"{what}: {medium.content_type}, not {kind}: use the helper of that kind, or file()")


def _read(path: Path) -> Media:
    path = path.expanduser()
    try:
        data = path.read_bytes()
    except OSError as error:
        raise MediaError(f"{path} cannot be read: {error.strerror}") from error
    return Media(data, mimetypes.guess_type(path.name)[0] or sniff(data), path.name)


def _from_data_uri(text: str) -> Media:
    head, comma, body = text[5:].partition(",")
    try:
        data = base64.b64decode(body, validate=True) if head.endswith(";base64") else unquote_to_bytes(body)
    except ValueError as error:
        raise MediaError(f"a data: URI whose base64 is broken: {error}") from error
    if not comma:
        raise MediaError("a data: URI without a comma: it must be data:<type>;base64,<data>")
    declared = head.removesuffix(";base64").partition(";")[0] or "text/plain"
    if _MEDIA_TYPE.fullmatch(declared) is None:
        raise MediaError(
            f"a data: URI of type {declared[:40]!r}, which is no media type: write it as image/png"
        )
    return Media(data, declared)


def _download(url: str) -> Media:
    """Fetch a medium. No token goes there."""
    import httpx2

    data = bytearray()
    try:
        with httpx2.stream("GET", url, follow_redirects=True, timeout=DOWNLOAD_TIMEOUT_S) as response:
            if response.status_code >= 400:
                raise MediaError(
                    f"{url} answered {response.status_code}: give a URL that can be read without a login"
                )
            for chunk in response.iter_bytes():
                data += chunk
                if len(data) > MAX_DOWNLOAD_BYTES:
                    raise MediaError(
                        f"{url} is larger than {MAX_DOWNLOAD_BYTES >> 20} MiB: download it yourself"
                    )
            declared = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise APIConnectionError(f"{url} cannot be fetched: {error or type(error).__name__}") from error
    name = Path(urlsplit(url).path).name or None
    told = declared != OCTETS and _MEDIA_TYPE.fullmatch(declared) is not None
    guessed = declared if told else mimetypes.guess_type(name or "")[0]
    return Media(bytes(data), guessed or sniff(bytes(data)), name)
