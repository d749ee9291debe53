"""What a service class says by its methods and annotations, read once: routes with typed parameters."""

from __future__ import annotations

import collections.abc
import inspect
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, TypeAdapter, create_model
from pydantic.fields import FieldInfo

from holdfast_runtime.media import File, is_media
from holdfast_runtime.service import RESERVED, Service

_ITERATORS: Final = (
    collections.abc.Generator,
    collections.abc.Iterator,
    collections.abc.Iterable,
    collections.abc.AsyncGenerator,
    collections.abc.AsyncIterator,
    collections.abc.AsyncIterable,
)


class ServiceError(Exception):
    """The class cannot be served; the text says where and what to change, every reason in a line of its own."""


class Streaming(Enum):
    """How a route's answer comes."""

    NO = "no"
    EVENTS = "events"
    """Server-sent events, one for each item as JSON."""
    TEXT = "text"
    """Chunks of UTF-8."""
    BYTES = "bytes"
    """Chunks of bytes."""


@dataclass(frozen=True)
class Route:
    """One method, as HTTP sees it."""

    name: str
    summary: str
    description: str
    media: dict[str, tuple[type[Any], bool]]
    """Parameters that are files: the annotation, and whether the caller must send it."""
    model: type[BaseModel]
    """The other parameters; where `whole` is set, the one parameter's own model."""
    whole: str | None
    """The parameter that is the whole JSON body: the only one, and a pydantic model."""
    answer: TypeAdapter[Any] | None
    """How an answer (or each item of a stream) becomes JSON; None where it is a file, text or bytes."""
    answer_kind: Any
    """The annotation of the answer, or of each item."""
    streaming: Streaming
    is_async: bool

    @property
    def paths(self) -> tuple[str, ...]:
        """Where it answers."""
        return (f"/{self.name}", "/") if self.name == "infer" else (f"/{self.name}",)


def routes_of(kind: type[Service]) -> tuple[Route, ...]:
    """All routes of a class, `infer` first. Raises ServiceError with everything that is wrong."""
    wrong: list[str] = []
    found = []
    for name, method in inspect.getmembers(kind, inspect.isfunction):
        if name.startswith("_") or name in RESERVED or getattr(Service, name, None) is method:
            continue
        try:
            found.append(_route(name, method))
        except ServiceError as error:
            wrong.append(str(error))
    if not any(route.name == "infer" for route in found) and not any("infer" in text for text in wrong):
        wrong.append(
            f"{kind.__name__} has no method `infer`: write what the route / does as `def infer(self, …)`"
        )
    if kind.concurrency < 1:
        wrong.append(f"{kind.__name__}.concurrency is {kind.concurrency}, below 1: set 1 or more")
    if kind.hung_after_s <= 0:
        wrong.append(f"{kind.__name__}.hung_after_s is {kind.hung_after_s}, not above 0: set seconds")
    if wrong:
        raise ServiceError("\n".join(wrong))
    return tuple(sorted(found, key=lambda route: (route.name != "infer", route.name)))


def _route(name: str, method: Callable[..., Any]) -> Route:
    where = method.__qualname__
    try:
        hints = typing.get_type_hints(method, include_extras=True)
    except Exception as error:
        raise ServiceError(
            f"{where}: an annotation cannot be read ({error}): import what it names"
        ) from error
    media: dict[str, tuple[type[Any], bool]] = {}
    fields: dict[str, Any] = {}
    for parameter in list(inspect.signature(method).parameters.values())[1:]:
        kind, required = _parameter(where, parameter, hints)
        base = without_none(kind)
        if is_media(base):
            media[parameter.name] = (base, required)
        else:
            fields[parameter.name] = (kind, ... if required else parameter.default)
    only = next(iter(fields.values()))[0] if len(fields) == 1 and not media else None
    whole = next(iter(fields)) if isinstance(only, type) and issubclass(only, BaseModel) else None
    streaming, answer_kind = _answer(where, method, hints)
    plain = answer_kind in (str, bytes) or is_media(answer_kind)
    summary, _, description = (inspect.getdoc(method) or name.replace("_", " ").capitalize()).partition("\n")
    try:
        model = only if whole else create_model(_title(name), __config__=ConfigDict(extra="forbid"), **fields)
        answer = None if plain else TypeAdapter(answer_kind)
    except Exception as error:
        text = str(error).partition("\n")[0]
        raise ServiceError(
            f"{where}: an annotation is nothing that JSON has ({text}): use plain types, pydantic models, bytes or File"
        ) from error
    return Route(
        name=name,
        summary=summary.rstrip("."),
        description=description.strip(),
        media=media,
        model=typing.cast(type[BaseModel], model),
        whole=whole,
        answer=answer,
        answer_kind=answer_kind,
        streaming=streaming,
        is_async=inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method),
    )


def _title(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_")) + "Input"


def _parameter(where: str, parameter: inspect.Parameter, hints: dict[str, Any]) -> tuple[Any, bool]:
    name = parameter.name
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
        raise ServiceError(f"{where}: parameter {parameter} has no name of its own: write each one out")
    if name not in hints:
        raise ServiceError(
            f"{where}: parameter {name} has no annotation: write its type, such as `{name}: str`"
        )
    if name.startswith("_") or name in dir(BaseModel):
        raise ServiceError(f"{where}: parameter {name} has a name that is taken: choose another")
    required = parameter.default is parameter.empty
    if isinstance(parameter.default, FieldInfo):
        required = parameter.default.is_required()
    return hints[name], required


def without_none(kind: Any) -> Any:
    """`X` of `Optional[X]` and of `Annotated[X, …]`."""
    if typing.get_origin(kind) is typing.Annotated:
        return without_none(typing.get_args(kind)[0])
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        others = [one for one in typing.get_args(kind) if one is not types.NoneType]
        return without_none(others[0]) if len(others) == 1 else kind
    return kind


def _answer(where: str, method: Callable[..., Any], hints: dict[str, Any]) -> tuple[Streaming, Any]:
    if "return" not in hints:
        raise ServiceError(
            f"{where}: the answer has no annotation: write `-> …`, `-> None` where there is none"
        )
    kind = hints["return"]
    generator = inspect.isgeneratorfunction(method) or inspect.isasyncgenfunction(method)
    origin = typing.get_origin(kind)
    if not generator and origin not in _ITERATORS:
        return Streaming.NO, without_none(kind) if is_media(without_none(kind)) else kind
    if origin not in _ITERATORS:
        raise ServiceError(f"{where}: yields, but its answer is {kind!r}: write `-> Iterator[…]`")
    item = typing.get_args(kind)[0] if typing.get_args(kind) else Any
    if item is str:
        return Streaming.TEXT, str
    if item is bytes:
        return Streaming.BYTES, bytes
    if is_media(item) or (isinstance(item, type) and issubclass(item, File)):
        raise ServiceError(f"{where}: streams files: yield bytes, or items that JSON has")
    return Streaming.EVENTS, item
