"""From a request to a method's arguments: JSON, forms, or a file as the whole body; every problem at once."""

from __future__ import annotations

import asyncio
import difflib
import json
from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartParser
from starlette.requests import Request
from starlette.types import Message, Receive

from holdfast_runtime import media
from holdfast_runtime.problems import BAD_REQUEST, TOO_LARGE, UNSUPPORTED, Failed, FieldError, bad_input
from holdfast_runtime.routes import Route, without_none

_SHOWN_CHARS: Final = 60
_JSON: Final = frozenset({"", "application/json"})
_FORMS: Final = frozenset({"multipart/form-data", "application/x-www-form-urlencoded"})
_REMEDIES: Final[Mapping[str, str]] = {
    "missing": "send it",
    "string_type": "put it in quotes",
    "json_invalid": "send valid JSON",
}


def limited(receive: Receive, max_bytes: int) -> Receive:
    """`receive` that raises Failed once more than `max_bytes` of body have come, whatever length was declared."""
    received = 0

    async def counted() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > max_bytes:
            raise too_large(max_bytes)
        return message

    # A form's files stay in memory: the container's root file system may be read-only.
    MultiPartParser.spool_max_size = max(MultiPartParser.spool_max_size, max_bytes)
    return counted


def too_large(max_bytes: int) -> Failed:
    """The body is larger than the service's limit."""
    return Failed(TOO_LARGE, f"the body is over {max_bytes} bytes, the service's `max_body_bytes`")


async def arguments(request: Request, route: Route) -> dict[str, Any]:
    """The method's arguments. Raises Failed."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in _FORMS:
        fields, files = await _form(request, route)
    elif kind in _JSON or kind.endswith("+json"):
        fields, files = _split(await _json(request), route)
    else:
        fields, files = await _raw(request, route, kind)
    if not files:
        return _validated(route, fields, {})
    # Pictures and base64 take their time: not on the event loop.
    return await asyncio.to_thread(_validated, route, fields, files)


async def _json(request: Request) -> Any:
    body = await request.body()
    if not body.strip():
        return {}
    try:
        return json.loads(body)
    except RecursionError:
        raise Failed(BAD_REQUEST, "the body is JSON of too great a depth: send flatter values") from None
    except ValueError as error:
        raise Failed(BAD_REQUEST, f"the body is not JSON: {error}") from None


def _split(value: Any, route: Route) -> tuple[Any, dict[str, Any]]:
    if not isinstance(value, dict):
        if route.whole:
            return value, {}
        text = _shown(value)
        raise bad_input([FieldError("body", text, "not an object", 'send {"parameter": value}')])
    files = {name: value[name] for name in route.media if value.get(name) is not None}
    return {name: one for name, one in value.items() if name not in route.media}, files


async def _form(request: Request, route: Route) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        # A text of a form may be a picture as base64, so as large as the body.
        form = await request.form(max_part_size=2**40)
    except HTTPException as error:
        raise Failed(BAD_REQUEST, f"the form cannot be read: {error.detail}") from None
    fields: dict[str, Any] = {}
    files: dict[str, Any] = {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            data = await value.read()
            files[name] = media.File(data, value.content_type or media.UNKNOWN_TYPE, value.filename)
        elif name in route.media:
            if value:
                files[name] = value
        else:
            fields[name] = _from_text(route, name, value)
    unknown = [name for name in files if name not in route.media]
    if unknown:
        raise bad_input([_unknown(name, "a file", route) for name in unknown])
    return fields, files


async def _raw(request: Request, route: Route, kind: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A file as the whole body, the other parameters in the query."""
    fields = {name: _from_text(route, name, value) for name, value in request.query_params.items()}
    body = await request.body()
    if not body:
        # Some clients name a type where they send nothing.
        return fields, {}
    takers = [name for name, (one, _) in route.media.items() if _fits(media.accepts(one), kind)]
    if len(takers) != 1:
        raise Failed(
            UNSUPPORTED, f"the body is {kind}, and /{route.name} has not exactly one parameter that takes it"
        )
    return fields, {takers[0]: media.File(body, kind)}


def _fits(accepted: str, kind: str) -> bool:
    family = accepted.partition("/")[0]
    return accepted == "*/*" or kind == media.UNKNOWN_TYPE or kind.startswith(f"{family}/")


def _from_text(route: Route, name: str, text: str) -> Any:
    """A form's or query's text: itself where the parameter is text, else what it says as JSON."""
    field = route.model.model_fields.get(name)
    if field is None or without_none(field.annotation) is str:
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _validated(route: Route, fields: Any, files: Mapping[str, Any]) -> dict[str, Any]:
    errors: list[FieldError] = []
    found: dict[str, Any] = {}
    for name, (kind, required) in route.media.items():
        if name not in files:
            if required:
                errors.append(FieldError(name, "missing", "required", "send it: a form's file, or base64"))
            continue
        try:
            given = files[name]
            if isinstance(given, str):
                given = media.from_text(given)
            elif not isinstance(given, media.File):
                raise media.BadMedia("not text", "send base64 or a data URI")
            found[name] = media.shaped(kind, given)
        except media.BadMedia as error:
            value = given if isinstance(given, str) else "a file"
            errors.append(FieldError(name, _shown(value), error.rule, error.remedy))
    try:
        model = route.model.model_validate(fields)
    except ValidationError as error:
        errors += [_error(one, route) for one in error.errors(include_url=False)]
    else:
        found |= {route.whole: model} if route.whole else _values(model)
    if errors:
        raise bad_input(errors)
    return found


def _values(model: BaseModel) -> dict[str, Any]:
    return {name: getattr(model, name) for name in type(model).model_fields}


def _error(error: ErrorDetails, route: Route) -> FieldError:
    path = ""
    for part in error["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    if error["type"] == "missing":
        return FieldError(path, "missing", "required", "send it")
    if error["type"] == "extra_forbidden":
        return _unknown(path, _shown(error["input"]), route)
    rule = error["msg"][:1].lower() + error["msg"][1:]
    remedy = _REMEDIES.get(error["type"], "see the route's schema in /openapi.json")
    return FieldError(path or "body", _shown(error["input"]), rule, remedy)


def _unknown(path: str, value: str, route: Route) -> FieldError:
    known = sorted({*route.media, *route.model.model_fields})
    close = difflib.get_close_matches(path, known, n=1, cutoff=0.6)
    remedy = (
        f"did you mean {close[0]}?" if close else f"send only {', '.join(known)}" if known else "leave it out"
    )
    return FieldError(path, value, "no parameter of this route", remedy)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…"
