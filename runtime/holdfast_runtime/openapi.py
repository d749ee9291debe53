"""The OpenAPI 3.1 document of a service, from its annotations."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Final

from holdfast_runtime import media, problems
from holdfast_runtime.routes import Route, Streaming
from holdfast_runtime.service import Service

_REF: Final = "#/components/schemas/{model}"
_PROBLEM: Final = {"$ref": "#/components/schemas/Problem"}
_PROBLEM_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "description": "RFC 9457, with cause and remedy",
    "required": ["type", "title", "status", "detail", "remedy"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "remedy": {"type": "string"},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {key: {"type": "string"} for key in ("path", "value", "rule", "remedy")},
            },
        },
    },
}
_JSON: Final = "application/json"


def document(kind: type[Service], routes: Sequence[Route]) -> dict[str, Any]:
    """The whole document."""
    schemas: dict[str, Any] = {"Problem": _PROBLEM_SCHEMA}
    paths: dict[str, Any] = {}
    for route in routes:
        operation = _operation(route, schemas)
        for path in route.paths:
            # The same work under two paths is two operations: their ids differ.
            name = route.name if path != "/" else f"{route.name}_at_root"
            paths[path] = {"post": {"operationId": name, **operation}}
    paths["/healthcheck"] = {
        "get": {
            "operationId": "healthcheck",
            "summary": "200 once setup() has ended, and nothing hangs",
            "responses": {"200": {"description": "Ready"}, "503": _problem("Not ready, or hung")},
        }
    }
    description = (kind.__doc__ or "").strip() if kind.__doc__ != Service.__doc__ else ""
    return {
        "openapi": "3.1.0",
        "info": {"title": kind.__name__, "version": "1", "description": description},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _operation(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {"summary": route.summary}
    if route.description:
        operation["description"] = route.description
    operation["requestBody"] = _body(route, schemas)
    found = {
        kind.status: kind
        for kind in problems.ALL
        if kind not in (problems.NOT_FOUND, problems.METHOD_NOT_ALLOWED, problems.HUNG)
    }
    operation["responses"] = {
        "200": _answer(route, schemas),
        **{str(status): _problem(kind.title) for status, kind in sorted(found.items())},
    }
    return operation


def _problem(title: str) -> dict[str, Any]:
    return {"description": title, "content": {problems.MEDIA_TYPE: {"schema": _PROBLEM}}}


def _body(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    schema = _lifted(route.model.model_json_schema(ref_template=_REF, mode="validation"), schemas)
    form = copy.deepcopy(schema)
    for name, (kind, required) in route.media.items():
        for one, text in ((schema, True), (form, False)):
            one.setdefault("properties", {})[name] = _file(kind, text)
            if required:
                one["required"] = [*one.get("required", ()), name]
    content: dict[str, Any] = {_JSON: {"schema": schema}}
    if not route.whole:
        content["multipart/form-data"] = {"schema": form}
    takers = [kind for kind, _ in route.media.values()]
    if len(takers) == 1:
        content[media.accepts(takers[0])] = {"schema": {"type": "string", "format": "binary"}}
    return {"required": bool(schema.get("required")), "content": content}


def _file(kind: type[Any], text: bool) -> dict[str, Any]:
    if not text:
        return {"type": "string", "format": "binary", "contentMediaType": media.accepts(kind)}
    return {
        "type": "string",
        "contentEncoding": "base64",
        "contentMediaType": media.accepts(kind),
        "description": "Base64, or a data URI.",
    }


def _answer(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    binary = {"schema": {"type": "string", "format": "binary"}}
    kind = route.answer_kind
    if route.streaming is Streaming.EVENTS:
        item = _json_schema(route, schemas)
        return {
            "description": "One event for each item, whose data is the item as JSON",
            "content": {"text/event-stream": {"schema": {"type": "string"}, "x-item-schema": item}},
        }
    if kind is str:
        return {"description": "Text", "content": {"text/plain": {"schema": {"type": "string"}}}}
    if kind is bytes or (isinstance(kind, type) and issubclass(kind, media.File)):
        range_ = media.accepts(kind) if kind is not bytes else media.UNKNOWN_TYPE
        return {"description": "A file", "content": {range_: binary}}
    if media.is_image(kind):
        types = dict.fromkeys(media.IMAGE_FORMATS, binary)
        return {"description": "A picture, PNG unless `Accept` says otherwise", "content": types}
    return {"description": "The answer", "content": {_JSON: {"schema": _json_schema(route, schemas)}}}


def _json_schema(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    assert route.answer is not None  # files and text were told apart before
    return _lifted(route.answer.json_schema(ref_template=_REF, mode="serialization"), schemas)


def _lifted(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """The schema with its definitions moved to the document's components."""
    schemas.update(schema.pop("$defs", {}))
    return schema
