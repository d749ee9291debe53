"""Every error that a service answers with: RFC 9457 documents of the same shape as the gateway's.

The code that serves raises `Failed`; this table alone knows their HTTP.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from starlette.responses import Response

MEDIA_TYPE: Final = "application/problem+json"
HEADER_SHOULD_RETRY: Final = "x-should-retry"
HEADER_REQUEST_ID: Final = "x-request-id"
"""Given by the worker that stands before the service; repeated on problems, so that logs can be matched."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of error. `retry`: whether the same request sent again can help and is safe."""

    slug: str
    status: int
    title: str
    remedy: str
    retry: bool = False


BAD_REQUEST: Final = Kind(
    "bad-request", 400, "The request is malformed", "Correct what `detail` names and send it again."
)
NOT_FOUND: Final = Kind("not-found", 404, "No such page", "`/openapi.json` lists what this server answers.")
METHOD_NOT_ALLOWED: Final = Kind(
    "method-not-allowed", 405, "This page does not take that method", "See the `Allow` header."
)
TOO_LARGE: Final = Kind("too-large", 413, "The request body is too large", "Send a smaller body.")
UNSUPPORTED: Final = Kind(
    "unsupported-media-type",
    415,
    "The body is of a kind that this route does not read",
    "Send `content-type: application/json` or a form; `/openapi.json` lists what each route takes.",
)
BAD_INPUT: Final = Kind(
    "bad-input",
    422,
    "The input does not fit the route",
    "Correct every entry of `errors`; `/openapi.json` has the route's schema.",
)
MODEL_ERROR: Final = Kind(
    "model-error",
    500,
    "The service's own code failed",
    "See its logs (`holdfast logs <endpoint>`): the traceback is there under the request's id.",
)
NOT_READY: Final = Kind(
    "not-ready",
    503,
    "The service is not ready yet",
    "Send it again when `/healthcheck` answers 200: `setup()` is still at work.",
    retry=True,
)
HUNG: Final = Kind(
    "hung",
    503,
    "A call of the service hangs",
    "Nothing was begun; send it again: the replica is about to be restarted.",
    retry=True,
)

ALL: Final = tuple(value for value in list(globals().values()) if isinstance(value, Kind))
"""Every kind, for the OpenAPI document and the tests."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong thing in the input. Its text is `path is value, rule: remedy`."""

    path: str
    """Where, as the input has it: `image`, `boxes[0].width`."""
    value: str
    """What stands there, shortened; `missing` where nothing does."""
    rule: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.path} is {self.value}, {self.rule}: {self.remedy}"


class Failed(Exception):
    """A request is not answered as asked, for a reason of the table."""

    def __init__(self, kind: Kind, detail: str, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(f"{kind.slug}: {detail}")
        self.kind = kind
        self.detail = detail
        self.errors = tuple(errors)


class InputError(Exception):
    """Raised by a service's code: the caller's input is wrong in a way that only the code can see.

    Answered as 422. `path`: the parameter, `rule`: what does not hold, `remedy`: what to send instead.
    `value`: what was sent, as it may be shown; empty: not shown.
    """

    def __init__(self, path: str, rule: str, remedy: str, value: str = "") -> None:
        self.error = FieldError(path, value or "(not shown)", rule, remedy)
        super().__init__(str(self.error))


def bad_input(errors: Sequence[FieldError]) -> Failed:
    """All that is wrong with an input, at once."""
    count = "1 problem" if len(errors) == 1 else f"{len(errors)} problems"
    return Failed(BAD_INPUT, f"{count}: " + "; ".join(map(str, errors)), errors)


def document(failed: Failed, request_id: str | None) -> dict[str, Any]:
    """The RFC 9457 document."""
    found: dict[str, Any] = {
        "type": f"https://holdfast.dev/problems/{failed.kind.slug}",
        "title": failed.kind.title,
        "status": failed.kind.status,
        "detail": failed.detail,
        "remedy": failed.kind.remedy,
    }
    if failed.errors:
        found["errors"] = [asdict(error) for error in failed.errors]
    if request_id is not None:
        found["request_id"] = request_id
    return found


def encoded(failed: Failed, request_id: str | None) -> bytes:
    """The document as JSON. What a caller sent may hold halves of characters, which UTF-8 has not: they become `?`."""
    return json.dumps(document(failed, request_id), ensure_ascii=False).encode(errors="replace")


def answer(failed: Failed, request_id: str | None, headers: dict[str, str] | None = None) -> Response:
    """The document as an answer."""
    sent = {HEADER_SHOULD_RETRY: "true" if failed.kind.retry else "false", **(headers or {})}
    if request_id is not None:
        sent[HEADER_REQUEST_ID] = request_id
    if failed.kind.retry:
        sent["retry-after"] = "5"
    return Response(encoded(failed, request_id), failed.kind.status, sent, MEDIA_TYPE)
