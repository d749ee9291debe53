"""Errors by what a caller can do about them. Each says what went wrong and what to do next."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from holdfast_client import _protocol as protocol


class HoldfastError(Exception):
    """The base of every error of this package."""


class ConfigurationError(HoldfastError, ValueError):
    """The client cannot be set up: no gateway URL, an unreadable token file, a wrong config file."""


class APIError(HoldfastError):
    """A call did not give an answer. `request_id` is the gateway's name for it, None where it gave none."""

    def __init__(self, message: str, *, request_id: str | None = None) -> None:
        super().__init__(message)
        self.request_id = request_id


class APIConnectionError(APIError):
    """The gateway could not be reached, or the connection broke, on every attempt."""


class APITimeoutError(APIConnectionError):
    """The time allowed by `timeout` passed; it counts over all attempts together."""


class StreamBrokenError(APIConnectionError):
    """An answer broke off after its beginning had arrived. What arrived is incomplete; it is not retried."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem document of the gateway (RFC 9457), or what can be made of another error answer."""

    slug: str
    """The kind, for instance `queue-full`; empty where the answer is the model's own."""
    title: str
    detail: str
    """What was wrong this time; empty where the answer does not say."""
    remedy: str
    """What to do next; empty where the answer does not say."""


class APIStatusError(APIError):
    """The answer has an error status: 400 and above.

    `status_code`: the status. `problem`: what the gateway said. `body`: the answer as it came.
    `from_model`: True where the model itself answered so, False where the gateway did.
    `retry_after_s`: seconds after which to try again, None where the answer does not say.
    """

    def __init__(
        self,
        status_code: int,
        headers: Mapping[str, str],
        body: bytes,
        *,
        retry_after_s: float | None = None,
    ) -> None:
        self.status_code = status_code
        self.headers = headers
        self.body = body
        self.problem = read_problem(headers, body)
        self.from_model = is_from_model(headers)
        self.retry_after_s = retry_after_s
        super().__init__(self._sentence(), request_id=headers.get(protocol.HEADER_REQUEST_ID))

    def _sentence(self) -> str:
        whose = "the model answered" if self.from_model else "the gateway answered"
        parts = [f"{whose} {self.status_code} {self.problem.slug or self.problem.title}".rstrip()]
        if self.problem.detail:
            parts.append(self.problem.detail.rstrip("."))
        text = ": ".join(parts)
        if self.problem.remedy:
            text += f". {self.problem.remedy.rstrip('.')}"
        request_id = self.headers.get(protocol.HEADER_REQUEST_ID)
        return f"{text} (request {request_id})" if request_id else text


class BadRequestError(APIStatusError):
    """400: the request is malformed."""


class AuthenticationError(APIStatusError):
    """401: no token, or one that opens nothing."""


class PermissionDeniedError(APIStatusError):
    """403: the token opens another endpoint."""


class NotFoundError(APIStatusError):
    """404: no such endpoint, request or route."""


class ConflictError(APIStatusError):
    """409: not finished yet, or a request with the same idempotency key is under way."""


class GoneError(APIStatusError):
    """410: the request ended without a result."""


class RequestTooLargeError(APIStatusError):
    """413: the body is larger than the gateway takes."""


class UnprocessableEntityError(APIStatusError):
    """422: an idempotency key used for another request; or the model's complaint about its input."""


class RateLimitError(APIStatusError):
    """429: the endpoint's queue is full, or the rate limit is reached; see `retry_after_s`."""


class InternalServerError(APIStatusError):
    """500 and above that has no class of its own."""


class BadGatewayError(InternalServerError):
    """502: the model's answer broke off on every attempt."""


class ServiceUnavailableError(InternalServerError):
    """503: paused, no replica could start (`problem.detail` says why), or the queue is down."""


class DeadlineError(InternalServerError):
    """504: the deadline passed on the gateway's side."""


class JobError(APIError):
    """A submitted request ended without a result; `state` says how."""

    def __init__(self, message: str, *, state: str, request_id: str) -> None:
        super().__init__(message, request_id=request_id)
        self.state = state


class JobFailedError(JobError):
    """No attempt gave an answer."""


class JobExpiredError(JobError):
    """Its deadline passed before it had a result."""


class JobCanceledError(JobError):
    """It was canceled."""


_BY_STATUS: Final[dict[int, type[APIStatusError]]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    410: GoneError,
    413: RequestTooLargeError,
    422: UnprocessableEntityError,
    429: RateLimitError,
    502: BadGatewayError,
    503: ServiceUnavailableError,
    504: DeadlineError,
}


def from_answer(
    status_code: int, headers: Mapping[str, str], body: bytes, *, retry_after_s: float | None = None
) -> APIStatusError:
    """The error that an answer of 400 and above stands for."""
    fallback = InternalServerError if status_code >= 500 else APIStatusError
    made = _BY_STATUS.get(status_code, fallback)
    return made(status_code, headers, body, retry_after_s=retry_after_s)


def is_from_model(headers: Mapping[str, str]) -> bool:
    """Whether an answer is the model's own: a replica worked on it, and it is not the gateway's problem page."""
    return protocol.HEADER_REPLICA in headers and _media_type(headers) != protocol.PROBLEM_TYPE


def read_problem(headers: Mapping[str, str], body: bytes) -> Problem:
    """What an error answer says, whatever its form; never raises."""
    text = body[:2000].decode(errors="replace").strip()
    if "json" not in _media_type(headers):
        return Problem("", "", text, "")
    try:
        found: Any = json.loads(body)
    except (ValueError, RecursionError):
        return Problem("", "", text, "")
    return problem_of(found) or Problem("", "", text, "")


def problem_of(found: Any) -> Problem | None:
    """A problem document as parsed JSON; None where it is something else."""
    if not isinstance(found, dict) or not isinstance(found.get("type"), str) or "title" not in found:
        return None
    slug = found["type"].rstrip("/").rsplit("/", 1)[-1].rsplit("#", 1)[-1].rsplit(":", 1)[-1]
    return Problem(
        slug=slug,
        title=str(found["title"]),
        detail=str(found.get("detail") or found["title"]),
        remedy=str(found.get("remedy") or ""),
    )


def _media_type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()
