"""What a row of the table says about one type."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

Client = Any
"""A boto3 client: its methods are made at run time, from AWS's service descriptions."""


class Session(Protocol):
    """What a row may ask of the AWS stand-in beyond its own service."""

    @property
    def region(self) -> str: ...
    @property
    def account(self) -> str: ...
    def client(self, service: str, region: str | None = None) -> Client: ...


@dataclass(frozen=True, slots=True)
class Values:
    """One resource, while a call is made for it."""

    properties: Mapping[str, Any]
    """By their names in Pulumi; inputs, and outputs where they are known."""
    id: str
    """Empty until it is created."""
    session: Session

    def get(self, name: str, otherwise: Any = None) -> Any:
        """A property; `otherwise` where it is missing or null."""
        value = self.properties.get(name)
        return otherwise if value is None else value

    def __getitem__(self, name: str) -> Any:
        return self.properties[name]


Source = str | Callable[[Values], Any]
"""Where a parameter's value comes from: a property's name, `@id`, or a function. None leaves the parameter out."""
Extract = str | Callable[[Any, Values], Any]
"""Where an output's value comes from: a JMESPath into what was found, or a function of it."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the API."""

    method: str
    """As boto3 names it."""
    parameters: Mapping[str, Source]


Action = Call | Callable[[Client, Values], Any]
"""A call, or a function for what takes more than one."""


@dataclass(frozen=True, slots=True)
class Update:
    """How some properties are changed in place."""

    properties: tuple[str, ...]
    action: Action
    after_create: bool = False
    """Also run when a resource has just been created with one of these properties: `create` cannot set them."""


@dataclass(frozen=True, slots=True)
class Tags:
    """How tags are set, read and removed."""

    add: str = ""
    remove: str = ""
    owner: tuple[str, Source] = ("", "")
    """The parameter that says whose tags, and where it comes from."""
    replace: Callable[[Client, Values, Mapping[str, str]], None] | None = None
    """Sets all tags at once, in place of `add` and `remove`."""
    read: Action | None = None
    """A call of its own; None: the tags are in what was found."""
    path: str = "Tags"
    """JMESPath to them, in the answer of `read` or in what was found."""
    key: str = "Key"
    """Field for the name in a list of tags; empty: tags are a map."""
    value: str = "Value"
    tags_parameter: str = "Tags"
    keys_parameter: str = "TagKeys"
    plural: bool = False
    """The owner's parameter takes a list."""
    remove_by_tags: bool = False
    """`remove` takes tags, not keys."""
    ignored: tuple[str, ...] = ("aws:",)
    """Beginnings of names that AWS adds by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One type. A changed input that no update covers means replacement."""

    token: str
    service: str
    """The boto3 client."""
    create: Action
    identity: Extract
    """The id, from the answer of `create`."""
    read: Action
    found: Extract = "@"
    """The resource in the answer of `read`; None: it is not there."""
    outputs: Mapping[str, Extract]
    updates: tuple[Update, ...] = ()
    delete: Action
    take_back: Action | None = None
    """Instead of `delete`, for what failed half-way: where `delete` leaves something that blocks a second try."""
    tags: Tags | None = None
    required: tuple[str, ...] = ()
    name: str | None = None
    """The property that is made up from the resource's name in the program where the user gives none."""
    name_prefix: str = ""
    """Put before a made-up name."""
    name_length: int = 64
    unique: tuple[str, ...] = ()
    """Properties that no second resource may have at the same time: with the same values, a replacement deletes
    first. The name need not be listed."""
    inputs: tuple[str, ...] = ()
    """Inputs that no update covers and no parameter of `create` names: without an output of the same name, or used
    by a function only. What is listed nowhere is an output alone, and left out at an import."""
    computed: frozenset[str] = frozenset()
    """Properties that AWS decides where nobody declares them: taken out of a program, they stay what they are."""
    local: frozenset[str] = frozenset()
    """Inputs that are no fields of the API: a change of them alone needs no call."""
    json: frozenset[str] = frozenset()
    """Properties that hold JSON text, compared by meaning."""
    secrets: frozenset[str] = frozenset()
    """Properties that are secret whatever the inputs are."""
    adds: frozenset[str] = frozenset()
    """Properties whose outputs have fields that nobody declares."""
    unsure: frozenset[str] = frozenset()
    """Outputs that any update may change."""
    usual: Mapping[str, Any] = field(default_factory=dict)
    """Values that a property has where nobody declares it: declaring one of these changes nothing."""
    recorded: bool = False
    """The AWS stand-in lacks it: what was declared is written down, and nothing else happens."""

    def known_inputs(self) -> frozenset[str]:
        """Inputs that have an effect here."""
        covered = {name for update in self.updates for name in update.properties}
        extra = {"tags", "tagsAll"} if self.tags else set()
        return frozenset({*self.outputs, *self.inputs, *self.local, *covered, *extra, "region"})


def pascal(value: Any, renames: Mapping[str, str] | None = None) -> Any:
    """Pulumi's `camelCase` fields as the API's `PascalCase`, at every depth; None values are left out."""
    names = renames or {}
    if isinstance(value, Mapping):
        return {
            names.get(key, key[:1].upper() + key[1:]): pascal(item, renames)
            for key, item in value.items()
            if item is not None
        }
    if isinstance(value, list):
        return [pascal(item, renames) for item in value]
    return value


def camel(value: Any, renames: Mapping[str, str] | None = None) -> Any:
    """The reverse of `pascal`, with the same renames."""
    names = {new: old for old, new in (renames or {}).items()}
    if isinstance(value, Mapping):
        return {
            names.get(key, key[:1].lower() + key[1:]): camel(item, renames) for key, item in value.items()
        }
    if isinstance(value, list):
        return [camel(item, renames) for item in value]
    return value


@dataclass(frozen=True, slots=True)
class Function:
    """A function that reads (`aws.get_…`)."""

    token: str
    run: Callable[[Session, Mapping[str, Any]], dict[str, Any]]
    secrets: frozenset[str] = field(default_factory=frozenset)
    """Results that are secret."""
