"""Traces as a collector receives them: parents, children, attributes; over held, streamed and submitted requests."""

from __future__ import annotations

import asyncio
import gzip
import re
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from holdfast_contract import names

if TYPE_CHECKING:
    from dataplane import Gateway, Plane, Replica

PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{PARENT[0]}-{PARENT[1]}-01"
QUICK = {"OTEL_BSP_SCHEDULE_DELAY": "100"}


@dataclass(frozen=True)
class Seen:
    """One exported span."""

    service: str
    span: Span

    @property
    def trace_id(self) -> str:
        return self.span.trace_id.hex()

    @property
    def span_id(self) -> str:
        return self.span.span_id.hex()

    @property
    def parent_id(self) -> str:
        return self.span.parent_span_id.hex()

    @property
    def attributes(self) -> dict[str, Any]:
        return {
            one.key: getattr(one.value, str(one.value.WhichOneof("value"))) for one in self.span.attributes
        }


@dataclass
class Collector:
    """Decodes what it is sent, as an OpenTelemetry collector does."""

    url: str = ""
    spans: list[Seen] = field(default_factory=list)
    raw: bytes = b""

    async def receive(self, request: web.Request) -> web.Response:
        body = await request.read()  # aiohttp has decompressed it where it says so
        if body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        self.raw += body
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            told = {one.key: one.value.string_value for one in resource.resource.attributes}
            assert told["service.namespace"] == "holdfast"
            assert told["service.instance.id"]
            for scope in resource.scope_spans:
                self.spans += (Seen(told["service.name"], span) for span in scope.spans)
        return web.Response(content_type="application/x-protobuf")

    def of(self, request_id: str) -> dict[str, Seen]:
        """A request's spans by the first word of their names; its only attempt."""
        found = [one for one in self.spans if one.attributes.get("holdfast.request.id") == request_id]
        named = {one.span.name.split(" ")[0]: one for one in found}
        assert len(named) == len(found), [one.span.name for one in found]
        return named


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    """A collector's HTTP side."""
    made = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", made.receive)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


async def started(plane: Plane, collector: Collector, **env: str) -> tuple[Gateway, Replica]:
    plane.document()
    traced = {names.ENV_OTLP_ENDPOINT: collector.url, **QUICK}
    return await plane.gateway(**traced, **env), await plane.replica(worker_env=traced)


async def complete(plane: Plane, collector: Collector, request_id: str) -> dict[str, Seen]:
    await plane.until_true(lambda: len(collector.of(request_id)) == 4, f"four spans of {request_id}")
    return collector.of(request_id)


def assert_chain(spans: dict[str, Seen], method: str = "POST") -> None:
    """Server → send → receive and attempt, each with its kind, in one trace, made by the right process."""
    server, send, receive, attempt = (spans[name] for name in (method, "send", "receive", "attempt"))
    assert len({one.trace_id for one in spans.values()}) == 1
    assert [send.parent_id, receive.parent_id, attempt.parent_id] == [
        server.span_id,
        send.span_id,
        send.span_id,
    ]
    assert [one.span.kind for one in (server, send, receive, attempt)] == [
        Span.SPAN_KIND_SERVER,
        Span.SPAN_KIND_PRODUCER,
        Span.SPAN_KIND_CONSUMER,
        Span.SPAN_KIND_CLIENT,
    ]
    assert [one.service for one in (server, send, receive, attempt)] == [
        "holdfast-gateway",
        "holdfast-gateway",
        "holdfast-worker",
        "holdfast-worker",
    ]
    assert server.span.start_time_unix_nano <= send.span.start_time_unix_nano
    # The wait ends where the attempt begins.
    assert abs(receive.span.end_time_unix_nano - attempt.span.start_time_unix_nano) < 5_000_000
    for one in spans.values():
        assert one.span.start_time_unix_nano <= one.span.end_time_unix_nano
        assert one.attributes["holdfast.endpoint"] == "demo"
    for one in (send, receive, attempt):
        assert one.attributes["messaging.system"] == "nats"
        assert one.attributes["messaging.destination.name"] == "q.demo"


def logged(gateway: Gateway) -> str:
    return gateway.log.read_text()


async def test_a_held_request_is_one_trace_that_continues_its_callers_and_reaches_the_model(
    plane: Plane, collector: Collector
) -> None:
    gateway, replica = await started(plane, collector)
    headers = {"traceparent": TRACEPARENT, "tracestate": "vendor=abc,other=1"}
    url = gateway.endpoint("demo", "/v1/run?key=query-secret")
    async with plane.post(url, headers=headers, data=b"body-secret") as answer:
        assert answer.status == 200
        request_id = answer.headers["x-request-id"]
        got = (await answer.json())["trace"]
    spans = await complete(plane, collector, request_id)
    assert_chain(spans)
    server, attempt = spans["POST"], spans["attempt"]
    assert (server.trace_id, server.parent_id) == PARENT
    assert server.span.name == "POST /e/{endpoint}"
    assert (
        server.attributes["http.response.status_code"]
        == attempt.attributes["http.response.status_code"]
        == 200
    )
    assert attempt.attributes["holdfast.state"] == "succeeded"
    assert (attempt.attributes["holdfast.attempt"], attempt.attributes["holdfast.replica"]) == (
        1,
        replica.name,
    )
    assert got["traceparent"] == f"00-{PARENT[0]}-{attempt.span_id}-01", "the model is the attempt's child"
    assert got["tracestate"] == "vendor=abc,other=1"
    for secret in (plane.token, "query-secret", "body-secret"):
        assert secret.encode() not in collector.raw
    assert f'"trace_id":"{PARENT[0]}"' in logged(gateway)


async def test_a_streamed_answer_is_traced_to_its_last_byte(plane: Plane, collector: Collector) -> None:
    gateway, _ = await started(plane, collector)
    headers = {"x-stream-chunks": "5", "x-chunk-interval-ms": "100", "x-stream-kind": "sse"}
    async with plane.post(gateway.endpoint("demo"), headers=headers) as answer:
        request_id = answer.headers["x-request-id"]
        await answer.read()
    spans = await complete(plane, collector, request_id)
    assert_chain(spans)
    for name in ("POST", "attempt"):
        span = spans[name].span
        assert span.end_time_unix_nano - span.start_time_unix_nano > 380_000_000, name


async def test_a_submitted_request_is_one_trace_though_its_caller_has_left(
    plane: Plane, collector: Collector
) -> None:
    gateway, _ = await started(plane, collector)
    async with plane.post(gateway.endpoint("demo"), headers={"prefer": "respond-async"}) as answer:
        assert answer.status == 202
        request_id = (await answer.json())["id"]
    spans = await complete(plane, collector, request_id)
    assert_chain(spans)
    assert spans["POST"].parent_id == "", "the trace begins here"
    assert spans["POST"].attributes["http.response.status_code"] == 202
    assert spans["attempt"].attributes["holdfast.mode"] == "async"


async def test_what_goes_wrong_is_an_error_and_every_attempt_is_seen(
    plane: Plane, collector: Collector
) -> None:
    gateway, _ = await started(plane, collector)
    async with plane.post(gateway.endpoint("demo"), headers={"x-crash": "drop"}) as answer:
        assert answer.status == 502
        request_id = answer.headers["x-request-id"]
    async with plane.post(gateway.endpoint("demo"), token=None) as answer:
        refused_id = answer.headers["x-request-id"]

    def attempts() -> list[Seen]:
        return [
            one
            for one in collector.spans
            if one.span.name == "attempt demo" and one.attributes["holdfast.request.id"] == request_id
        ]

    await plane.until_true(lambda: len(attempts()) == 3, "three attempts")
    await plane.until_true(lambda: collector.of(refused_id), "the refused one")
    assert [one.attributes["holdfast.attempt"] for one in attempts()] == [1, 2, 3]
    assert {one.span.status.code for one in attempts()} == {Status.STATUS_CODE_ERROR}
    (server,) = [
        one
        for one in collector.spans
        if one.span.name.startswith("POST") and one.attributes["holdfast.request.id"] == request_id
    ]
    assert server.span.status.code == Status.STATUS_CODE_ERROR
    assert server.attributes["error.type"] == "bad-answer"
    refused = collector.of(refused_id)
    assert set(refused) == {"POST"}, "what was never queued has no more spans"
    assert refused["POST"].span.status.code == Status.STATUS_CODE_UNSET, "a caller's fault is not ours"
    assert refused["POST"].attributes["error.type"] == "unauthenticated"


async def test_every_attempt_at_a_webhook_is_a_span_of_the_trace_of_the_request_it_tells_of(
    plane: Plane, collector: Collector
) -> None:
    told: list[str | None] = []

    async def hook(request: web.Request) -> web.Response:
        told.append(request.headers.get("traceparent"))
        return web.Response(status=500 if len(told) == 1 else 204)

    app = web.Application()
    app.router.add_post("/hook/{key}", hook)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    try:
        gateway, _ = await started(plane, collector, **{names.ENV_WEBHOOK_NETWORKS: "127.0.0.1/32"})
        for host, caller in (("127.0.0.1", {"traceparent": TRACEPARENT}), ("127.0.0.2", {})):
            url = f"http://{host}:{port}/hook/path-secret?key=query-secret"
            headers = {"prefer": "respond-async", "webhook-url": url, **caller}
            async with plane.post(gateway.endpoint("demo"), headers=headers) as answer:
                assert answer.status == 202

        def webhooks(host: str) -> list[Seen]:
            found = [one for one in collector.spans if one.span.name == "webhook demo"]
            return [one for one in found if one.attributes["server.address"] == host]

        await plane.until_true(lambda: webhooks("127.0.0.1")[1:] and webhooks("127.0.0.2"), "spans", 25)
    finally:
        await runner.cleanup()
    failed, delivered = webhooks("127.0.0.1")
    refused = webhooks("127.0.0.2")[0]
    for one in (failed, delivered, refused):
        (server,) = [span for span in collector.spans if span.span_id == one.parent_id]
        assert server.span.name == "POST /e/{endpoint}"
        assert (server.trace_id, server.attributes["holdfast.request.id"]) == (
            one.trace_id,
            one.attributes["holdfast.request.id"],
        )
        assert (one.service, one.span.kind) == ("holdfast-gateway", Span.SPAN_KIND_CLIENT)
        assert one.attributes["holdfast.endpoint"] == "demo"
        assert (one.attributes["http.request.method"], one.attributes["server.port"]) == ("POST", port)
    assert (failed.trace_id, delivered.trace_id) == (PARENT[0], PARENT[0])
    assert told == [f"00-{PARENT[0]}-{one.span_id}-01" for one in (failed, delivered)]
    assert [one.attributes["holdfast.attempt"] for one in (failed, delivered, refused)] == [1, 2, 1]
    assert [one.attributes.get("http.response.status_code") for one in (failed, delivered, refused)] == [
        500,
        204,
        None,
    ]
    assert [one.attributes.get("error.type") for one in (failed, delivered, refused)] == [
        "500",
        None,
        "refused-address",
    ]
    assert [one.span.status.code for one in (failed, delivered, refused)] == [
        Status.STATUS_CODE_ERROR,
        Status.STATUS_CODE_UNSET,
        Status.STATUS_CODE_ERROR,
    ]
    for secret in (plane.token, "path-secret", "query-secret"):
        assert secret.encode() not in collector.raw


async def test_the_ratio_and_a_callers_own_decision_say_what_is_recorded(
    plane: Plane, collector: Collector
) -> None:
    gateway, _ = await started(plane, collector, **{names.ENV_TRACE_RATIO: "0"})
    async with plane.post(gateway.endpoint("demo")) as answer:
        own = (await answer.json())["trace"]
    async with plane.post(
        gateway.endpoint("demo"), headers={"traceparent": TRACEPARENT[:-1] + "0"}
    ) as answer:
        assert answer.status == 200
    async with plane.post(gateway.endpoint("demo"), headers={"traceparent": TRACEPARENT}) as answer:
        request_id = answer.headers["x-request-id"]
    await complete(plane, collector, request_id)
    assert len(collector.spans) == 4
    flags = re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-([0-9a-f]{2})", own["traceparent"])
    assert flags is not None
    assert int(flags[1], 16) & 1 == 0, "the model is told that nobody records"


async def test_a_stopping_process_exports_what_is_left_and_none_waits_for_a_dead_collector(
    plane: Plane, collector: Collector
) -> None:
    plane.document()
    late = {"OTEL_BSP_SCHEDULE_DELAY": "3600000"}
    gateway = await plane.gateway(**{names.ENV_OTLP_ENDPOINT: collector.url, **late})
    dead = await plane.gateway(**{names.ENV_OTLP_ENDPOINT: "http://127.0.0.1:9", **late})
    await plane.replica()
    for one in (gateway, dead):
        async with plane.post(one.endpoint("demo")) as answer:
            assert answer.status == 200
    assert collector.spans == []
    for one in (gateway, dead):
        one.signal(signal.SIGTERM)
    await plane.until_true(lambda: not gateway.alive and not dead.alive, "both have ended", 15)
    assert (gateway.code, dead.code) == (0, 0)
    assert sorted(one.span.name.split(" ")[0] for one in collector.spans) == ["POST", "send"]


async def test_without_a_collector_nothing_of_it_is_loaded_and_a_callers_context_passes_through(
    plane: Plane,
) -> None:
    plane.document()
    gateway = await plane.gateway()
    await plane.replica()
    headers = {"traceparent": TRACEPARENT, "tracestate": "vendor=abc"}
    async with plane.post(gateway.endpoint("demo"), headers=headers) as answer:
        got = (await answer.json())["trace"]
    assert (got["traceparent"], got["tracestate"]) == (TRACEPARENT, "vendor=abc")
    assert "trace_id" not in logged(gateway)
    script = (
        "import sys, holdfast_services.gateway.__main__, holdfast_services.worker.__main__;"
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script)
    assert await process.wait() == 0
