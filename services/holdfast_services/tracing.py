"""OpenTelemetry traces, where a collector is declared; elsewhere there is no `Tracing` and nothing of this is loaded.

| span | kind | made by | from … to |
|---|---|---|---|
| `POST /e/{endpoint}` | server | gateway | the caller's request, to the last byte of its answer |
| `send q.<endpoint>` | producer | gateway | handing it to the queue, to the acknowledgement |
| `receive q.<endpoint>` | consumer | worker | acceptance, until this worker took it: the wait |
| `attempt <endpoint>` | client | worker | from then until answered, kept and acknowledged |
| `webhook <endpoint>` | client | gateway | one attempt to deliver its webhook |

Each is the child of the one above, but for the attempt, which is a child of the sending as the wait is, and the
webhook, a child of the request. The model container gets the attempt's context as `traceparent`, a webhook's receiver
the webhook's; a caller's `tracestate` is passed on to the model unchanged. No span has headers, bodies, queries or
tokens, nor more of a webhook's URL than host and port.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from holdfast_contract import names
from holdfast_contract.messages import RequestMessage, RequestState

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, SpanKind, Tracer

    from holdfast_services.broker import WebhookJob

__all__ = ["AttemptTrace", "RequestTrace", "Tracing", "WebhookTrace"]

_EXPORT_TIMEOUT_S: Final = 5.0
"""Also the longest that an unreachable collector delays the end of a process."""
_TRACES_PATH: Final = "/v1/traces"
_ROUTE: Final = f"{names.PATH_ENDPOINT}/{{endpoint}}"
_METHODS: Final = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
"""What else a caller makes up must not become a span's name."""
_BROKEN: Final = frozenset({RequestState.FAILED, RequestState.EXPIRED})


class Tracing:
    """Makes spans and exports them in the background."""

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self.kind = SpanKind
        """Loaded with the rest of OpenTelemetry, where there is any."""
        self._tracer: Tracer = provider.get_tracer("holdfast")
        self._extract = TraceContextTextMapPropagator().extract

    @classmethod
    def start(cls, endpoint: str | None, service: str, *, instance: str, ratio: float) -> Tracing | None:
        """None where no `endpoint` (URL of an OTLP/HTTP collector, without `/v1/traces`) is declared.

        `ratio`: share of the traces that begin here which are recorded, 0 to 1; whoever hands us a trace has
        decided for itself. Raises ValueError where OpenTelemetry is not installed, or the ratio is none.
        """
        if not endpoint:
            return None
        if not 0 <= ratio <= 1:
            raise ValueError(f"{names.ENV_TRACE_RATIO} is {ratio}, not from 0 to 1: correct or unset it")
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
        except ImportError as error:
            raise ValueError(
                f"{names.ENV_OTLP_ENDPOINT} is set, and {error.name} is not installed: "
                "install opentelemetry-sdk and opentelemetry-exporter-otlp-proto-http, or unset it"
            ) from error
        resource = Resource.create(
            {
                "service.namespace": "holdfast",
                "service.name": f"holdfast-{service}",
                "service.instance.id": instance,
            }
        )
        provider = TracerProvider(
            resource=resource, sampler=ParentBased(TraceIdRatioBased(ratio)), shutdown_on_exit=False
        )
        exporter = OTLPSpanExporter(endpoint=endpoint.rstrip("/") + _TRACES_PATH, timeout=_EXPORT_TIMEOUT_S)
        provider.add_span_processor(BatchSpanProcessor(exporter))
        return cls(provider)

    async def close(self) -> None:
        """Export what is left; gives up after seconds where the collector does not answer."""
        await asyncio.to_thread(self._provider.shutdown)

    def request(self, headers: Iterable[tuple[bytes, bytes]], method: str, endpoint: str) -> RequestTrace:
        """A caller's request begins. `headers`: names in lower case."""
        carrier = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in headers
            if name in (b"traceparent", b"tracestate")
        }
        known = method in _METHODS
        span = self.begin(
            f"{method if known else 'HTTP'} {_ROUTE}",
            self.kind.SERVER,
            self._extract(carrier),
            {
                "http.request.method": method if known else "_OTHER",
                "http.route": _ROUTE,
                "holdfast.endpoint": endpoint,
            },
        )
        return RequestTrace(self, span)

    def attempt(self, message: RequestMessage, deliveries: int, replica: str) -> AttemptTrace:
        """A worker took a request just now."""
        carrier = {name: value for name, value in message.headers if name == "tracestate"}
        if message.traceparent is not None:
            carrier["traceparent"] = message.traceparent
        parent = self._extract(carrier)
        common = {**_of_message(message), "holdfast.attempt": deliveries, "holdfast.replica": replica}
        now = time.time()
        wait = self.begin(
            f"receive {_queue(message.endpoint)}",
            self.kind.CONSUMER,
            parent,
            {**common, "messaging.operation.name": "fetch", "messaging.operation.type": "receive"},
            at=message.accepted_at,
        )
        wait.end(_ns(max(now, message.accepted_at)))
        span = self.begin(
            f"attempt {message.endpoint}",
            self.kind.CLIENT,
            parent,
            {**common, "http.request.method": message.method},
            at=now,
        )
        return AttemptTrace(span)

    @contextmanager
    def delivering(self, traceparent: str | None, job: WebhookJob) -> Iterator[WebhookTrace]:
        """While a webhook is delivered. `traceparent`: its request's; None: that was not traced."""
        to = urlsplit(job.url)  # its form was checked at admission
        span = self.begin(
            f"webhook {job.endpoint}",
            self.kind.CLIENT,
            self._extract({} if traceparent is None else {"traceparent": traceparent}),
            {
                "holdfast.endpoint": job.endpoint,
                "holdfast.request.id": job.request_id,
                "holdfast.attempt": job.attempt,
                "http.request.method": "POST",
                "server.address": to.hostname or "",
                "server.port": to.port or (443 if to.scheme == "https" else 80),
            },
        )
        try:
            yield WebhookTrace(span)
        except Exception as error:
            _broken(span, type(error).__name__)
            raise
        finally:
            span.end()

    def begin(
        self,
        name: str,
        kind: SpanKind,
        parent: Context | None,
        attributes: Mapping[str, str | int],
        *,
        at: float | None = None,
    ) -> Span:
        """A span that began just now, or `at` Unix seconds."""
        return self._tracer.start_span(
            name,
            parent,
            kind,
            dict(attributes),
            start_time=None if at is None else _ns(at),
        )


class RequestTrace:
    """The trace of one caller's request, at the gateway."""

    __slots__ = ("_span", "_tracing")

    def __init__(self, tracing: Tracing, span: Span) -> None:
        self._tracing = tracing
        self._span = span

    @property
    def trace_id(self) -> str:
        """As logs and trace viewers write it."""
        return f"{self._span.get_span_context().trace_id:032x}"

    @property
    def traceparent(self) -> str:
        """What spans carry that come below it later."""
        return _traceparent(self._span)

    @contextmanager
    def sending(self, message: RequestMessage) -> Iterator[RequestMessage]:
        """While it is handed to the queue: the message as it is to be sent, with the context of its sending."""
        from opentelemetry.trace import set_span_in_context

        span = self._tracing.begin(
            f"send {_queue(message.endpoint)}",
            self._tracing.kind.PRODUCER,
            set_span_in_context(self._span),
            {
                **_of_message(message),
                "messaging.operation.name": "publish",
                "messaging.operation.type": "send",
            },
        )
        try:
            yield message.model_copy(update={"traceparent": _traceparent(span)})
        except Exception as error:
            _broken(span, type(error).__name__)
            raise
        finally:
            span.end()

    def end(self, request_id: str, status: int, cause: str) -> None:
        """The request is over. `cause`: slug of a problem, `gone`, or `none`."""
        span = self._span
        span.set_attribute("holdfast.request.id", request_id)
        span.set_attribute("http.response.status_code", status)
        if cause != "none":
            span.set_attribute("error.type", cause)
        if status >= 500:
            _broken(span, cause)
        span.end()


class AttemptTrace:
    """The span of one attempt, at the worker."""

    __slots__ = ("_span",)

    def __init__(self, span: Span) -> None:
        self._span = span

    @property
    def traceparent(self) -> str:
        """What the model gets."""
        return _traceparent(self._span)

    def end(self, state: RequestState | None, *, status: int | None) -> None:
        """The attempt is over. `state`: None: given back. `status`: the model's; None: it gave none."""
        span = self._span
        span.set_attribute("holdfast.state", "given back" if state is None else state.value.lower())
        if status is not None:
            span.set_attribute("http.response.status_code", status)
        if state is None or state in _BROKEN:
            _broken(span, "given back" if state is None else state.value.lower())
        span.end()


class WebhookTrace:
    """The span of one attempt to deliver a webhook."""

    __slots__ = ("_span",)

    def __init__(self, span: Span) -> None:
        self._span = span

    @property
    def traceparent(self) -> str:
        """What the receiver gets."""
        return _traceparent(self._span)

    def answered(self, status: int | None, error: str | None) -> None:
        """How it went. `status`: the receiver's; None: it gave none, because of `error`."""
        if status is not None:
            self._span.set_attribute("http.response.status_code", status)
            error = None if 200 <= status < 300 else str(status)
        if error is not None:
            self._span.set_attribute("error.type", error)
            _broken(self._span, error)


def _queue(endpoint: str) -> str:
    return names.queue_subject(endpoint, "").rstrip(".")


def _of_message(message: RequestMessage) -> dict[str, str | int]:
    return {
        "messaging.system": "nats",
        "messaging.destination.name": _queue(message.endpoint),
        "messaging.message.id": message.id,
        "holdfast.endpoint": message.endpoint,
        "holdfast.request.id": message.id,
        "holdfast.mode": message.mode.value,
    }


def _traceparent(span: Span) -> str:
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def _broken(span: Span, why: str) -> None:
    from opentelemetry.trace import Status, StatusCode

    span.set_status(Status(StatusCode.ERROR, why))


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
