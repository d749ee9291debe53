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
    cause: str
    """When it happens, in full; for the reference, not for answers, whose `detail` says it of the one case."""

    @property
    def type(self) -> str:
        """The URI that names this kind of problem in answers."""
        return f"{TYPE_PREFIX}{self.slug}"


TYPE_PREFIX: Final = "https://holdfast.dev/problems/"
"""Names the kinds; every gateway serves the same pages at `/problems/<slug>`."""


def _p(slug: str, status: int, title: str, remedy: str, cause: str, *, retry: bool = False) -> Problem:
    return Problem(slug, status, title, remedy, retry, cause)


BAD_REQUEST: Final = _p(
    "bad-request",
    400,
    "The request is malformed",
    "Correct what `detail` names and send it again.",
    "A header or a parameter has a form that cannot be read: `Prefer`, `X-Deadline`, `Webhook-Url`,"
    " `Idempotency-Key`, `wait`, a request id, or a body that ended before its `Content-Length`.",
)
UNAUTHENTICATED: Final = _p(
    "unauthenticated",
    401,
    "No valid token",
    "Send `Authorization: Bearer hf_…` with one of the endpoint's tokens; `holdfast token new` makes one.",
    "The endpoint is private, and the request carries no `Authorization` header, or a token that "
    "opens nothing here: mistyped, cut off, or taken out of the endpoint's declaration.",
)
FORBIDDEN: Final = _p(
    "forbidden",
    403,
    "This token opens another endpoint",
    "Use one of this endpoint's tokens, or add this token's hash to the endpoint's `tokens`.",
    "The token is valid and opens another endpoint of this platform, not this one.",
)
UNKNOWN_ENDPOINT: Final = _p(
    "unknown-endpoint",
    404,
    "No such endpoint",
    "`GET /v1/endpoints` lists what exists; a new endpoint appears a second after `pulumi up`.",
    "No endpoint of that name is declared on this platform, or it was removed, or its `pulumi up` "
    "has not ended.",
)
UNKNOWN_REQUEST: Final = _p(
    "unknown-request",
    404,
    "No such request",
    "Requests are kept 24 hours; check the id and the token.",
    "No request has this id, it ended more than 24 hours ago, or the token opens another endpoint "
    "than the request's.",
)
NOT_FOUND: Final = _p(
    "not-found",
    404,
    "No such page",
    "`/openapi.json` lists what this server answers.",
    "The path is none of the gateway's own pages, and begins with neither `/e/<endpoint>/` nor an "
    "endpoint's host.",
)
METHOD_NOT_ALLOWED: Final = _p(
    "method-not-allowed",
    405,
    "This page does not take that method",
    "See the `Allow` header.",
    "One of the gateway's own pages was asked with a method that it does not take. Endpoints' own "
    "routes take any.",
)
NOT_FINISHED: Final = _p(
    "not-finished",
    409,
    "The request has no result yet",
    "Wait with `GET /requests/<id>?wait=20`, then read the result.",
    "The result was asked for while the request still waits or runs.",
    retry=True,
)
IDEMPOTENCY_RUNNING: Final = _p(
    "idempotency-running",
    409,
    "A request with this idempotency key is still under way",
    "Wait for it: `detail` names its id.",
    "A request with the same `Idempotency-Key`, endpoint and token has not ended. It is not "
    "executed a second time.",
    retry=True,
)
GONE: Final = _p(
    "no-result",
    410,
    "The request ended without a result",
    "`detail` says why; send the request again if it is still wanted.",
    "The request was withdrawn, its deadline passed before a replica took it, or every attempt "
    "failed: there is no answer to give.",
)
TOO_LARGE: Final = _p(
    "too-large",
    413,
    "The request body is too large",
    "Send a smaller body, or a URL that the model fetches itself.",
    "The body is longer than the gateway takes (256 MiB unless its operator says otherwise).",
)
IDEMPOTENCY_MISMATCH: Final = _p(
    "idempotency-mismatch",
    422,
    "This idempotency key was used with another request",
    "Use a new key for a new request.",
    "The `Idempotency-Key` belongs to an earlier request with another method, route or body.",
)
QUEUE_FULL: Final = _p(
    "queue-full",
    429,
    "The endpoint's queue is full",
    "Send it again after `Retry-After`; raise `scaling.max_replicas` or `max_queue` if this is usual.",
    "All replicas are busy and as many requests wait as `scaling.max_queue` allows. Nothing was accepted.",
    retry=True,
)
RATE_LIMITED: Final = _p(
    "rate-limited",
    429,
    "Too many requests",
    "Send it again after `Retry-After`; a clone of the template has no shared limit.",
    "The token (or, for a public endpoint, the client address) has sent more than the endpoint's "
    "`rate_limit` in its window. Quickstart templates take 15 an hour.",
    retry=True,
)
UPGRADE_REFUSED: Final = _p(
    "upgrade-refused",
    501,
    "WebSockets are not served",
    "Stream with server-sent events or a chunked body instead.",
    "The request asks for a WebSocket (`Upgrade`), which cannot wait in a queue.",
)
BAD_ANSWER: Final = _p(
    "bad-answer",
    502,
    "The model's answer was not valid HTTP, or broke off on every attempt",
    "See the endpoint's logs: `holdfast logs <endpoint>`.",
    "The model closed the connection, or sent what is not HTTP, on each of three attempts; or it "
    "broke off in the middle of an answer. The model's own error answers are passed on instead, "
    "whatever their status.",
)
QUEUE_DOWN: Final = _p(
    "queue-down",
    503,
    "The queue cannot be reached",
    "Nothing was accepted; send it again after `Retry-After`.",
    "The broker that keeps requests did not confirm this one in time. It was not accepted.",
    retry=True,
)
PAUSED: Final = _p(
    "paused",
    503,
    "The endpoint is paused",
    'Set `state` to "active" in its declaration and run `pulumi up`.',
    "The endpoint's declaration says `state: paused`: it has no replicas and takes no requests.",
)
ACTIVATION_FAILED: Final = _p(
    "activation-failed",
    503,
    "The endpoint could not start a replica",
    "`detail` names the cause and what to change.",
    "No replica can get ready: its image cannot be pulled, a secret is missing, it crashes, its "
    "contract is broken, no machine with its GPU is free, or it was not ready within "
    "`scaling.startup_budget_s`.",
)
GATEWAY_FULL: Final = _p(
    "gateway-full",
    503,
    "This gateway takes no more connections",
    "Send it again after `Retry-After`; raise `gateway.memory_mib` or `gateway.replicas` if this is usual.",
    "As many callers are waiting for answers, or sending bodies, as one gateway takes "
    "(`holdfast_connections_max`). Nothing was accepted. Connections without a request do not count: they give way.",
    retry=True,
)
STOPPING: Final = _p(
    "stopping",
    503,
    "This gateway is stopping",
    "Send it again: another gateway answers.",
    "The gateway that took the connection is being replaced and takes no new requests.",
    retry=True,
)
DEADLINE: Final = _p(
    "deadline",
    504,
    "The deadline passed before the answer was ready",
    "Allow more time (`X-Deadline`, `scaling.max_request_s`), or submit with `Prefer: respond-async`.",
    "`X-Deadline`, or `scaling.max_request_s` seconds, passed since the request was accepted. It is"
    " not worked on any more.",
)

ALL: Final = tuple(value for value in list(globals().values()) if isinstance(value, Problem))
"""Every kind, for the OpenAPI document and the docs."""
