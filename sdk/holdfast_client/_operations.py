"""Every operation of the clients, as steps without I/O."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode

from holdfast_client import _errors as errors
from holdfast_client import _protocol as protocol
from holdfast_client._body import Body
from holdfast_client._core import Call, Clock, Reply, Session, Sleep, Steps, exchange, tell
from holdfast_client._types import (
    Answer,
    EndpointInfo,
    JobState,
    JobStatus,
    Phase,
    Progress,
    TemplateInfo,
)

T = TypeVar("T")

_ENDED: Final[dict[JobState, type[errors.JobError]]] = {
    JobState.FAILED: errors.JobFailedError,
    JobState.EXPIRED: errors.JobExpiredError,
    JobState.CANCELED: errors.JobCanceledError,
}
MIN_POLL_S: Final = 0.25
"""At least this long between two questions about a request, should the gateway not hold the first."""


def endpoint_path(endpoint: str, route: str = "/") -> str:
    """The path of an endpoint's route at the gateway.

    >>> endpoint_path("ocr", "v1/read?lang=en")
    '/e/ocr/v1/read?lang=en'
    """
    return f"{protocol.PATH_ENDPOINT}/{quote(endpoint, safe='')}/{route.removeprefix('/')}"


def call_of(
    endpoint: str,
    route: str,
    method: str,
    body: Body,
    headers: Mapping[str, str] | None,
    idempotency_key: str | None,
) -> Call:
    """A request to an endpoint's own route."""
    return Call(
        method=method.upper(),
        path=endpoint_path(endpoint, route),
        endpoint=endpoint,
        headers=headers or {},
        body=body,
        idempotency_key=idempotency_key,
        tells_deadline=True,
    )


def infer(session: Session, call: Call) -> Steps[Answer]:
    """A whole answer."""
    clock = Clock.start(session)
    reply = yield from exchange(session, call, clock)
    tell(session, Progress(Phase.DONE, clock.elapsed_s, received_bytes=len(reply.body)))
    return Answer(reply.status, reply.headers, reply.body, clock.elapsed_s)


def open_stream(session: Session, call: Call, clock: Clock) -> Steps[Reply]:
    """An answer whose body is read as it comes."""
    return (yield from exchange(session, call, clock, streamed=True))


def submit(session: Session, call: Call, webhook_url: str | None) -> Steps[JobStatus]:
    """Leave a request with the gateway."""
    headers = {**call.headers, "prefer": "respond-async"}
    if webhook_url:
        headers[protocol.HEADER_WEBHOOK_URL] = webhook_url
    # The client's own timeout says how long to wait for the acceptance, not for the result.
    call = replace(call, headers=headers, tells_deadline=False)
    reply = yield from exchange(session, call, Clock.start(session))
    if reply.status != 202:
        raise errors.APIError(
            f"the gateway answered {reply.status} instead of accepting the request: is {session.settings.url} "
            "a holdfast gateway?",
            request_id=reply.headers.get(protocol.HEADER_REQUEST_ID),
        )
    return _parsed(JobStatus.parse, reply)


def status(
    session: Session, request_id: str, endpoint: str | None, wait_s: float = 0, clock: Clock | None = None
) -> Steps[JobStatus]:
    """Where a submitted request stands. `wait_s`: let the gateway hold the question until it ended."""
    wait_s = min(wait_s, protocol.MAX_POLL_S)
    query = "?" + urlencode({"wait": f"{wait_s:g}"}) if wait_s > 0 else ""
    call = Call("GET", f"{_request_path(request_id)}{query}", endpoint)
    reply = yield from exchange(session, call, clock or Clock.start(session))
    return _parsed(JobStatus.parse, reply)


def next_status(
    session: Session,
    request_id: str,
    endpoint: str | None,
    before: JobStatus | None,
    clock: Clock,
    *,
    end_only: bool = False,
) -> Steps[JobStatus]:
    """The next status that differs from `before`: another state, place in the queue, or attempt.

    `end_only`: only the end is of interest. Raises APITimeoutError when the clock's time has passed.
    """
    # A question that is held comes back at the end only; to see the queue move, ask often while it does.
    hold_s = float(protocol.MAX_POLL_S) if end_only else (0.0 if before is None else 1.0)
    while True:
        asked = clock.elapsed_s
        left_s = clock.left_s
        if left_s == 0:
            raise clock.error(f"request {request_id} is {before.state if before else 'unknown'}")
        wait_s = hold_s if left_s is None else min(hold_s, left_s)
        found = yield from status(session, request_id, endpoint, wait_s, clock)
        if before is None or _visible(found) != _visible(before):
            _tell_status(session, clock, found)
            return found
        hold_s = min(hold_s * 1.5, protocol.MAX_POLL_S)
        pause_s = MIN_POLL_S - (clock.elapsed_s - asked)
        if pause_s > 0:
            yield Sleep(pause_s)


def result(session: Session, request_id: str, endpoint: str | None) -> Steps[Answer]:
    """Wait until a submitted request ended, and fetch its answer.

    Raises JobFailedError, JobExpiredError or JobCanceledError where it ended without one, APIStatusError where
    the model answered with an error, APITimeoutError where it did not end in time.
    """
    clock = Clock.start(session)
    unwatched = session.options.on_progress is None
    current: JobStatus | None = None
    while current is None or not current.state.final:
        current = yield from next_status(session, request_id, endpoint, current, clock, end_only=unwatched)
    if current.state is not JobState.SUCCEEDED:
        raise _ENDED[current.state](
            f"request {request_id} ended {current.state}: {current.error or 'the gateway does not say why'}",
            state=current.state,
            request_id=request_id,
        )
    reply = yield from exchange(session, Call("GET", f"{_request_path(request_id)}/result", endpoint), clock)
    tell(session, Progress(Phase.DONE, clock.elapsed_s, received_bytes=len(reply.body)))
    return Answer(reply.status, reply.headers, reply.body, clock.elapsed_s)


def cancel(session: Session, request_id: str, endpoint: str | None) -> Steps[JobStatus]:
    """Withdraw a submitted request; one that ended already stays as it is."""
    call = Call("DELETE", _request_path(request_id), endpoint)
    clock = Clock.start(session)
    reply = yield from exchange(session, call, clock)
    if reply.body:
        return _parsed(JobStatus.parse, reply)
    return (yield from status(session, request_id, endpoint, 0, clock))


def endpoints(session: Session) -> Steps[list[EndpointInfo]]:
    """All endpoints that the gateway lists."""
    reply = yield from exchange(session, Call("GET", protocol.PATH_ENDPOINTS), Clock.start(session))
    return _parsed(lambda found: [EndpointInfo.parse(one) for one in _list(found, "endpoints")], reply)


def endpoint(session: Session, name: str) -> Steps[EndpointInfo]:
    """One endpoint."""
    call = Call("GET", f"{protocol.PATH_ENDPOINTS}/{quote(name, safe='')}", name)
    reply = yield from exchange(session, call, Clock.start(session))
    return _parsed(EndpointInfo.parse, reply)


def templates(session: Session) -> Steps[list[TemplateInfo]]:
    """The catalogue."""
    reply = yield from exchange(session, Call("GET", protocol.PATH_TEMPLATES), Clock.start(session))
    return _parsed(lambda found: [TemplateInfo.parse(one) for one in _list(found, "templates")], reply)


def health(session: Session) -> Steps[bool]:
    """Whether the gateway answers and says that it is well."""
    try:
        reply = yield from exchange(session, Call("GET", protocol.PATH_HEALTH), Clock.start(session))
    except (errors.InternalServerError, errors.APIConnectionError):
        return False
    return reply.status < 400


def _request_path(request_id: str) -> str:
    return f"{protocol.PATH_REQUESTS}/{quote(request_id, safe='')}"


def _visible(found: JobStatus) -> tuple[object, ...]:
    return (found.state, found.queue_position, found.attempt)


def _tell_status(session: Session, clock: Clock, found: JobStatus) -> None:
    phase = {JobState.QUEUED: Phase.QUEUED, JobState.RUNNING: Phase.RUNNING}.get(found.state)
    if phase:
        tell(
            session,
            Progress(phase, clock.elapsed_s, max(1, found.attempt), queue_position=found.queue_position),
        )


def _parsed(parse: Callable[[Any], T], reply: Reply) -> T:
    """What `parse` makes of an answer. Raises APIError where it is not the answer of a gateway of ours."""
    request_id = reply.headers.get(protocol.HEADER_REQUEST_ID)
    try:
        found = json.loads(reply.body)
    except (ValueError, RecursionError) as error:
        raise errors.APIError(
            "the gateway's answer is not JSON: is the URL a holdfast gateway?", request_id=request_id
        ) from error
    try:
        return parse(found)
    except (ValueError, TypeError, AttributeError) as error:
        raise errors.APIError(
            f"the gateway's answer is JSON of another form and cannot be read ({error}): is the URL a holdfast "
            "gateway, and this client as new as it?",
            request_id=request_id,
        ) from error


def _list(found: Any, key: str) -> list[Any]:
    listed = found.get(key) if isinstance(found, dict) else found
    if not isinstance(listed, list):
        raise errors.APIError(f"the gateway's answer lacks the list {key!r}: is the URL a holdfast gateway?")
    return listed
