"""One exchange with the gateway, without I/O: which request to send when, and what its outcome means.

An exchange is a generator that yields effects (`Send`, `Sleep`) and is sent their outcomes. The two clients are
shells that carry the effects out, one with threads, one with asyncio; everything that is decided is decided here.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, TypeVar

from holdfast_client import _errors as errors
from holdfast_client import _protocol as protocol
from holdfast_client import _retry as retry
from holdfast_client._body import NO_BODY, Body
from holdfast_client._config import Settings
from holdfast_client._types import (
    DEFAULT_MAX_RETRIES,
    DEFAULT_TIMEOUT_S,
    Default,
    OnProgress,
    Phase,
    Progress,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Options:
    """How calls are made."""

    timeout_s: float | None = DEFAULT_TIMEOUT_S
    """For a whole call: all attempts, the pauses between them, and the answer's body. None: no limit."""
    max_retries: int = DEFAULT_MAX_RETRIES
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent with every request."""
    on_progress: OnProgress | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """Settings, options, and the sources of time and chance, which tests replace."""

    settings: Settings
    options: Options = Options()
    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    chance: Callable[[], float] = random.random
    new_key: Callable[[], str] = secrets.token_hex


@dataclass(frozen=True, slots=True)
class Call:
    """What is to be asked of the gateway."""

    method: str
    path: str
    """From the gateway's root, with the query."""
    endpoint: str | None = None
    """Whose token to send."""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body = NO_BODY
    idempotency_key: str | None = None
    """None: a fresh one, for methods that change something."""
    tells_deadline: bool = False
    """Whether the gateway should give up when this client does."""


@dataclass(frozen=True, slots=True)
class Send:
    """Effect: send a request and return a `Reply` or a `Failure`."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)
    timeout_s: float | None
    streamed: bool
    """The reply's body is left to be read later, unless it is an error's or a redirect of the gateway."""
    on_bytes: Callable[[int, int | None], None] | None = None
    """Told the bytes received so far and their total, if known."""


@dataclass(frozen=True, slots=True)
class Sleep:
    """Effect: wait."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Reply:
    """The gateway answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    handle: Any = None
    """The open response of a streamed reply, for the shell that made it."""


@dataclass(frozen=True, slots=True)
class Failure:
    """No answer, or not all of it. `timed_out`: because the time allowed had passed."""

    reason: str
    timed_out: bool = False


Effect: TypeAlias = Send | Sleep
Outcome: TypeAlias = Reply | Failure | None
Steps: TypeAlias = Generator[Effect, Outcome, T]


@dataclass(frozen=True, slots=True)
class Clock:
    """The one deadline of a call."""

    session: Session
    timeout_s: float | None
    began: float

    @classmethod
    def start(cls, session: Session) -> Clock:
        """Begin to count the session's `timeout_s` now."""
        return cls(session, session.options.timeout_s, session.monotonic())

    @property
    def elapsed_s(self) -> float:
        """Seconds since the call began."""
        return self.session.monotonic() - self.began

    @property
    def left_s(self) -> float | None:
        """Seconds left, 0 when it has passed; None: no limit."""
        return None if self.timeout_s is None else max(0.0, self.timeout_s - self.elapsed_s)

    def error(self, why: str) -> errors.APITimeoutError:
        """What is raised when the time has passed."""
        return errors.APITimeoutError(
            f"no answer within {self.timeout_s:g} s ({why}): allow more with timeout=, or submit() and wait apart"
        )


def exchange(session: Session, call: Call, clock: Clock, *, streamed: bool = False) -> Steps[Reply]:
    """Send `call`, again where that is safe and can help, until an answer below 400 or the deadline.

    Raises APIStatusError for an error answer, APITimeoutError when the deadline passed, APIConnectionError when
    the gateway could not be reached.
    """
    if call.method not in ("GET", "HEAD") and call.idempotency_key is None:
        call = replace(call, idempotency_key=session.new_key())
    attempt, retries = 0, 0
    while True:
        attempt += 1
        left_s = clock.left_s
        if left_s == 0:
            raise clock.error("before it could be sent")
        tell(session, Progress(Phase.SENDING, clock.elapsed_s, attempt))
        outcome = yield _send(session, call, clock, attempt, streamed)
        if isinstance(outcome, Reply) and outcome.status < 400:
            _refuse_redirect(session, outcome)
            return outcome
        error, again = _judge(session, outcome, clock, retries)
        if again is None or (again.counted and retries >= session.options.max_retries):
            raise error
        left_s = clock.left_s
        if left_s is not None and again.delay_s >= left_s:
            # A wait beyond the deadline cannot help: say at once what is wrong.
            raise error
        retries += again.counted
        tell(
            session,
            Progress(Phase.RETRYING, clock.elapsed_s, attempt, detail=str(error), delay_s=again.delay_s),
        )
        yield Sleep(again.delay_s)


def _refuse_redirect(session: Session, reply: Reply) -> None:
    """The token must not follow a redirect to who knows where; a model's own redirects are answers."""
    if 300 <= reply.status < 400 and not errors.is_from_model(reply.headers):
        raise errors.APIError(
            f"{session.settings.url} answered {reply.status} and points to "
            f"{reply.headers.get('location', 'nowhere')}: set the gateway URL to where it really is",
            request_id=reply.headers.get(protocol.HEADER_REQUEST_ID),
        )


def _judge(
    session: Session, outcome: Outcome, clock: Clock, retries: int
) -> tuple[errors.APIError, retry.Again | None]:
    """What went wrong, and whether to try again."""
    if isinstance(outcome, Reply):
        found = errors.from_answer(
            outcome.status,
            outcome.headers,
            outcome.body,
            retry_after_s=retry.retry_after_s(outcome.headers, session.now()),
        )
        return found, retry.after_answer(
            outcome.status, outcome.headers, found.problem.slug, retries, session.chance(), session.now()
        )
    assert isinstance(outcome, Failure)  # every Send gives one of the two
    if outcome.timed_out:
        return clock.error(outcome.reason), None
    lost = errors.APIConnectionError(
        f"{session.settings.url} could not be reached, or the connection broke: {outcome.reason}; "
        f"check the URL, and whether the gateway runs"
    )
    return lost, retry.after_loss(retries, session.chance())


def _send(session: Session, call: Call, clock: Clock, attempt: int, streamed: bool) -> Send:
    headers = {name.lower(): value for name, value in {**session.options.headers, **call.headers}.items()}
    token = session.settings.token_for(call.endpoint)
    if token:
        headers.setdefault("authorization", f"Bearer {token}")
    if call.body.content_type:
        headers.setdefault("content-type", call.body.content_type)
    if call.idempotency_key:
        headers[protocol.HEADER_IDEMPOTENCY_KEY] = call.idempotency_key
    left_s = clock.left_s
    if call.tells_deadline and left_s is not None:
        headers.setdefault(protocol.HEADER_DEADLINE, f"{left_s:.3f}")

    def received(count: int, total: int | None) -> None:
        tell(
            session,
            Progress(Phase.RECEIVING, clock.elapsed_s, attempt, received_bytes=count, total_bytes=total),
        )

    return Send(
        method=call.method,
        url=session.settings.url + call.path,
        headers=headers,
        content=call.body.content,
        timeout_s=left_s,
        streamed=streamed,
        on_bytes=received if session.options.on_progress else None,
    )


def tell(session: Session, progress: Progress) -> None:
    """Tell the progress callback, if there is one."""
    if session.options.on_progress:
        session.options.on_progress(progress)


def timed(session: Session, timeout: float | Default | None) -> Session:
    """The session with the timeout of one call."""
    if isinstance(timeout, Default):
        return session
    return replace(session, options=replace(session.options, timeout_s=timeout))


def changed(
    session: Session,
    timeout: float | Default | None,
    max_retries: int | Default,
    headers: Mapping[str, str] | Default,
    on_progress: OnProgress | Default | None,
    token: str | Default,
) -> Session:
    """The session with what was given replaced."""
    before = session.options
    options = Options(
        timeout_s=before.timeout_s if isinstance(timeout, Default) else timeout,
        max_retries=before.max_retries if isinstance(max_retries, Default) else max_retries,
        headers=before.headers if isinstance(headers, Default) else headers,
        on_progress=before.on_progress if isinstance(on_progress, Default) else on_progress,
    )
    settings = session.settings
    if not isinstance(token, Default):
        settings = replace(settings, token=token, tokens={})
    return replace(session, options=options, settings=settings)
