"""What is sent, from the command line: JSON, files, form fields, headers."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast_cli.errors import CommandError
from holdfast_cli.exits import Exit

if TYPE_CHECKING:
    from holdfast_client import Media

_UNKNOWN = "application/octet-stream"
_CREDENTIALS = ("authorization", "cookie", "proxy-authorization")


@dataclass(frozen=True)
class Sent:
    """A request's parts as the client takes them."""

    input: Any
    files: dict[str, Media] | None
    form: dict[str, str] | None
    headers: dict[str, str]


def read(data: str | None, fields: tuple[str, ...], headers: tuple[str, ...]) -> Sent:
    """Raises CommandError for what cannot be read, naming the option and the value."""
    if data is not None and fields:
        raise CommandError("-d and -F exclude each other", "send a body or a form", Exit.USAGE)
    files, form = _fields(fields)
    return Sent(
        input=_data(data),
        files=files if fields else None,
        form=form if fields else None,
        headers=dict(_header(one) for one in headers),
    )


def _data(text: str | None) -> Any:
    if text is None:
        return None
    if text.startswith("@"):
        return _file(text[1:])
    try:
        return json.loads(text, parse_constant=_no_number)
    except ValueError as error:
        raise CommandError(
            f"-d {text[:60]!r} is not JSON: {error}",
            'quote it for the shell, as in -d \'{"text": "hello"}\', or send a file with -d @FILE',
            Exit.USAGE,
        ) from error


def _no_number(text: str) -> Any:
    """Python's JSON knows NaN and Infinity; JSON does not, and no gateway would take them."""
    raise ValueError(f"{text} is no JSON number")


def _file(path: str) -> Media:
    """A file, or standard input for `-`; JSON is recognised by the file's name or, unnamed, by its content."""
    from holdfast_client import Media, file

    if path != "-":
        return file(Path(path))
    medium = file(sys.stdin.buffer.read())
    if medium.content_type == _UNKNOWN and _is_json(medium.data):
        return Media(medium.data, "application/json")
    return medium


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    return True


def _fields(fields: tuple[str, ...]) -> tuple[dict[str, Media], dict[str, str]]:
    files: dict[str, Media] = {}
    form: dict[str, str] = {}
    for one in fields:
        name, equals, value = one.partition("=")
        if not equals:
            # A file alone: most servers that take one call it so.
            name, value = "file", f"@{one}"
        if not name or name in files or name in form:
            raise CommandError(
                f"-F {one!r}: field {name!r} is empty or given twice",
                "write -F name=value or -F name=@FILE",
                Exit.USAGE,
            )
        if value.startswith("@"):
            files[name] = _file(value[1:])
        else:
            form[name] = value
    return files, form


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    name = name.strip()
    if not colon or not name:
        raise CommandError(f"-H {text!r} has no colon", "write -H 'Name: value'", Exit.USAGE)
    if name.lower() in _CREDENTIALS:
        raise CommandError(
            f"-H {name}: credentials on a command line are seen by every user of this machine",
            "put the token into HOLDFAST_TOKEN, a file for --token-file, or the config file",
            Exit.USAGE,
        )
    return name, value.strip()
