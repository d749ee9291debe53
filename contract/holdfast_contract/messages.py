"""What travels through the queue, and the states of a request."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from holdfast_contract.document import Frozen


class RequestState(StrEnum):
    """QUEUED → RUNNING → one of the terminal states, each of which is written once and never changed."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    """The model answered, whatever its status: its own 4xx and 5xx are results."""
    FAILED = "FAILED"
    """No attempt gave an answer."""
    EXPIRED = "EXPIRED"
    """The deadline passed."""
    CANCELED = "CANCELED"
    """The caller withdrew it."""

    @property
    def terminal(self) -> bool:
        """Whether this state is final."""
        return self not in _TRANSITIONS


_TRANSITIONS: Final[dict[RequestState, frozenset[RequestState]]] = {
    RequestState.QUEUED: frozenset(
        {RequestState.RUNNING, RequestState.FAILED, RequestState.EXPIRED, RequestState.CANCELED}
    ),
    RequestState.RUNNING: frozenset(
        {
            RequestState.QUEUED,  # redelivered: the attempt was lost
            RequestState.RUNNING,  # a further attempt
            RequestState.SUCCEEDED,
            RequestState.FAILED,
            RequestState.EXPIRED,
            RequestState.CANCELED,
        }
    ),
}


def may_follow(before: RequestState, after: RequestState) -> bool:
    """Whether a request may go from one state to another; nothing follows a terminal state."""
    return after in _TRANSITIONS.get(before, frozenset())


class Mode(StrEnum):
    """How the caller waits."""

    SYNC = "sync"
    ASYNC = "async"


MAX_DELIVERIES: Final = 3
ACK_WAIT_S: Final = 15
PROGRESS_INTERVAL_S: Final = 5
"""A worker says "still at it" this often, three times within ACK_WAIT_S."""


class RequestMessage(Frozen):
    """The head of a queued request, in the message header `Holdfast-Request` as JSON; the body follows as the
    payload, or in the object store under `body_object`."""

    id: str
    endpoint: str
    method: str
    path: str
    """Path and query, as the model container receives them; starts with `/`."""
    headers: tuple[tuple[str, str], ...] = ()
    """Callers' headers in order, lower-cased names, hop-by-hop and credentials removed."""
    mode: Mode = Mode.SYNC
    accepted_at: float
    """Unix seconds."""
    deadline_at: float
    """Unix seconds; a request that was not started by then is EXPIRED."""
    reply_url: str | None = None
    """Where the worker streams the answer to: the gateway that holds the caller, signed."""
    body_object: str | None = None
    body_length: int = 0
    """Bytes of the body, wherever it is."""
    recorded: bool = False
    """Whether the request has a record, so that its states and its result are kept: asynchronous ones, and those
    with an idempotency key."""
    webhook_url: str | None = None
    traceparent: str | None = None


REQUEST_HEADER: Final = "Holdfast-Request"
"""NATS message header with `RequestMessage` as JSON."""


class RequestRecord(Frozen):
    """A request's entry in the `requests` bucket, under key `<endpoint>.<id>` (state) — and, written
    create-only so that the first writer wins, under `<endpoint>.<id>.end` once terminal."""

    id: str
    endpoint: str
    state: RequestState
    created_at: float
    started_at: float | None = None
    completed_at: float | None = None
    attempt: int = 0
    replica: str | None = None
    status: int | None = None
    """HTTP status of the model's answer, once SUCCEEDED."""
    headers: tuple[tuple[str, str], ...] = ()
    result_object: str | None = None
    """Object-store name of the stored answer's body; None: empty, or not kept (sync, delivered)."""
    result_base64: str | None = None
    """The stored answer's body itself, where it is small."""
    error: str | None = None
    """Why it FAILED, EXPIRED or was CANCELED, for people."""
    token_id: str | None = None
    """The token it was made with: only that endpoint's tokens read it."""
    body_sha256: str | None = None
    """With an idempotency key: the same key with another body is refused."""
    webhook_url: str | None = None
    """Whom to tell when it ends."""
    traceparent: str | None = None
    """With a webhook whose request is traced: the span of that request, which the webhook's spans hang below."""
    stream_seq: int | None = None
