"""One synchronous request: admitted, queued, held, answered. The hot path: few awaits, no work twice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from holdfast_contract import names, problems
from holdfast_contract.document import EndpointDocument
from holdfast_contract.messages import Mode, RequestMessage
from holdfast_services import headers as header_rules
from holdfast_services.bodies import BodyStore
from holdfast_services.broker import (
    Ambiguous,
    Broker,
    BrokerDown,
    BrokerError,
    QueueFull,
    QueueMissing,
)
from holdfast_services.gateway.activity import Activity
from holdfast_services.gateway.catalog import Catalog
from holdfast_services.gateway.core import admission
from holdfast_services.gateway.core.estimate import ServiceTimes
from holdfast_services.gateway.core.ratelimit import RateLimiter
from holdfast_services.gateway.core.refusal import Refusal
from holdfast_services.gateway.held import Held, HeldRequests, Outcome, ReplySigner, Send
from holdfast_services.gateway.intake import Body, receive_body, too_large
from holdfast_services.gateway.replicas import ReplicaView
from holdfast_services.logs import Log
from holdfast_services.streams import queue_limit
from holdfast_services.tracing import RequestTrace, Tracing

__all__ = ["Admitted", "Parts", "Receive", "Server", "activation_refusal"]

Receive = Callable[[], Awaitable[dict[str, Any]]]
_log = Log("serve")
_AMBIGUOUS_PATIENCE_S: Final = 10.0
"""How long a caller is kept while the broker comes back to say whether it has the request."""
_SLOW_PATIENCE_S: Final = 60.0
"""The same while the broker is there and only slow: it may well have it, and then a replica executes it."""
_ACTIVATION_RETRY_S: Final = 60.0
_QUEUE_DOWN_RETRY_S: Final = 2.0


@dataclass(slots=True)
class Parts:
    """What the gateway is made of; assembled in `__main__` and in tests."""

    broker: Broker
    bodies: BodyStore
    catalog: Catalog
    held: HeldRequests
    signer: ReplySigner
    activity: Activity
    replicas: ReplicaView
    limiter: RateLimiter
    times: ServiceTimes
    max_body_bytes: int
    forwarded_hops: int = 0
    """How many proxies in front may be believed about the client's address."""
    gateways: Callable[[], int] = lambda: 1
    """How many gateways are alive."""
    tracing: Tracing | None = None
    """None: no traces are made."""
    stopping: bool = False
    clock: Callable[[], float] = time.time
    background: set[asyncio.Task[Any]] = field(default_factory=set)

    def spawn(self, work: Awaitable[Any]) -> None:
        """Run `work` beside; kept until it ends."""
        task = asyncio.ensure_future(work)
        self.background.add(task)
        task.add_done_callback(self.background.discard)


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request that may be queued."""

    id: str
    document: EndpointDocument
    path: str
    method: str
    headers: dict[bytes, bytes]
    """Those that the gateway itself reads; the last of several."""
    raw_headers: list[tuple[bytes, bytes]]
    caller: str
    """Hash of the token, or the client's address."""
    token_id: str | None
    accepted_at: float
    limit_headers: tuple[tuple[bytes, bytes], ...] = ()
    trace: RequestTrace | None = None


class Server:
    """Serves endpoints' own routes."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._abandoned: set[tuple[str, str]] = set()
        self.on_answered: list[Callable[[Held], None]] = []
        """Called when an answer begins."""
        parts.broker.on_reconnect(lambda: parts.spawn(self._withdraw_abandoned()))

    # --- before the queue ---------------------------------------------------------------------------------
    def admit(self, scope: dict[str, Any], endpoint: str, path: str, request_id: str) -> Admitted:
        """Everything that can be said without the body. Raises Refusal."""
        parts = self._parts
        document = parts.catalog.find(endpoint)
        if document is None:
            raise Refusal(problems.UNKNOWN_ENDPOINT, f"there is no endpoint {endpoint!r}" if endpoint else "")
        raw_headers: list[tuple[bytes, bytes]] = scope["headers"]
        headers = dict(raw_headers)
        token = admission.bearer(headers.get(b"authorization"))
        token_id = admission.authenticate(document, token, parts.catalog.token_hashes)
        caller = f"token:{token_id}" if token_id else self._address(scope, headers)
        limit_headers = self._limit(document, caller) if document.rate_limit else ()
        admission.check_state(document)
        if parts.stopping:
            raise Refusal(problems.STOPPING, "", retry_after_s=1)
        if b"upgrade" in headers and b"upgrade" in headers.get(b"connection", b"").lower():
            raise Refusal(problems.UPGRADE_REFUSED, "the request asks for another protocol")
        size = sum(len(name) + len(value) for name, value in raw_headers)
        if size > header_rules.MAX_REQUEST_HEADERS_BYTES:
            raise Refusal(
                problems.BAD_REQUEST,
                f"headers are {size} bytes, above {header_rules.MAX_REQUEST_HEADERS_BYTES}: send fewer",
            )
        length = headers.get(b"content-length")
        if length is not None and int(length) > parts.max_body_bytes:
            raise too_large(parts.max_body_bytes)
        failure = parts.replicas.failure(endpoint)
        if failure is not None:
            raise activation_refusal(failure)
        return Admitted(
            id=request_id,
            document=document,
            path=path,
            method=scope["method"],
            headers=headers,
            raw_headers=raw_headers,
            caller=caller,
            token_id=token_id,
            accepted_at=parts.clock(),
            limit_headers=limit_headers,
        )

    def _address(self, scope: dict[str, Any], headers: dict[bytes, bytes]) -> str:
        hops = self._parts.forwarded_hops
        if hops:
            forwarded = [part.strip() for part in headers.get(b"x-forwarded-for", b"").split(b",")]
            if len(forwarded) >= hops and forwarded[-hops]:
                return f"address:{forwarded[-hops].decode('latin-1')}"
        client = scope.get("client")
        return f"address:{client[0] if client else ''}"

    def _limit(self, document: EndpointDocument, caller: str) -> tuple[tuple[bytes, bytes], ...]:
        limit = document.rate_limit
        assert limit is not None
        parts = self._parts
        decision = parts.limiter.decide(document.name, caller, limit, parts.gateways(), time.monotonic())
        headers = {
            "ratelimit-policy": f'"default";q={limit.requests};w={limit.window_s}',
            "ratelimit": f'"default";r={decision.remaining};t={-int(-decision.reset_s // 1)}',
        }
        if not decision.allowed:
            raise Refusal(
                problems.RATE_LIMITED,
                f"endpoint {document.name} takes {limit.requests} requests in {limit.window_s} s",
                retry_after_s=decision.retry_after_s,
                headers=headers,
            )
        return tuple((name.encode(), value.encode()) for name, value in headers.items())

    def message(
        self, admitted: Admitted, request_id: str, body: Body, *, mode: Mode, reply: bool, recorded: bool
    ) -> RequestMessage:
        """What is put into the queue. Not validated again: every field is made here."""
        headers = admitted.headers
        traceparent = headers.get(b"traceparent")
        return RequestMessage.model_construct(
            id=request_id,
            endpoint=admitted.document.name,
            method=admitted.method,
            path=admitted.path,
            headers=header_rules.to_model(admitted.raw_headers),
            mode=mode,
            accepted_at=admitted.accepted_at,
            deadline_at=admission.deadline(
                admitted.document,
                headers.get(b"x-deadline"),
                admitted.accepted_at,
                asynchronous=mode is Mode.ASYNC,
            ),
            reply_url=self._parts.signer.url(request_id) if reply else None,
            body_object=body.stored_as,
            body_length=body.length,
            recorded=recorded,
            webhook_url=None,
            traceparent=traceparent.decode("latin-1") if traceparent else None,
        )

    async def enqueue(self, admitted: Admitted, message: RequestMessage, body: Body) -> int:
        """Put it into the queue, surely; returns its sequence number. Raises Refusal."""
        if admitted.trace is None:
            return await self._enqueue(admitted, message, body)
        with admitted.trace.sending(message) as traced:
            return await self._enqueue(admitted, traced, body)

    async def _enqueue(self, admitted: Admitted, message: RequestMessage, body: Body) -> int:
        document = admitted.document
        head = message.model_dump_json()
        began = time.monotonic()
        ambiguous = False
        while True:
            try:
                sequence = await self._parts.broker.enqueue(document.name, message.id, body.inline, head)
                await self._parts.activity.accepted(document.name, self._parts.clock())
                return sequence
            except QueueFull as error:
                slots = document.scaling.max_replicas * document.scaling.concurrency
                raise Refusal(
                    problems.QUEUE_FULL,
                    f"{queue_limit(document.scaling)} requests of endpoint {document.name} wait or run",
                    retry_after_s=self._parts.times.retry_after_s(
                        document.name, document.scaling.max_queue, slots
                    ),
                ) from error
            except QueueMissing as error:
                raise Refusal(problems.QUEUE_DOWN, str(error), retry_after_s=_QUEUE_DOWN_RETRY_S) from error
            except Ambiguous:
                ambiguous = True
            except BrokerDown as error:
                if not ambiguous:
                    raise Refusal(
                        problems.QUEUE_DOWN, "the broker does not answer", retry_after_s=_QUEUE_DOWN_RETRY_S
                    ) from error
                await asyncio.sleep(0.2)
            # Sent again under the same id, which the broker takes once: only so the answer becomes certain.
            connected = self._parts.broker.connected
            if time.monotonic() - began > (_SLOW_PATIENCE_S if connected else _AMBIGUOUS_PATIENCE_S):
                self._abandoned.add((document.name, message.id))
                raise Refusal(
                    problems.QUEUE_DOWN, "the broker went away while it took the request", retry=False
                )

    # --- holding ------------------------------------------------------------------------------------------
    async def serve(self, admitted: Admitted, receive: Receive, send: Send) -> Held:
        """Queue the request and hold its caller until the answer is out, or has failed.

        Raises Refusal where there is no answer, CallerGone where nobody wants it any more. Returns with
        `result` ANSWERED, BROKEN or GONE otherwise.
        """
        parts = self._parts
        body = await receive_body(
            receive,
            name=names.body_name(admitted.document.name, admitted.id),
            limit=parts.max_body_bytes,
            bodies=parts.bodies,
            digest=False,
        )
        message = self.message(admitted, admitted.id, body, mode=Mode.SYNC, reply=True, recorded=False)
        return await self.hold(admitted, message, body, receive, send)

    async def hold(
        self, admitted: Admitted, message: RequestMessage, body: Body, receive: Receive, send: Send
    ) -> Held:
        """Queue `message` and hold the caller. As `serve`."""
        parts = self._parts
        loop = asyncio.get_running_loop()
        counts = parts.replicas.counts(message.endpoint)
        held = Held(
            id=message.id,
            endpoint=message.endpoint,
            accepted_at=message.accepted_at,
            send=send,
            head_only=message.method == "HEAD",
            keepalive_s=admission.keepalive_s(
                admitted.headers.get(b"x-sse-keepalive"), admitted.document.sse_keepalive_s
            ),
            result=loop.create_future(),
            cold=counts is not None and counts.ready == 0,
            extra_headers=admitted.limit_headers,
            on_committed=self.on_answered,
        )
        parts.held.add(held)  # before it is queued: a quick answer may come before the acknowledgement
        timer = watcher = None
        try:
            held.sequence = await self.enqueue(admitted, message, body)
            timer = loop.call_later(message.deadline_at - parts.clock(), _expire, held, message)
            watcher = loop.create_task(_watch(receive, held))
            result = await held.result
            if isinstance(result, Refusal):
                raise result
            return held
        finally:
            if timer is not None:
                timer.cancel()
            if watcher is not None:
                watcher.cancel()
            self._released(held, message, body)

    def _released(self, held: Held, message: RequestMessage, body: Body) -> None:
        parts = self._parts
        parts.held.remove(held)
        parts.activity.seen(held.endpoint, parts.clock())
        result = held.result.result() if held.result.done() and not held.result.cancelled() else Outcome.GONE
        if result is Outcome.ANSWERED:
            if held.model_s:
                parts.times.observe(held.endpoint, parts.clock() - held.accepted_at - held.queue_s)
        elif held.sequence is None:
            if body.stored_as is not None:
                parts.spawn(_delete_quietly(parts.bodies, body.stored_as))
        elif held.told or result is Outcome.STORED:
            pass  # the worker has ended it
        elif result is Outcome.GONE and message.recorded:
            pass  # its caller has a key to ask with again: the result is kept
        else:
            parts.spawn(self.withdraw(held.endpoint, held.id, held.sequence))

    def activation_failed(self, endpoint: str, detail: str) -> None:
        """No replica of the endpoint can start: whoever waits for one is told why. Who is being served is not."""
        for held in self._parts.held.of(endpoint):
            if not held.running and not held.committed:
                held.finish(activation_refusal(detail))

    def endpoint_removed(self, endpoint: str) -> None:
        """The endpoint was taken away: nobody will answer those who wait."""
        self._parts.times.forget(endpoint)
        for held in self._parts.held.of(endpoint):
            if not held.running and not held.committed:
                held.finish(Refusal(problems.UNKNOWN_ENDPOINT, f"endpoint {endpoint} was removed meanwhile"))

    # --- taking back --------------------------------------------------------------------------------------
    async def withdraw(self, endpoint: str, request_id: str, sequence: int) -> None:
        """Nobody wants the answer any more: take the request out of the queue and stop whoever works on it."""
        await self._parts.broker.publish(names.cancel_subject(endpoint, request_id))
        try:
            await self._parts.broker.remove(endpoint, sequence)
        except BrokerError:
            self._abandoned.add((endpoint, request_id))

    async def _withdraw_abandoned(self) -> None:
        abandoned, self._abandoned = self._abandoned, set()
        for endpoint, request_id in abandoned:
            await self._parts.broker.publish(names.cancel_subject(endpoint, request_id))
            try:
                await self._parts.broker.remove_by_id(endpoint, request_id)
            except BrokerError:
                self._abandoned.add((endpoint, request_id))


def activation_refusal(failure: str) -> Refusal:
    """No replica can start, for this reason."""
    return Refusal(problems.ACTIVATION_FAILED, failure, retry_after_s=_ACTIVATION_RETRY_S)


def _expire(held: Held, message: RequestMessage) -> None:
    if not held.committed:
        waited = message.deadline_at - message.accepted_at
        # Which one, its answer would have said.
        where = "a replica worked on it" if held.running else "no replica took it"
        held.finish(Refusal(problems.DEADLINE, f"{waited:.0f} s passed; {where}", retry=False))


async def _watch(receive: Receive, held: Held) -> None:
    """Servers do not raise on `send` after the caller left, so somebody has to listen."""
    while (await receive())["type"] != "http.disconnect":
        pass
    held.finish(Outcome.GONE)


async def _delete_quietly(bodies: BodyStore, name: str) -> None:
    try:
        await bodies.delete(name)
    except BrokerError:
        pass  # the store drops it after its retention
