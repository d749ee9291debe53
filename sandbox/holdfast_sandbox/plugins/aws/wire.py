"""Pulumi's property values on the wire and as plain Python: secrets and unknown values are marked structs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf import struct_pb2

_SIGNATURE: Final = "4dabf18193072939515e22adb298388d"
_SECRET: Final = "1b47061264138c4ac30d75fd1eb44270"
_UNKNOWN_TEXT: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
_UNKNOWNS: Final = frozenset(
    {
        _UNKNOWN_TEXT,
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",  # bool
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",  # number
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",  # array
        "030794c1-ac77-496b-92df-f27374a8bd58",  # asset
        "e48ece36-62e2-4504-bad9-02848725956a",  # archive
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",  # object
    }
)
"""Fixed by the protocol: sdk/go/common/resource/plugin/rpc.go."""


class Unknown:
    """A value that a preview cannot know yet."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown()
"""The only one of its kind."""


@dataclass(frozen=True, slots=True)
class Properties:
    """A resource's properties, by their names in Pulumi."""

    plain: dict[str, Any]
    """Without marks; UNKNOWN where the value is not known."""
    secret: frozenset[str]
    """The names whose values are secret, or contain something that is."""

    def secret_texts(self) -> frozenset[str]:
        """Every text and number in a secret property, as text."""
        return frozenset(text for name in self.secret for text in _texts(self.plain.get(name)))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str | int | float) and not isinstance(value, bool) and value != "":
        yield str(value)


def decode(message: struct_pb2.Struct) -> Properties:
    """From the wire."""
    plain: dict[str, Any] = {}
    secret = set()
    for name, value in message.fields.items():
        marks: list[bool] = []
        plain[name] = _decode(value, marks)
        if marks:
            secret.add(name)
    return Properties(plain, frozenset(secret))


def _decode(value: struct_pb2.Value, secrets: list[bool]) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return UNKNOWN if value.string_value in _UNKNOWNS else value.string_value
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    if kind == "bool_value":
        return value.bool_value
    if kind == "list_value":
        return [_decode(item, secrets) for item in value.list_value.values]
    if kind == "struct_value":
        fields = value.struct_value.fields
        if _SIGNATURE in fields and fields[_SIGNATURE].string_value == _SECRET:
            secrets.append(True)
            return _decode(fields["value"], secrets)
        return {name: _decode(item, secrets) for name, item in fields.items()}
    return None


def encode(plain: Mapping[str, Any], secret: Collection[str] = ()) -> struct_pb2.Struct:
    """To the wire; the properties named in `secret` are marked. None values are left out."""
    message = struct_pb2.Struct()
    for name, value in plain.items():
        if value is None:
            continue
        encoded = _encode(value)
        if name in secret:
            marked = message.fields[name].struct_value
            marked.fields[_SIGNATURE].string_value = _SECRET
            marked.fields["value"].CopyFrom(encoded)
        else:
            message.fields[name].CopyFrom(encoded)
    return message


def _encode(value: Any) -> struct_pb2.Value:
    if value is None:
        return struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)
    if isinstance(value, Unknown):
        return struct_pb2.Value(string_value=_UNKNOWN_TEXT)
    if isinstance(value, bool):
        return struct_pb2.Value(bool_value=value)
    if isinstance(value, int | float):
        return struct_pb2.Value(number_value=value)
    if isinstance(value, str):
        return struct_pb2.Value(string_value=value)
    if isinstance(value, Mapping):
        made = struct_pb2.Struct()
        for name, item in value.items():
            made.fields[str(name)].CopyFrom(_encode(item))
        return struct_pb2.Value(struct_value=made)
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value) if isinstance(value, set | frozenset) else value
        return struct_pb2.Value(list_value=struct_pb2.ListValue(values=[_encode(item) for item in items]))
    # Dates come from boto3 as datetimes.
    return struct_pb2.Value(string_value=value.isoformat() if hasattr(value, "isoformat") else str(value))


def has_unknown(value: Any) -> bool:
    """Whether a plain value is, or contains, something unknown."""
    if isinstance(value, Unknown):
        return True
    if isinstance(value, Mapping):
        return any(has_unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(has_unknown(item) for item in value)
    return False
