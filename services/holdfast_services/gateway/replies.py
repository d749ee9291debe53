"""Where workers stream answers to: one ASGI call receives an answer and writes it to the caller's connection.

No queue stands between: the next piece is read from the worker when the last one was taken by the caller. A slow
reader slows its own replica and nothing else, and costs no memory.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from holdfast_contract import names, problems
from holdfast_services.answers import MAX_HEAD_BYTES, AnswerHead, Malformed, decode_head
from holdfast_services.gateway.core.refusal import Refusal
from holdfast_services.gateway.held import Held, HeldRequests, Outcome, ReplySigner, Send
from holdfast_services.logs import Log

__all__ = ["Acks", "Replies", "answer_headers"]

Receive = Callable[[], Awaitable[dict[str, Any]]]
_log = Log("replies")
_NO_BODY: Final = frozenset({204, 304})
_PROBLEMS: Final = {problem.slug: problem for problem in problems.ALL}
_NAK_DELAY_NS: Final = 100_000_000
_SSE_KEEPALIVE: Final = b": keep-alive\n\n"


class Acks(Protocol):
    """What is needed of the broker."""

    async def publish(self, subject: str, payload: bytes = b"") -> bool:
        """See Broker."""


class _WorkerLost(Exception):
    """The worker's connection ended before its answer did."""


def answer_headers(held: Held, head: AnswerHead) -> list[tuple[bytes, bytes]]:
    """The headers of an answer as the caller gets them."""
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in head.headers]
    headers += held.extra_headers
    headers += (
        (b"x-request-id", held.id.encode()),
        (b"x-replica", head.replica.encode("latin-1", "replace")),
        (b"x-attempt", b"%d" % head.attempt),
        (b"x-queue-s", b"%.4f" % head.queue_s),
        (b"x-model-s", b"%.4f" % head.model_s),
    )
    if head.status >= 400 and not any(name == "x-should-retry" for name, _ in head.headers):
        # The model executed it: a client's automatic retry would execute it again.
        headers.append((b"x-should-retry", b"false"))
    if head.length is not None and head.status not in _NO_BODY:
        headers.append((b"content-length", b"%d" % head.length))
    return headers


class Replies:
    """Receives answers for the callers in `held`."""

    def __init__(self, held: HeldRequests, signer: ReplySigner, acks: Acks) -> None:
        self._held = held
        self._signer = signer
        self._acks = acks
        self._acks_in_flight: set[asyncio.Task[bool]] = set()

    async def receive_answer(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """One answer of one worker. Tells it: 200 delivered; 403 not signed by this process (it restarted: keep
        the result); 409 another attempt answers; 410 the caller is gone (stop); 400 not an answer; 405 not a POST."""
        if scope["method"] != "POST":
            return await _tell(send, 405)
        request_id = scope["path"][len(names.PATH_REPLY) + 1 :]
        match = re.search(rb"(?:^|&)sig=([0-9a-f]+)", scope["query_string"])
        if not match or not self._signer.valid(request_id, match[1].decode()):
            return await _tell(send, 403)
        held = self._held.get(request_id)
        if held is None or held.result.done():
            return await _tell(send, 410)
        if held.committed:
            return await _tell(send, 409)
        ack = next((v.decode("latin-1") for n, v in scope["headers"] if n == b"holdfast-ack"), "")
        if not ack.startswith(f"$JS.ACK.{names.stream_name(held.endpoint)}.{names.CONSUMER}."):
            ack = ""
        held.running = True
        # A newer attempt takes over from one that has not begun to answer.
        held.reply_task = asyncio.current_task()
        try:
            status = await self._stream(held, receive)
        except _WorkerLost:
            await self._lost(held, ack)
            return None
        except Malformed as error:
            _log.warning("malformed answer", request_id=held.id, endpoint=held.endpoint, error=str(error))
            status = 400
        except asyncio.CancelledError:
            if not held.result.done():
                raise
            status = 410
        finally:
            if held.reply_task is asyncio.current_task():
                held.reply_task = None
        return await _tell(send, status)

    async def _stream(self, held: Held, receive: Receive) -> int:
        buffer = bytearray()
        while True:
            event = await receive()
            if event["type"] == "http.disconnect":
                raise _WorkerLost
            buffer += event.get("body", b"")
            more: bool = event.get("more_body", False)
            decoded = decode_head(buffer)
            if decoded is not None:
                break
            if not more:
                raise Malformed("it ends within its head")
            if len(buffer) > 2 * MAX_HEAD_BYTES:
                raise Malformed(f"{len(buffer)} bytes and no head")
        head, used = decoded
        if held.result.done():
            return 410
        if held.committed:
            return 409
        held.attempt, held.replica = head.attempt, head.replica
        held.queue_s, held.model_s, held.status = head.queue_s, head.model_s, head.status
        if head.problem is not None:
            held.told = True
            problem = _PROBLEMS.get(head.problem, problems.BAD_ANSWER)
            held.finish(Refusal(problem, head.detail, retry=False, headers={"x-attempt": str(head.attempt)}))
            return 200
        held.committed = True
        for callback in held.on_committed:
            callback(held)
        await held.send(
            {"type": "http.response.start", "status": head.status, "headers": answer_headers(held, head)}
        )
        body = bytes(buffer[used:])
        del buffer
        if held.head_only or head.status in _NO_BODY:
            while more:
                more = (await self._next(receive))[1]
            await held.send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            events = _is_event_stream(head)
            try:
                await self._body(held, head, body, more, receive, held.keepalive_s if events else 0)
            except _WorkerLost:
                if events:
                    await held.send(
                        {"type": "http.response.body", "body": _error_event(held.id), "more_body": True}
                    )
                raise
        held.finish(Outcome.ANSWERED)
        return 200

    async def _body(
        self, held: Held, head: AnswerHead, body: bytes, more: bool, receive: Receive, keepalive_s: float
    ) -> None:
        left = head.length
        while True:
            if left is not None:
                left -= len(body)
                if left < 0 or (left > 0 and not more):
                    # The model said another length than it sent: the caller must not take it for whole.
                    raise _WorkerLost
            if body or not more:
                await held.send({"type": "http.response.body", "body": body, "more_body": more})
            if not more:
                return
            if keepalive_s:
                body, more = await self._next_with_comments(held, receive, keepalive_s)
            else:
                body, more = await self._next(receive)

    async def _next(self, receive: Receive) -> tuple[bytes, bool]:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise _WorkerLost
        return event.get("body", b""), event.get("more_body", False)

    async def _next_with_comments(
        self, held: Held, receive: Receive, keepalive_s: float
    ) -> tuple[bytes, bool]:
        pending = asyncio.ensure_future(self._next(receive))
        try:
            while True:
                done, _ = await asyncio.wait({pending}, timeout=keepalive_s)
                if done:
                    return pending.result()
                await held.send({"type": "http.response.body", "body": _SSE_KEEPALIVE, "more_body": True})
        finally:
            pending.cancel()

    async def _lost(self, held: Held, ack: str) -> None:
        """The worker died or gave up. Before the answer began, its request goes back to the queue at once;
        after that the caller sees a broken answer, and nobody may run the request again."""
        if held.committed:
            _log.warning("answer broke off", request_id=held.id, endpoint=held.endpoint, replica=held.replica)
            held.finish(Outcome.BROKEN)
            payload = b"+TERM"
        else:
            held.running = False
            payload = b"-NAK " + json.dumps({"delay": _NAK_DELAY_NS}).encode()
        if ack:
            await self._acks.publish(ack, payload)


def _is_event_stream(head: AnswerHead) -> bool:
    return any(
        name == "content-type" and value.lower().startswith("text/event-stream")
        for name, value in head.headers
    )


def _error_event(request_id: str) -> bytes:
    data = {
        "error": {
            "type": problems.BAD_ANSWER.slug,
            "message": "the model's answer broke off; what arrived is not complete",
            "request_id": request_id,
        }
    }
    return b"\n\nevent: error\ndata: " + json.dumps(data).encode() + b"\n\n"


async def _tell(send: Send, status: int) -> None:
    headers = [(b"content-length", b"0")]
    if status != 200:
        headers.append((b"connection", b"close"))  # its body may not have been read to the end
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
