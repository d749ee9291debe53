"""The schemas of the gateway's OpenAPI document, each kind of problem among them."""

from __future__ import annotations

from typing import Any, Final

from holdfast_contract import problems
from holdfast_contract.coldstart import PHASES, Verdict
from holdfast_contract.document import NAME_PATTERN
from holdfast_contract.messages import RequestState
from holdfast_contract.problems import Problem

__all__ = ["SCHEMAS", "problem_schema"]

_NUMBER: Final = {"type": ["number", "null"]}
_COUNT: Final = {"type": ["integer", "null"]}
_TEXT: Final = {"type": ["string", "null"]}


def problem_schema(kind: Problem) -> str:
    """The name of a problem's schema."""
    return f"problem.{kind.slug}"


def _problem(kind: Problem) -> dict[str, Any]:
    return {
        "title": kind.title,
        "description": f"{kind.cause}\n\nWhat to do: {kind.remedy}",
        "allOf": [{"$ref": "#/components/schemas/Problem"}],
        "properties": {"type": {"const": kind.type}, "status": {"const": kind.status}},
        "examples": [
            {
                "type": kind.type,
                "title": kind.title,
                "status": kind.status,
                "detail": "",
                "remedy": kind.remedy,
            }
        ],
    }


def _object(required: tuple[str, ...], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


def _list(of: str) -> dict[str, Any]:
    return {"type": "array", "items": {"$ref": f"#/components/schemas/{of}"}}


_ENDPOINT: Final = _object(
    ("name", "url", "state", "visibility", "replicas", "waiting", "running"),
    name={"type": "string", "pattern": NAME_PATTERN},
    url={"type": "string", "description": "Where it answers, without a trailing slash"},
    description={"type": "string"},
    state={"enum": ["active", "paused"]},
    visibility={"enum": ["private", "public"]},
    template={
        "type": ["object", "null"],
        "description": "The template that it was cloned from",
        "properties": {"name": {"type": "string"}, "version": {"type": "string"}},
    },
    scaling={"type": "object", "additionalProperties": {"type": "integer"}},
    rate_limit={
        "type": ["object", "null"],
        "description": "For each token, or client address where public",
        "properties": {"requests": {"type": "integer"}, "window_s": {"type": "integer"}},
    },
    replicas=_object((), desired=_COUNT, pending=_COUNT, ready=_COUNT, busy=_COUNT),
    waiting=_COUNT,
    running=_COUNT,
    last_request_at={**_NUMBER, "description": "Unix seconds"},
    failure={**_TEXT, "description": "Why no replica can get ready, and what to do"},
    last_cold_start={
        "type": ["object", "null"],
        "description": "Seconds from acceptance until each phase",
        "properties": dict.fromkeys(
            ("accepted", "scaled", "scheduled", "pulled", "ready", "answered"), _NUMBER
        ),
    },
    cold_start_phases={
        "type": "array",
        "description": "The estimate beside the last cold start. Empty: neither is known",
        "items": {"$ref": "#/components/schemas/ColdStartPhase"},
    },
    window_s={"type": "number", "description": "What latency and errors look back on, seconds"},
    latency={
        "type": ["object", "null"],
        "description": "Seconds from arrival to the answer's end, through this gateway",
        "properties": {"count": _COUNT, "p50_s": _NUMBER, "p90_s": _NUMBER, "p99_s": _NUMBER},
    },
    errors={
        "type": "object",
        "description": "How many by cause, through this gateway; `model-5xx`: the model's own",
        "additionalProperties": {"type": "integer"},
    },
    cost={
        "type": ["object", "null"],
        "description": "Machines only, at list prices. Null: the declaration has no price",
        "properties": {
            "usd_per_replica_hour": {"type": "number"},
            "usd_per_hour_now": {**_NUMBER, "description": "Replicas that exist now. Null: not known"},
            "usd_this_month": {**_NUMBER, "description": "Since the month began (UTC), as far as seen"},
            "instance_type": {"type": "string"},
            "region": {"type": "string"},
            "prices_from": {"type": "string", "format": "date"},
            "note": {"type": "string"},
        },
    },
)

_COLD_START_PHASE: Final = _object(
    ("phase", "low_s", "high_s", "last_s", "verdict", "why"),
    phase={"enum": list(PHASES)},
    low_s={**_NUMBER, "description": "Estimated seconds at its fastest. Null: not known"},
    high_s={**_NUMBER, "description": "Estimated seconds at its slowest. Null: not known, or only in part"},
    last_s={**_NUMBER, "description": "Seconds of the last real one. Null: not seen"},
    verdict={
        "enum": [*(verdict.value for verdict in Verdict), None],
        "description": "The real one against its estimate. Null: one of both is missing, or says nothing",
    },
    why={"type": "string", "description": "Where the figures come from, or what is missing for them"},
)

_ACCEPTED: Final = _object(
    ("id", "status", "poll_url"),
    id={"type": "string"},
    status={"const": RequestState.QUEUED.value},
    poll_url={"type": "string"},
)

_REQUEST: Final = _object(
    ("id", "endpoint", "status", "created_at", "poll_url"),
    id={"type": "string"},
    endpoint={"type": "string"},
    status={"enum": [state.value for state in RequestState]},
    queue_position=_COUNT,
    created_at={"type": "number"},
    started_at=_NUMBER,
    completed_at=_NUMBER,
    attempt={"type": "integer"},
    replica=_TEXT,
    http_status=_COUNT,
    error=_TEXT,
    poll_url={"type": "string"},
    result_url=_TEXT,
)

_EVENT: Final = _object(
    ("at", "type", "reason", "object", "message", "count"),
    at={"type": "string", "format": "date-time", "description": "When it was seen last"},
    type={"enum": ["Normal", "Warning"]},
    reason={"type": "string"},
    object={"type": "string", "description": "kind/name"},
    message={"type": "string"},
    count={"type": "integer"},
)

_LOG: Final = _object(
    ("replica", "text"),
    replica={"type": "string"},
    text={"type": "string", "description": "The last lines of the container's output"},
)

_TEMPLATE_SUMMARY: Final = _object(
    ("name", "version", "title"),
    name={"type": "string"},
    version={"type": "string"},
    title={"type": "string"},
    description=_TEXT,
    licence=_TEXT,
    hardware=_TEXT,
    image=_TEXT,
)

SCHEMAS: Final[dict[str, Any]] = {
    "Health": _object(("status",), status={"type": "string"}),
    "Endpoints": _object(("endpoints",), endpoints=_list("Endpoint")),
    "Endpoint": _ENDPOINT,
    "ColdStartPhase": _COLD_START_PHASE,
    "Events": _object(("events",), events=_list("Event")),
    "Event": _EVENT,
    "Logs": _object(("container", "replicas"), container={"type": "string"}, replicas=_list("Log")),
    "Log": _LOG,
    "Templates": _object(("templates",), templates=_list("TemplateSummary")),
    "TemplateSummary": _TEMPLATE_SUMMARY,
    "Template": {
        "description": "`template.yaml` with its schemas, model card and examples",
        "allOf": [{"$ref": "#/components/schemas/TemplateSummary"}],
        "properties": {
            "model_card": {"type": "string", "description": "Markdown"},
            "input_path": {"type": "string"},
            "input_encoding": {"enum": ["json", "multipart"]},
            "input_schema": {"type": "object"},
            "output_schema": {"type": "object"},
            "examples": {"type": "array", "items": {"type": "object"}},
        },
    },
    "Accepted": _ACCEPTED,
    "Request": _REQUEST,
    "Problem": _object(
        ("type", "title", "status", "remedy"),
        type={"type": "string", "format": "uri", "description": "Every gateway explains it at /problems/…"},
        title={"type": "string"},
        status={"enum": sorted({kind.status for kind in problems.ALL})},
        detail={"type": "string", "description": "What was wrong in this case"},
        remedy={"type": "string"},
        error={
            "type": "object",
            "description": "The same where OpenAI's clients look for it",
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "code": {"type": "string"},
            },
        },
        request_id={"type": "string"},
    ),
    **{problem_schema(kind): _problem(kind) for kind in problems.ALL},
}
