"""The client for threads: it carries out what the core decides, with httpx2."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Self, TypeVar

import httpx2

from holdfast_client import _operations as operations
from holdfast_client import _shells as shells
from holdfast_client._body import encode
from holdfast_client._config import resolve
from holdfast_client._core import (
    Clock,
    Effect,
    Failure,
    Options,
    Outcome,
    Reply,
    Send,
    Session,
    Sleep,
    Steps,
    changed,
    timed,
)
from holdfast_client._streams import Stream
from holdfast_client._types import (
    DEFAULT,
    DEFAULT_MAX_RETRIES,
    DEFAULT_TIMEOUT_S,
    Answer,
    Default,
    EndpointInfo,
    Files,
    Input,
    JobStatus,
    OnProgress,
    TemplateInfo,
)

T = TypeVar("T")


class Client:
    """Calls endpoints. Safe to share between threads; close it, or use it as a context manager.

    `url`: the gateway; None: HOLDFAST_URL, or `url` in the config file. `token`: None: HOLDFAST_TOKEN, the file
    that HOLDFAST_TOKEN_FILE names, or the config file. `timeout`: seconds for a whole call, retries included;
    None: no limit. `max_retries`: how often a call is sent again after 429, 502, 503, 504 or a lost connection,
    with growing pauses and never against the server's advice. `on_progress`: told what a call is doing.
    `http_client`: an httpx2 client of your own, for proxies or certificates; you close it.

    Raises ConfigurationError where no URL is known.

    >>> client = Client()
    >>> client.infer("echo", {"text": "hello"}).json()
    {'text': 'hello'}
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        timeout: float | None = DEFAULT_TIMEOUT_S,
        max_retries: int = DEFAULT_MAX_RETRIES,
        headers: Mapping[str, str] | None = None,
        on_progress: OnProgress | None = None,
        http_client: httpx2.Client | None = None,
    ) -> None:
        options = Options(timeout, max_retries, headers or {}, on_progress)
        self._session = Session(resolve(url, token), options)
        self._owned = http_client is None
        self._http = http_client or httpx2.Client(limits=shells.LIMITS)

    @property
    def url(self) -> str:
        """The gateway."""
        return self._session.settings.url

    def with_options(
        self,
        *,
        timeout: float | Default | None = DEFAULT,
        max_retries: int | Default = DEFAULT,
        headers: Mapping[str, str] | Default = DEFAULT,
        on_progress: OnProgress | Default | None = DEFAULT,
        token: str | Default = DEFAULT,
    ) -> Self:
        """The same client with other options; connections are shared, and closed with the first one.

        >>> Client().with_options(timeout=5, max_retries=0).infer("echo", "hi").json()
        'hi'
        """
        twin = object.__new__(type(self))
        twin._session = changed(self._session, timeout, max_retries, headers, on_progress, token)
        twin._owned = False
        twin._http = self._http
        return twin

    def infer(
        self,
        endpoint: str,
        input: Input = None,
        *,
        route: str = "/",
        method: str = "POST",
        files: Files | None = None,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
        timeout: float | Default | None = DEFAULT,
    ) -> Answer:
        """Ask an endpoint and wait for its whole answer; one at 0 replicas wakes up first.

        `input`: sent as JSON (media in it as `data:` URIs), or bytes and media as they are. `files`, `form`: a
        multipart form. `route`: the container's own. `idempotency_key`: calls with the same key run once and get
        the same answer; None: a fresh key, which makes the retries of this call safe.

        Raises APIStatusError (by status), APITimeoutError, APIConnectionError.

        >>> answer = Client().infer("echo", {"n": 1})
        >>> answer.status_code, answer.json(), answer.timings.replica
        (200, {'n': 1}, 'echo-0')
        """
        body = encode(input, files, form)
        call = operations.call_of(endpoint, route, method, body, headers, idempotency_key)
        return self._run(operations.infer(timed(self._session, timeout), call))

    @contextmanager
    def stream(
        self,
        endpoint: str,
        input: Input = None,
        *,
        route: str = "/",
        method: str = "POST",
        files: Files | None = None,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
        timeout: float | Default | None = DEFAULT,
    ) -> Iterator[Stream]:
        """Ask an endpoint and read the answer as it comes; leaving the block early ends the work.

        Arguments and errors as `infer`; retries end when the answer begins. Reading raises StreamBrokenError
        where the answer breaks off.

        >>> with Client().stream("count", {"to": 3}) as stream:
        ...     [event.data for event in stream.events()]
        ['1', '2', '3']
        """
        session = timed(self._session, timeout)
        call = operations.call_of(
            endpoint, route, method, encode(input, files, form), headers, idempotency_key
        )
        clock = Clock.start(session)
        reply = self._run(operations.open_stream(session, call, clock))
        response: httpx2.Response = reply.handle
        try:
            yield Stream(response, clock)
        finally:
            response.close()

    def submit(
        self,
        endpoint: str,
        input: Input = None,
        *,
        route: str = "/",
        method: str = "POST",
        files: Files | None = None,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
        webhook_url: str | None = None,
        timeout: float | Default | None = DEFAULT,
    ) -> Job:
        """Leave a request with the gateway and return at once; the answer is kept for 24 hours.

        `webhook_url`: told when it ended. `timeout`: for the acceptance alone. Otherwise as `infer`.

        >>> job = Client().submit("echo", {"n": 2})
        >>> job.result().json()
        {'n': 2}
        """
        session = timed(self._session, timeout)
        call = operations.call_of(
            endpoint, route, method, encode(input, files, form), headers, idempotency_key
        )
        accepted = self._run(operations.submit(session, call, webhook_url))
        return Job(self, accepted.id, endpoint)

    def job(self, request_id: str, endpoint: str | None = None) -> Job:
        """A request submitted earlier, perhaps elsewhere. `endpoint`: chooses its token from the config file."""
        return Job(self, request_id, endpoint)

    def endpoints(self) -> list[EndpointInfo]:
        """The endpoints that this client may see.

        >>> [endpoint.name for endpoint in Client().endpoints()]
        ['count', 'echo']
        """
        return self._run(operations.endpoints(self._session))

    def endpoint(self, name: str) -> EndpointInfo:
        """One endpoint: replicas, waiting, running. Raises NotFoundError.

        >>> Client().endpoint("echo").replicas.ready
        1
        """
        return self._run(operations.endpoint(self._session, name))

    def templates(self) -> list[TemplateInfo]:
        """The gateway's catalogue of templates."""
        return self._run(operations.templates(self._session))

    def health(self) -> bool:
        """Whether the gateway can be reached and is well; never raises because it is not.

        >>> Client().health()
        True
        """
        return self._run(operations.health(self._session))

    def close(self) -> None:
        """Close the connections."""
        if self._owned:
            self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def _run(self, steps: Steps[T]) -> T:
        outcome: Outcome = None
        while True:
            try:
                effect = steps.send(outcome)
            except StopIteration as end:
                value: T = end.value
                return value
            outcome = self._perform(effect)

    def _perform(self, effect: Effect) -> Outcome:
        if isinstance(effect, Sleep):
            time.sleep(effect.seconds)
            return None
        ends_at = None if effect.timeout_s is None else time.monotonic() + effect.timeout_s
        try:
            request = shells.build(self._http, effect)
            response = self._http.send(request, stream=True, follow_redirects=False)
        except httpx2.RequestError as error:
            return shells.failure(error, effect)
        if shells.left_open(effect, response):
            return Reply(response.status_code, shells.lower(response.headers), handle=response)
        return self._read(effect, response, ends_at)

    def _read(self, effect: Send, response: httpx2.Response, ends_at: float | None) -> Outcome:
        """The rest of the answer, watched for the deadline, which a trickle of bytes would otherwise outlive."""
        parts = []
        try:
            for chunk in response.iter_bytes():
                parts.append(chunk)
                if ends_at is not None and time.monotonic() > ends_at:
                    return Failure("while the answer was coming in", timed_out=True)
                if effect.on_bytes:
                    effect.on_bytes(response.num_bytes_downloaded, shells.total_bytes(response.headers))
        except httpx2.RequestError as error:
            return shells.failure(error, effect)
        finally:
            response.close()
        return Reply(response.status_code, shells.lower(response.headers), b"".join(parts))


class Job:
    """A submitted request: ask for its status, wait for its result, cancel it, or iterate over its changes.

    >>> job = Client().submit("echo", "x")
    >>> [status.state.value for status in job]
    ['QUEUED', 'SUCCEEDED']
    """

    def __init__(self, client: Client, request_id: str, endpoint: str | None) -> None:
        self._client = client
        self.id = request_id
        self.endpoint = endpoint

    def status(self) -> JobStatus:
        """Where it stands now. Raises NotFoundError after 24 hours."""
        return self._client._run(operations.status(self._client._session, self.id, self.endpoint))

    def result(self, timeout: float | Default | None = DEFAULT) -> Answer:
        """Wait for its end and fetch the answer. `timeout`: seconds, None: no limit; default: the client's.

        Raises JobFailedError, JobExpiredError, JobCanceledError; APIStatusError where the model answered with an
        error; APITimeoutError where it did not end in time (it goes on, ask again).
        """
        session = timed(self._client._session, timeout)
        return self._client._run(operations.result(session, self.id, self.endpoint))

    def cancel(self) -> JobStatus:
        """Withdraw it: one that waits is not run, one that runs is stopped, one that ended stays as it is."""
        return self._client._run(operations.cancel(self._client._session, self.id, self.endpoint))

    def updates(self, timeout: float | Default | None = DEFAULT) -> Iterator[JobStatus]:
        """Its status now and after every change, to the end. Raises APITimeoutError as `result`."""
        session = timed(self._client._session, timeout)
        clock = Clock.start(session)
        current: JobStatus | None = None
        while current is None or not current.state.final:
            current = self._client._run(
                operations.next_status(session, self.id, self.endpoint, current, clock)
            )
            yield current

    def __iter__(self) -> Iterator[JobStatus]:
        return self.updates()

    def __repr__(self) -> str:
        return f"Job({self.id!r}, endpoint={self.endpoint!r})"
