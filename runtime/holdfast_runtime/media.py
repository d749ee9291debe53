"""Files, sound and pictures as parameters and answers."""

from __future__ import annotations

import base64
import binascii
import io
import re
import sys
from dataclasses import dataclass
from typing import Any, ClassVar, Final

IMAGE_FORMATS: Final = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP"}
"""What a picture can be answered as; the first unless the caller's `Accept` names another."""
MAX_IMAGE_PIXELS: Final = 100_000_000
"""A small file can unfold to gigabytes: a picture above this is refused before it is decoded."""
UNKNOWN_TYPE: Final = "application/octet-stream"
_TYPE: Final = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(;[ -~]*)?", re.ASCII)
"""A media type with its parameters (RFC 6838): it may be sent back as a header."""


@dataclass(frozen=True, slots=True)
class File:
    """A file, as a parameter or as an answer."""

    data: bytes
    content_type: str = UNKNOWN_TYPE
    name: str | None = None
    """As the caller names it: never a path to be opened. On an answer: what browsers save it as."""

    accepts: ClassVar[str] = "*/*"
    """The types that a parameter takes."""
    usual_type: ClassVar[str] = UNKNOWN_TYPE
    """Taken where a caller names no type."""

    def open(self) -> io.BytesIO:
        """The bytes as a file object."""
        return io.BytesIO(self.data)


@dataclass(frozen=True, slots=True)
class Audio(File):
    """Sound: encoded as the content type says. As a parameter any `audio/*`; the code decodes it."""

    content_type: str = "audio/wav"
    accepts: ClassVar[str] = "audio/*"
    usual_type: ClassVar[str] = "audio/wav"


class BadMedia(ValueError):
    """What was sent is no such thing. `args`: the rule and the remedy."""

    def __init__(self, rule: str, remedy: str) -> None:
        super().__init__(rule, remedy)
        self.rule = rule
        self.remedy = remedy


def from_text(text: str) -> File:
    """A file from a data URI or base64. Raises BadMedia; nothing is ever fetched."""
    content_type = UNKNOWN_TYPE
    if text.startswith(("http://", "https://")):
        raise BadMedia(
            "a link, which is never fetched", "send the bytes: a form's file, base64 or a data URI"
        )
    if text.startswith("data:"):
        head, comma, text = text[5:].partition(",")
        if not comma or not head.endswith(";base64"):
            raise BadMedia("a data URI without base64", "write data:<type>;base64,<data>")
        content_type = head.removesuffix(";base64") or content_type
        if not _TYPE.fullmatch(content_type):
            raise BadMedia("a data URI of no media type", "write data:<type>;base64,<data>")
    try:
        return File(base64.b64decode("".join(text.split()), validate=True), content_type)
    except (binascii.Error, ValueError):
        raise BadMedia(
            "not base64", "encode the file's bytes as base64, or send a form with the file"
        ) from None


def shaped(kind: type[Any], file: File) -> Any:
    """The file as the parameter's annotation wants it: bytes, File, Audio or a PIL image. Raises BadMedia."""
    if not file.data:
        raise BadMedia("empty", "send the file's bytes")
    if kind is bytes:
        return file.data
    if is_image(kind):
        return _image(file.data)
    if kind is File:
        return file
    family = kind.accepts.partition("/")[0]
    known = file.content_type != UNKNOWN_TYPE
    if known and not file.content_type.startswith(f"{family}/"):
        raise BadMedia(f"{file.content_type}, not {kind.accepts}", f"send a file of type {kind.accepts}")
    return kind(file.data, file.content_type if known else kind.usual_type, file.name)


def is_image(kind: object) -> bool:
    """Whether an annotation means a PIL image; PIL itself is only loaded where somebody else has."""
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(kind, type) and issubclass(kind, module.Image)


def is_media(kind: object) -> bool:
    """Whether an annotation means bytes that travel as a file."""
    return kind is bytes or (isinstance(kind, type) and issubclass(kind, File)) or is_image(kind)


def accepts(kind: object) -> str:
    """The media type or range of an annotation that means a file."""
    if is_image(kind):
        return "image/*"
    return kind.accepts if isinstance(kind, type) and issubclass(kind, File) else "*/*"


def _image(data: bytes) -> Any:
    from PIL import Image, ImageOps

    remedy = "send a PNG, JPEG, WebP, GIF, BMP or TIFF"
    try:
        image = Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"))
        if image.width * image.height > MAX_IMAGE_PIXELS:
            raise BadMedia(
                f"a picture of {image.width}×{image.height}, above {MAX_IMAGE_PIXELS // 10**6} megapixels",
                "scale it down",
            )
        image.load()
        # As people see it: turned as its metadata says.
        return ImageOps.exif_transpose(image)
    except BadMedia:
        raise
    except Exception as error:  # a damaged file makes the library fail in as many ways as it has formats
        raise BadMedia(f"no picture that can be read ({type(error).__name__})", remedy) from None


def encoded_image(image: Any, accept: str) -> tuple[bytes, str]:
    """A PIL image as bytes and their type: the first type of `Accept` that is one of ours, else PNG."""
    asked = [part.partition(";")[0].strip() for part in accept.split(",")]
    content_type = next((part for part in asked if part in IMAGE_FORMATS), "image/png")
    if content_type == "image/jpeg" and image.mode not in {"RGB", "L"}:
        image = image.convert("RGB")
    out = io.BytesIO()
    image.save(out, format=IMAGE_FORMATS[content_type])
    return out.getvalue(), content_type
