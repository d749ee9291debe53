"""What both shells share: how an effect becomes an httpx2 request, and an exception an outcome."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Final

import httpx2

from holdfast_client import _errors as errors
from holdfast_client import _protocol as protocol
from holdfast_client._core import Clock, Failure, Send

CONNECT_TIMEOUT_S: Final = 5.0
"""A gateway that does not take a connection for this long is tried again; as OpenAI's client."""
LIMITS: Final = httpx2.Limits(max_connections=1000, max_keepalive_connections=100)
"""httpx2's default of 100 connections would make the 101st held request wait for nothing."""


@cache
def user_agent() -> str:
    """`holdfast-client/<version>`."""
    try:
        return f"holdfast-client/{version('pulumi-holdfast')}"
    except PackageNotFoundError:
        return "holdfast-client"


def timeouts(effect: Send) -> httpx2.Timeout:
    """What is left of the call's time, for every phase of the request."""
    left = effect.timeout_s
    connect = CONNECT_TIMEOUT_S if left is None else min(CONNECT_TIMEOUT_S, left)
    return httpx2.Timeout(left, connect=connect)


def build(http: httpx2.Client | httpx2.AsyncClient, effect: Send) -> httpx2.Request:
    """The request of an effect. Raises APIError where it cannot be one."""
    try:
        return http.build_request(
            effect.method,
            effect.url,
            headers={"user-agent": user_agent(), **effect.headers},
            content=effect.content or None,
            timeout=timeouts(effect),
        )
    except (httpx2.InvalidURL, UnicodeEncodeError) as error:
        raise errors.APIError(f"the request cannot be sent: {error}") from error


def left_open(effect: Send, response: httpx2.Response) -> bool:
    """Whether the body is the caller's to read as it comes. Others are read here: nobody else would let go of them."""
    if not effect.streamed or response.status_code >= 400:
        return False
    return response.status_code < 300 or errors.is_from_model(lower(response.headers))


def lower(headers: httpx2.Headers) -> Mapping[str, str]:
    """Headers by lower-case name; repeated ones joined."""
    return {name.lower(): value for name, value in headers.items()}


def total_bytes(headers: httpx2.Headers) -> int | None:
    """The declared size of a body that is not compressed."""
    text = headers.get("content-length", "")
    return int(text) if text.isdigit() and "content-encoding" not in headers else None


def failure(error: httpx2.RequestError, effect: Send) -> Failure:
    """What a failed request means. Raises APIError where the request itself cannot be sent."""
    if isinstance(error, httpx2.UnsupportedProtocol | httpx2.LocalProtocolError):
        raise errors.APIError(f"the request cannot be sent: {error}") from error
    reason = str(error) or type(error).__name__
    if isinstance(error, httpx2.ConnectTimeout):
        spent = effect.timeout_s is not None and effect.timeout_s <= CONNECT_TIMEOUT_S
        return Failure("the gateway did not take the connection", timed_out=spent)
    if isinstance(error, httpx2.TimeoutException):
        return Failure("while waiting for the gateway", timed_out=True)
    return Failure(reason)


@contextmanager
def broken_stream(response: httpx2.Response, clock: Clock) -> Iterator[None]:
    """Errors while an answer is read become this package's."""
    request_id = response.headers.get(protocol.HEADER_REQUEST_ID)
    try:
        yield
    except httpx2.SSEError as error:
        raise errors.APIError(
            f"the answer cannot be read as events: {error}; use iter_bytes() or iter_lines()",
            request_id=request_id,
        ) from error
    except httpx2.TimeoutException as error:
        raise clock.error(f"{response.num_bytes_downloaded} bytes of the answer had come") from error
    except (httpx2.RequestError, httpx2.StreamClosed) as error:
        raise errors.StreamBrokenError(
            f"the answer broke off after {response.num_bytes_downloaded} bytes: "
            f"{str(error) or type(error).__name__}; what came is incomplete, send the request again if it may "
            "run twice",
            request_id=request_id,
        ) from error


def check_event(event: httpx2.ServerSentEvent, request_id: str | None) -> None:
    """The gateway tells a failure after the beginning as an event `error` with a problem document: raise it.

    An `error` event of another form is the model's own and is left to the caller.
    """
    if event.event != "error":
        return
    try:
        problem = errors.problem_of(event.json())
    except ValueError:
        return
    if problem:
        text = f"the answer broke off: {problem.slug}: {problem.detail.rstrip('.')}"
        raise errors.StreamBrokenError(
            f"{text}. {problem.remedy}" if problem.remedy else text, request_id=request_id
        )
