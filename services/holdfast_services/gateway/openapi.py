"""The OpenAPI 3.1 document of the gateway's own interface. Tests hold it against the running gateway."""

from __future__ import annotations

from typing import Any, Final

from holdfast_contract import names
from holdfast_contract import problems as p
from holdfast_contract.document import NAME_PATTERN
from holdfast_contract.problems import Problem
from holdfast_services.gateway.openapi_schemas import SCHEMAS, problem_schema

__all__ = ["DOCUMENT"]

_JSON: Final = "application/json"
_TOKEN: Final[list[dict[str, list[str]]]] = [{"token": []}, {}]
_ANYTHING: Final[dict[str, Any]] = {"*/*": {"schema": {}}}
_NAME: Final = {
    "name": "endpoint",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": NAME_PATTERN},
}
_ID: Final = {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}}
_WAIT: Final = {
    "name": "wait",
    "in": "query",
    "description": "Seconds to wait for the end, at most 120",
    "schema": {"type": "number", "minimum": 0},
}
_RETRY_HEADERS: Final = {
    "Retry-After": {
        "description": "Seconds, where it is known when to try again",
        "schema": {"type": "integer"},
    },
    names.HEADER_SHOULD_RETRY: {
        "description": "Whether sending the same request again can help and is safe",
        "schema": {"enum": ["true", "false"]},
    },
}


def _ok(description: str, schema: str) -> dict[str, Any]:
    content = {_JSON: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"description": description, "content": content}


def _page(description: str, content_type: str = "text/html") -> dict[str, Any]:
    return {"description": description, "content": {content_type: {"schema": {"type": "string"}}}}


def _refusals(*kinds: Problem) -> dict[str, Any]:
    """Responses by status; several kinds of problem may share one."""
    found: dict[str, Any] = {}
    for status in sorted({kind.status for kind in kinds}):
        same = [kind for kind in kinds if kind.status == status]
        references = [{"$ref": f"#/components/schemas/{problem_schema(kind)}"} for kind in same]
        found[str(status)] = {
            "description": "; or: ".join(f"{kind.title} (`{kind.slug}`)" for kind in same),
            "headers": _RETRY_HEADERS,
            "content": {
                "application/problem+json": {
                    "schema": references[0] if len(references) == 1 else {"oneOf": references}
                }
            },
        }
    return found


def _operation(
    operation_id: str,
    summary: str,
    responses: dict[str, Any],
    parameters: tuple[dict[str, Any], ...] = (),
    *,
    tag: str,
    description: str = "",
) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": operation_id,
        "tags": [tag],
        "summary": summary,
        "security": _TOKEN,
        "responses": responses,
    }
    if description:
        operation["description"] = description
    if parameters:
        operation["parameters"] = list(parameters)
    return operation


def _header(name: str, description: str, **schema: Any) -> dict[str, Any]:
    return {"name": name, "in": "header", "description": description, "schema": {"type": "string", **schema}}


# --- calls of endpoints ---------------------------------------------------------------------------------------
_CALL_PARAMETERS: Final = (
    _NAME,
    {
        "name": "route",
        "in": "path",
        "required": True,
        "description": "The container's own route; may hold slashes, and a query follows it as usual",
        "schema": {"type": "string"},
    },
    _header("Prefer", "`respond-async`: 202 at once. `wait=N`: 202 after N seconds without an answer"),
    _header(
        names.HEADER_DEADLINE, "Seconds from now, or an RFC 3339 time, after which the answer is of no use"
    ),
    _header(names.HEADER_IDEMPOTENCY_KEY, "The same key is executed once, and answered with the same result"),
    _header(
        names.HEADER_WEBHOOK_URL, "Where the end is posted to, signed as Standard Webhooks says", format="uri"
    ),
)
_ANSWER_HEADERS: Final = {
    names.HEADER_REQUEST_ID: {"description": "holdfast's id of the request", "schema": {"type": "string"}},
    names.HEADER_REPLICA: {
        "description": "The replica that worked on it: with it the answer is the model's own, whatever its status",
        "schema": {"type": "string"},
    },
    names.HEADER_ATTEMPT: {"description": "1 for the first delivery", "schema": {"type": "integer"}},
    names.HEADER_QUEUE_SECONDS: {"description": "Seconds waited for a replica", "schema": {"type": "number"}},
    names.HEADER_MODEL_SECONDS: {"description": "Seconds in the model", "schema": {"type": "number"}},
}
_CALL_PROBLEMS: Final = (
    p.BAD_REQUEST, p.UNAUTHENTICATED, p.FORBIDDEN, p.UNKNOWN_ENDPOINT, p.IDEMPOTENCY_RUNNING, p.GONE, p.TOO_LARGE,
    p.IDEMPOTENCY_MISMATCH, p.QUEUE_FULL, p.RATE_LIMITED, p.UPGRADE_REFUSED, p.BAD_ANSWER, p.QUEUE_DOWN, p.PAUSED,
    p.ACTIVATION_FAILED, p.GATEWAY_FULL, p.STOPPING, p.DEADLINE,
)  # fmt: skip


def _call(method: str) -> dict[str, Any]:
    operation = _operation(
        f"call_{method}",
        "Call an endpoint",
        {
            "200": {
                "description": "The model's own answer, whole or streamed; its status may be any",
                "headers": _ANSWER_HEADERS,
                "content": _ANYTHING,
            },
            "202": {
                **_ok("Accepted; the result is kept for 24 hours", "Accepted"),
                "headers": {"Location": {"description": "Its state", "schema": {"type": "string"}}},
            },
            **_refusals(*_CALL_PROBLEMS),
        },
        _CALL_PARAMETERS,
        tag="calls",
        description="The container's own routes, any method. The request is held until a replica is free; one that "
        "comes while none runs starts one. Where the platform has a domain, endpoints have hosts of their own.",
    )
    if method not in ("get", "head", "options"):
        operation["requestBody"] = {"description": "Passed on as it is", "content": _ANYTHING}
    return operation


# --- the document -------------------------------------------------------------------------------------------
_ABOUT_ENDPOINT: Final = (p.UNAUTHENTICATED, p.FORBIDDEN, p.UNKNOWN_ENDPOINT)
_ABOUT_REQUEST: Final = (p.BAD_REQUEST, p.UNAUTHENTICATED, p.UNKNOWN_REQUEST, p.QUEUE_DOWN, p.GATEWAY_FULL)
_TAIL: Final = {
    "name": "tail",
    "in": "query",
    "description": "Last lines of each replica",
    "schema": {"type": "integer", "minimum": 1, "maximum": 500, "default": 100},
}
_CONTAINER: Final = {
    "name": "container",
    "in": "query",
    "schema": {"enum": [names.MODEL_CONTAINER, names.WORKER_CONTAINER], "default": names.MODEL_CONTAINER},
}


def _template_parameter(name: str, description: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": {"type": "string"},
    }


_PATHS: Final[dict[str, Any]] = {
    "/e/{endpoint}/{route}": {
        method: _call(method) for method in ("get", "head", "post", "put", "patch", "delete", "options")
    },
    "/requests/{id}": {
        "get": _operation(
            "get_request",
            "State of a request; `?wait=N` returns when it has ended, or after N seconds",
            {"200": _ok("The state", "Request"), **_refusals(*_ABOUT_REQUEST)},
            (_ID, _WAIT),
            tag="requests",
        ),
        "delete": _operation(
            "cancel_request",
            "Withdraw a request",
            {"200": _ok("The state", "Request"), **_refusals(*_ABOUT_REQUEST)},
            (_ID,),
            tag="requests",
        ),
    },
    "/requests/{id}/result": {
        "get": _operation(
            "get_result",
            "The model's answer as it was: its status, headers and body",
            {
                "200": {
                    "description": "The model's answer; its status may be any from 200 to 599",
                    "content": _ANYTHING,
                },
                **_refusals(*_ABOUT_REQUEST, p.NOT_FINISHED, p.GONE, p.BAD_ANSWER, p.DEADLINE),
            },
            (_ID, _WAIT),
            tag="requests",
        )
    },
    "/v1/endpoints": {
        "get": _operation(
            "list_endpoints",
            "Public endpoints, and those that the token opens",
            {"200": _ok("Endpoints", "Endpoints")},
            tag="endpoints",
        )
    },
    "/v1/endpoints/{endpoint}": {
        "get": _operation(
            "get_endpoint",
            "One endpoint: replicas, waiting, running, last request, last cold start, cost",
            {"200": _ok("The endpoint", "Endpoint"), **_refusals(*_ABOUT_ENDPOINT)},
            (_NAME,),
            tag="endpoints",
        )
    },
    "/v1/endpoints/{endpoint}/events": {
        "get": _operation(
            "list_events",
            "What happened to its replicas within the last hour, oldest first, at most 100",
            {"200": _ok("Events; none where there is no cluster", "Events"), **_refusals(*_ABOUT_ENDPOINT)},
            (_NAME,),
            tag="endpoints",
        )
    },
    "/v1/endpoints/{endpoint}/logs": {
        "get": _operation(
            "get_logs",
            "The last lines that its replicas wrote; only with a token, also of a public endpoint",
            {
                "200": _ok("Of its newest replicas, at most 5, each at most 64 KiB", "Logs"),
                **_refusals(p.BAD_REQUEST, *_ABOUT_ENDPOINT),
            },
            (_NAME, _TAIL, _CONTAINER),
            tag="endpoints",
        )
    },
    "/v1/endpoints/{endpoint}/openapi.json": {
        "get": _operation(
            "get_endpoint_openapi",
            "The container's own OpenAPI document, where it has one at `/openapi.json`",
            {
                "200": {
                    "description": "As it said when a replica was ready last; `servers` names the endpoint's URL",
                    "content": {_JSON: {"schema": {"type": "object"}}},
                },
                **_refusals(*_ABOUT_ENDPOINT, p.NOT_FOUND),
            },
            (_NAME,),
            tag="endpoints",
        )
    },
    "/v1/templates": {
        "get": _operation(
            "list_templates",
            "The catalogue of templates",
            {"200": _ok("Templates", "Templates"), **_refusals(p.NOT_FOUND)},
            tag="templates",
        )
    },
    "/v1/templates/{template}": {
        "get": _operation(
            "get_template",
            "One template with its schemas, model card and examples",
            {"200": _ok("The template", "Template"), **_refusals(p.NOT_FOUND)},
            (_template_parameter("template", "Its name"),),
            tag="templates",
        )
    },
    "/v1/templates/{template}/files/{path}": {
        "get": _operation(
            "get_template_file",
            "A file that the template's description names",
            {"200": {"description": "The file", "content": _ANYTHING}, **_refusals(p.NOT_FOUND)},
            (_template_parameter("template", "Its name"), _template_parameter("path", "May hold slashes")),
            tag="templates",
        )
    },
    "/healthz": {
        "get": _operation("healthz", "The process works", {"200": _ok("It does", "Health")}, tag="gateway")
    },
    "/readyz": {
        "get": _operation(
            "readyz",
            "Requests can be taken",
            {"200": _ok("They can", "Health"), "503": _ok("Not yet", "Health")},
            tag="gateway",
        )
    },
    "/openapi.json": {
        "get": _operation(
            "openapi",
            "This document",
            {"200": {"description": "OpenAPI 3.1", "content": {_JSON: {"schema": {"type": "object"}}}}},
            tag="gateway",
        )
    },
    "/docs": {
        "get": _operation("docs", "This document, for people", {"200": _page("A page")}, tag="gateway")
    },
    "/problems": {
        "get": _operation("list_problems", "Every kind of problem", {"200": _page("A page")}, tag="gateway")
    },
    "/problems/{slug}": {
        "get": _operation(
            "get_problem",
            "One kind of problem: its cause, and what to do",
            {"200": _page("A page"), **_refusals(p.NOT_FOUND)},
            (
                {
                    "name": "slug",
                    "in": "path",
                    "required": True,
                    "schema": {"enum": [kind.slug for kind in p.ALL]},
                },
            ),
            tag="gateway",
        )
    },
}

DOCUMENT: Final[dict[str, Any]] = {
    "openapi": "3.1.0",
    "info": {
        "title": "holdfast gateway",
        "version": "1",
        "description": "Endpoints' own routes are served below `/e/{endpoint}/`; the rest is about them. "
        "Errors are problem documents (RFC 9457). Every path that takes GET takes HEAD.",
        "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    },
    "tags": [
        {"name": "calls", "description": "Endpoints' own routes"},
        {"name": "requests", "description": "Requests that were left with the gateway"},
        {"name": "endpoints", "description": "What endpoints there are, and how they do"},
        {"name": "templates", "description": "The catalogue"},
        {"name": "gateway", "description": "The gateway itself"},
    ],
    "paths": _PATHS,
    "components": {
        "securitySchemes": {
            "token": {"type": "http", "scheme": "bearer", "bearerFormat": "hf_<id>_<secret>"}
        },
        "schemas": SCHEMAS,
    },
}
