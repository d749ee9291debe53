"""The OpenAPI 3.1 document of the gateway's own interface. Tests hold it against the running gateway."""

from __future__ import annotations

from typing import Any, Final

from holdfast_contract import problems
from holdfast_contract.document import NAME_PATTERN
from holdfast_contract.messages import RequestState

__all__ = ["DOCUMENT"]

_PROBLEM: Final = {
    "description": "A problem: RFC 9457, with cause and remedy",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
_JSON: Final = "application/json"
_TOKEN: Final[list[dict[str, list[str]]]] = [{"token": []}, {}]
_NAME: Final = {
    "name": "endpoint",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": NAME_PATTERN},
}

_ID: Final = {
    "name": "id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "format": "uuid"},
}
_WAIT: Final = {
    "name": "wait",
    "in": "query",
    "description": "Seconds, at most 120",
    "schema": {"type": "number", "minimum": 0},
}


def _ok(description: str, schema: str) -> dict[str, Any]:
    return {
        "description": description,
        "content": {_JSON: {"schema": {"$ref": f"#/components/schemas/{schema}"}}},
    }


def _get(summary: str, responses: dict[str, Any], parameters: list[Any] | None = None) -> dict[str, Any]:
    operation: dict[str, Any] = {"summary": summary, "security": _TOKEN, "responses": responses}
    if parameters:
        operation["parameters"] = parameters
    return operation


_HEALTH: Final = {"type": "object", "properties": {"status": {"type": "string"}}, "required": ["status"]}
_NUMBER: Final = {"type": ["number", "null"]}
_COUNT: Final = {"type": ["integer", "null"]}

DOCUMENT: Final[dict[str, Any]] = {
    "openapi": "3.1.0",
    "info": {
        "title": "holdfast gateway",
        "version": "1",
        "description": "Endpoints' own routes are served below `/e/{endpoint}/`, any method; the rest is here.",
    },
    "paths": {
        "/healthz": {"get": _get("The process works", {"200": _ok("It does", "Health")})},
        "/readyz": {
            "get": _get(
                "Requests can be taken", {"200": _ok("They can", "Health"), "503": _ok("Not yet", "Health")}
            )
        },
        "/openapi.json": {
            "get": _get(
                "This document",
                {"200": {"description": "OpenAPI 3.1", "content": {_JSON: {"schema": {"type": "object"}}}}},
            )
        },
        "/v1/endpoints": {
            "get": _get(
                "Public endpoints, and those that the token opens", {"200": _ok("Endpoints", "Endpoints")}
            )
        },
        "/requests/{id}": {
            "get": _get(
                "State of a request; `?wait=N` returns when it has ended, or after N seconds",
                {"200": _ok("The state", "Request"), "401": _PROBLEM, "404": _PROBLEM, "503": _PROBLEM},
                [_ID, _WAIT],
            ),
            "delete": _get(
                "Withdraw a request",
                {"200": _ok("The state", "Request"), "401": _PROBLEM, "404": _PROBLEM, "503": _PROBLEM},
                [_ID],
            ),
        },
        "/requests/{id}/result": {
            "get": _get(
                "The model's answer as it was: its status, headers and body",
                {
                    "200": {"description": "The model's answer; its status may be any from 200 to 599"},
                    "401": _PROBLEM,
                    "404": _PROBLEM,
                    "409": _PROBLEM,
                    "410": _PROBLEM,
                    "503": _PROBLEM,
                    "504": _PROBLEM,
                },
                [_ID, _WAIT],
            )
        },
        "/v1/endpoints/{endpoint}": {
            "get": _get(
                "One endpoint: replicas, waiting, running, last request, last cold start",
                {"200": _ok("The endpoint", "Endpoint"), "401": _PROBLEM, "403": _PROBLEM, "404": _PROBLEM},
                [_NAME],
            )
        },
    },
    "components": {
        "securitySchemes": {
            "token": {"type": "http", "scheme": "bearer", "bearerFormat": "hf_<id>_<secret>"}
        },
        "schemas": {
            "Health": _HEALTH,
            "Endpoints": {
                "type": "object",
                "properties": {
                    "endpoints": {"type": "array", "items": {"$ref": "#/components/schemas/Endpoint"}}
                },
                "required": ["endpoints"],
            },
            "Endpoint": {
                "type": "object",
                "properties": {
                    "name": {"type": "string", "pattern": NAME_PATTERN},
                    "url": {"type": "string"},
                    "description": {"type": "string"},
                    "state": {"enum": ["active", "paused"]},
                    "visibility": {"enum": ["private", "public"]},
                    "template": {"type": ["object", "null"]},
                    "scaling": {"type": "object"},
                    "replicas": {
                        "type": "object",
                        "properties": {"desired": _COUNT, "pending": _COUNT, "ready": _COUNT, "busy": _COUNT},
                    },
                    "waiting": _COUNT,
                    "running": _COUNT,
                    "last_request_at": _NUMBER,
                    "failure": {"type": ["string", "null"]},
                    "last_cold_start": {
                        "type": ["object", "null"],
                        "description": "Seconds from acceptance until each phase",
                        "properties": dict.fromkeys(
                            ("accepted", "scaled", "scheduled", "pulled", "ready", "answered"), _NUMBER
                        ),
                    },
                    "window_s": {"type": "number", "description": "What latency and errors look back on"},
                    "latency": {
                        "type": ["object", "null"],
                        "description": "Seconds from arrival to the answer's end, through this gateway",
                        "properties": {"count": _COUNT, "p50_s": _NUMBER, "p90_s": _NUMBER, "p99_s": _NUMBER},
                    },
                    "errors": {
                        "type": "object",
                        "description": "How many by cause, through this gateway; `model-5xx`: the model's own",
                        "additionalProperties": {"type": "integer"},
                    },
                },
                "required": ["name", "url", "state", "visibility", "replicas", "waiting", "running"],
            },
            "Request": {
                "type": "object",
                "properties": {
                    "id": {"type": "string"},
                    "endpoint": {"type": "string"},
                    "status": {"enum": [state.value for state in RequestState]},
                    "queue_position": _COUNT,
                    "created_at": {"type": "number"},
                    "started_at": _NUMBER,
                    "completed_at": _NUMBER,
                    "attempt": {"type": "integer"},
                    "replica": {"type": ["string", "null"]},
                    "http_status": _COUNT,
                    "error": {"type": ["string", "null"]},
                    "poll_url": {"type": "string"},
                    "result_url": {"type": ["string", "null"]},
                },
                "required": ["id", "endpoint", "status", "created_at", "poll_url"],
            },
            "Problem": {
                "type": "object",
                "properties": {
                    "type": {"type": "string"},
                    "title": {"type": "string"},
                    "status": {"enum": sorted({problem.status for problem in problems.ALL})},
                    "detail": {"type": "string"},
                    "remedy": {"type": "string"},
                    "request_id": {"type": "string"},
                },
                "required": ["type", "title", "status", "remedy"],
            },
        },
    },
}
