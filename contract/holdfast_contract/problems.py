"""Every error of the HTTP interface: RFC 9457 problem documents, each with cause and remedy.

`retry` says whether sending the same request again can help and is safe: it becomes `x-should-retry`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Problem:
    """One kind of error."""

    slug: str
    status: int
    title: str
    remedy: str
    retry: bool


def _p(slug: str, status: int, title: str, remedy: str, *, retry: bool = False) -> Problem:
    return Problem(slug, status, title, remedy, retry)


BAD_REQUEST: Final = _p(
    "bad-request", 400, "The request is malformed", "Correct what `detail` names and send it again."
)
UNAUTHENTICATED: Final = _p(
    "unauthenticated",
    401,
    "No valid token",
    "Send `Authorization: Bearer hf_…` with one of the endpoint's tokens; `holdfast token new` makes one.",
)
FORBIDDEN: Final = _p(
    "forbidden",
    403,
    "This token opens another endpoint",
    "Use one of this endpoint's tokens, or add this token's hash to the endpoint's `tokens`.",
)
UNKNOWN_ENDPOINT: Final = _p(
    "unknown-endpoint",
    404,
    "No such endpoint",
    "`GET /v1/endpoints` lists what exists; a new endpoint appears a second after `pulumi up`.",
)
UNKNOWN_REQUEST: Final = _p(
    "unknown-request", 404, "No such request", "Requests are kept 24 hours; check the id and the token."
)
NOT_FOUND: Final = _p("not-found", 404, "No such page", "`/openapi.json` lists what this server answers.")
METHOD_NOT_ALLOWED: Final = _p(
    "method-not-allowed", 405, "This page does not take that method", "See the `Allow` header."
)
NOT_FINISHED: Final = _p(
    "not-finished",
    409,
    "The request has no result yet",
    "Wait with `GET /requests/<id>?wait=20`, then read the result.",
    retry=True,
)
IDEMPOTENCY_RUNNING: Final = _p(
    "idempotency-running",
    409,
    "A request with this idempotency key is still under way",
    "Wait for it: `detail` names its id.",
    retry=True,
)
GONE: Final = _p(
    "no-result",
    410,
    "The request ended without a result",
    "`detail` says why; send the request again if it is still wanted.",
)
TOO_LARGE: Final = _p(
    "too-large",
    413,
    "The request body is too large",
    "Send a smaller body, or a URL that the model fetches itself.",
)
IDEMPOTENCY_MISMATCH: Final = _p(
    "idempotency-mismatch",
    422,
    "This idempotency key was used with another request",
    "Use a new key for a new request.",
)
QUEUE_FULL: Final = _p(
    "queue-full",
    429,
    "The endpoint's queue is full",
    "Send it again after `Retry-After`; raise `scaling.max_replicas` or `max_queue` if this is usual.",
    retry=True,
)
RATE_LIMITED: Final = _p(
    "rate-limited",
    429,
    "Too many requests",
    "Send it again after `Retry-After`; a clone of the template has no shared limit.",
    retry=True,
)
UPGRADE_REFUSED: Final = _p(
    "upgrade-refused",
    501,
    "WebSockets are not served",
    "Stream with server-sent events or a chunked body instead.",
)
BAD_ANSWER: Final = _p(
    "bad-answer",
    502,
    "The model's answer was not valid HTTP, or broke off on every attempt",
    "See the endpoint's logs: `holdfast logs <endpoint>`.",
)
QUEUE_DOWN: Final = _p(
    "queue-down",
    503,
    "The queue cannot be reached",
    "Nothing was accepted; send it again after `Retry-After`.",
    retry=True,
)
PAUSED: Final = _p(
    "paused",
    503,
    "The endpoint is paused",
    'Set `state` to "active" in its declaration and run `pulumi up`.',
)
ACTIVATION_FAILED: Final = _p(
    "activation-failed",
    503,
    "The endpoint could not start a replica",
    "`detail` names the cause and what to change.",
)
STOPPING: Final = _p(
    "stopping", 503, "This gateway is stopping", "Send it again: another gateway answers.", retry=True
)
DEADLINE: Final = _p(
    "deadline",
    504,
    "The deadline passed before the answer was ready",
    "Allow more time (`X-Deadline`, `scaling.max_request_s`), or submit with `Prefer: respond-async`.",
)

ALL: Final = tuple(value for value in list(globals().values()) if isinstance(value, Problem))
"""Every kind, for the OpenAPI document and the docs."""
