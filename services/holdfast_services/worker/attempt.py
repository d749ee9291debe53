"""One attempt at one request: claim, model, answer, end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Final

from holdfast_contract import names, problems
from holdfast_contract.messages import RequestState
from holdfast_services import headers as header_rules
from holdfast_services.answers import AnswerHead, encode_head
from holdfast_services.bodies import BodyMissing, BodyStore
from holdfast_services.broker import BrokerError
from holdfast_services.logs import Log
from holdfast_services.records import Records
from holdfast_services.worker.core.decisions import End, GiveBack, Run, after_fault, at_claim, timed_out
from holdfast_services.worker.exchange import Answer, Broken
from holdfast_services.worker.model import BadAnswer, Model, ModelUnreachable
from holdfast_services.worker.outcome import Book, Sink
from holdfast_services.worker.puller import Delivery
from holdfast_services.worker.reply import Pace, Receipt, Reply, ReplySession

__all__ = ["Attempt", "Means"]

_log = Log("attempt")
DEFAULT_MAX_RESULT_BYTES: Final = 1024 * 1024 * 1024
_WHOLE_BYTES: Final = 64 * 1024
"""Answers up to this size that are there at once go in one piece."""
_WHOLE_WITHIN_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Means:
    """What an attempt works with."""

    model: Model
    replies: ReplySession
    records: Records
    bodies: BodyStore
    replica: str
    max_request_s: float
    max_result_bytes: int = DEFAULT_MAX_RESULT_BYTES
    """Largest answer that is kept."""
    pace: Pace = field(default_factory=Pace)


class Attempt:
    """Works on one delivery until it is ended or given back."""

    def __init__(
        self, delivery: Delivery, means: Means, *, canceled: bool, on_model_free: Callable[[], None]
    ) -> None:
        """`on_model_free`: called when the model has nothing more to do with this request; not where that is not
        seen before the attempt is over."""
        self.delivery = delivery
        self.message = delivery.message
        self._means = means
        self._claimed_at = time.time()
        self._canceled = canceled
        self._on_model_free = on_model_free
        self._book = Book(
            means.records,
            means.bodies,
            self.message,
            attempt=delivery.deliveries,
            replica=means.replica,
            started_at=self._claimed_at,
        )
        self._reply: Reply | None = None
        self._head: AnswerHead | None = None
        self._sent_any = False
        self._head_is_here = False
        """The model's answer has begun, or will not."""
        self._refused: Receipt | None = None
        self._recording: asyncio.Task[None] | None = None
        self.ended: RequestState | None = None
        """How it ended; None: it was given back."""
        self.timed_out = False
        """Whether the model had no answer in time: perhaps it hangs."""

    @property
    def status(self) -> int | None:
        """The HTTP status that the model answered with; None: it gave no answer."""
        return None if self._head is None else self._head.status

    def cancel(self) -> None:
        """The request was withdrawn; the task that runs this attempt is to be cancelled as well."""
        self._canceled = True

    async def run(self) -> None:
        """Never raises but when cancelled without having been withdrawn: then the request was given back."""
        now = self._claimed_at
        decision = at_claim(
            self.message,
            deliveries=self.delivery.deliveries,
            canceled=self._canceled,
            now=now,
            max_request_s=self._means.max_request_s,
        )
        if isinstance(decision, End):
            await self._end(decision)
            return
        try:
            if await self._already_ended():
                return
            # One clock for both: until the head is here it is the caller's, from then on the model's.
            async with asyncio.timeout(
                min(decision.start_by or decision.end_by, decision.end_by) - now
            ) as clock:
                await self._work(clock, decision.end_by)
        except TimeoutError:
            if self._refused is not None:
                await self._unwanted(self._refused)
            else:
                self.timed_out = True
                await self._end(timed_out(decision, now=time.time(), max_request_s=self._means.max_request_s))
        except BadAnswer as error:
            await self._end(_failed(str(error)))
        except BodyMissing as error:
            await self._end(_failed(str(error)))
        except (ModelUnreachable, OSError) as error:
            await self._fault(str(error) or type(error).__name__)
        except BrokerError as error:
            await self._fault(f"the queue's store could not be reached ({error})")
        except asyncio.CancelledError:
            await asyncio.shield(self._interrupted(decision))
            if not self._canceled:
                raise
        finally:
            if self._reply is not None and not self._reply.task.done():
                await self._reply.abandon()
            if self._recording is not None:
                self._recording.cancel()  # its end says more

    async def _already_ended(self) -> bool:
        """Whether an earlier attempt ended it and only its acknowledgement was lost."""
        if not self.message.recorded or self.delivery.deliveries == 1:
            return False
        ended = await self._book.ended_before()
        if ended is None:
            return False
        await self.delivery.ack()
        self.ended = ended.state
        return True

    # --- the model ----------------------------------------------------------------------------------------
    async def _work(self, clock: asyncio.Timeout, end_by: float) -> None:
        answer = await self._answer(clock)
        clock.reschedule(asyncio.get_running_loop().time() + end_by - time.time())
        try:
            pairs = header_rules.from_model(answer.headers)
        except ValueError as error:
            answer.release()
            raise BadAnswer(str(error)) from error
        model_s = time.time() - self._claimed_at
        self._means.pace.observe(model_s)
        self._head = AnswerHead(
            attempt=self.delivery.deliveries,
            replica=self._means.replica,
            queue_s=max(0.0, self._claimed_at - self.message.accepted_at),
            model_s=model_s,
            status=answer.status,
            headers=pairs,
            length=answer.length if self.message.method != "HEAD" else None,
        )
        try:
            await self._deliver(answer, self._head)
        finally:
            answer.release()

    async def _answer(self, clock: asyncio.Timeout) -> Answer:
        """The head of the model's answer; the time is over at once where nobody wants it any more.

        Without a task or a `wait` of its own: almost every model is called once and answers.
        """
        message = self.message
        if message.body_object is not None:
            await self._means.bodies.size(message.body_object)  # missing: no reason to bother the model
        loop = asyncio.get_running_loop()
        if message.recorded:
            self._recording = loop.create_task(self._book.running())
        opening: asyncio.TimerHandle | None = None
        try:
            if message.reply_url is not None:
                open_after_s = self._means.pace.open_after_s
                if open_after_s:
                    opening = loop.call_later(open_after_s, self._open_reply, clock)
                else:
                    self._open_reply(clock)
            return await self._means.model.call(
                message, self.delivery.body, self.delivery.deliveries, self._on_model_free
            )
        finally:
            self._head_is_here = True
            if opening is not None:
                opening.cancel()

    def _open_reply(self, clock: asyncio.Timeout) -> None:
        """The model takes its time: let the gateway see that somebody works, and when that somebody dies."""
        assert self.message.reply_url is not None
        self._reply = Reply(self._means.replies, self.message.reply_url, self.delivery.ack_subject)
        self._reply.task.add_done_callback(lambda task: self._reply_ended(task, clock))

    def _reply_ended(self, task: asyncio.Task[Receipt], clock: asyncio.Timeout) -> None:
        """The gateway said something before there was an answer."""
        if self._head_is_here or task.cancelled():
            return
        receipt = task.result()
        if receipt in (Receipt.UNWANTED, Receipt.DUPLICATE) and not self.message.recorded:
            self._refused = receipt
            clock.reschedule(asyncio.get_running_loop().time())
        else:
            # The gateway is gone, or its caller, who has a key to ask with again: keep the result.
            self._reply = None

    # --- the answer ---------------------------------------------------------------------------------------
    async def _deliver(self, answer: Answer, head: AnswerHead) -> None:
        sink = Sink(
            self._means.bodies,
            # Of this attempt: what an earlier one left behind must not get into it.
            names.body_name(self.message.endpoint, self.message.id, f"result-{self.delivery.deliveries}"),
            self._means.max_result_bytes,
        )
        try:
            await self._pass_on(answer, head, sink)
        except BaseException:
            await sink.abandon()
            raise

    async def _pass_on(self, answer: Answer, head: AnswerHead, sink: Sink) -> None:
        """To the caller, to the store, or to both."""
        url = self.message.reply_url
        keep = self.message.recorded or url is None
        whole = await self._whole(answer)
        if whole is not None:
            answer.release()
            if keep:
                await sink.write(whole)
            if url is not None:
                frame = encode_head(head) + whole
                receipt = await (
                    self._reply.send(_once(frame))
                    if self._reply is not None
                    else self._means.replies.send(url, self.delivery.ack_subject, frame)
                )
                if await self._stopped(receipt, keep):
                    return
                if receipt is Receipt.UNREACHABLE and not keep:
                    await sink.write(whole)
                    keep = True
        elif url is None:
            async for piece in answer.iterate():
                await sink.write(piece)
        else:
            if self._reply is None:
                self._reply = Reply(self._means.replies, url, self.delivery.ack_subject)
            source = self._pieces(answer, head, sink if keep else None)
            receipt = await self._reply.send(source)
            if receipt is Receipt.SOURCE_BROKE:
                raise Broken("the connection to the model broke")
            if await self._stopped(receipt, keep):
                return
            if receipt is Receipt.UNREACHABLE:
                if self._sent_any and not keep:
                    await self._end(
                        _failed("the gateway that held the caller was lost in mid-answer"), unheard=True
                    )
                    return
                keep = True
                async for piece in answer.iterate():
                    await sink.write(piece)
        await self._succeed(head, sink if keep else None)

    async def _whole(self, answer: Answer) -> bytes | None:
        """The whole body where it is small and there at once."""
        length = answer.length
        if self.message.method == "HEAD" or answer.status in (204, 304):
            return b""
        if length is None or length > _WHOLE_BYTES:
            return None
        if not answer.complete:
            try:
                async with asyncio.timeout(_WHOLE_WITHIN_S):
                    await answer.wait_complete()
            except TimeoutError:
                return None
        return answer.read()

    async def _pieces(self, answer: Answer, head: AnswerHead, sink: Sink | None) -> AsyncIterator[bytes]:
        yield encode_head(head)
        async for piece in answer.iterate():
            if sink is not None:
                await sink.write(piece)
            self._sent_any = True
            yield piece

    async def _stopped(self, receipt: Receipt, keep: bool) -> bool:
        """Whether nobody wants the answer; then the request is ended. A recorded one is wanted for its record."""
        if receipt not in (Receipt.UNWANTED, Receipt.DUPLICATE):
            return False
        if keep:
            return False
        await self._unwanted(receipt)
        return True

    # --- how it ends --------------------------------------------------------------------------------------
    async def _succeed(self, head: AnswerHead, sink: Sink | None) -> None:
        if sink is not None:
            await self._book.succeeded(head, sink)
        self.ended = RequestState.SUCCEEDED
        await self.delivery.ack()
        await self._book.drop_body()

    async def _unwanted(self, receipt: Receipt) -> None:
        _log.debug("not wanted any more", request_id=self.message.id, receipt=receipt.value)
        self.ended = RequestState.CANCELED
        await self.delivery.end()
        await self._book.drop_body()

    async def _interrupted(self, run: Run) -> None:
        """Cancelled from outside: withdrawn, or this worker has no more time."""
        if self._canceled:
            self.ended = RequestState.CANCELED
            if self.message.recorded:
                await self._book.ended(RequestState.CANCELED, "it was withdrawn")
            await self.delivery.end()
            await self._book.drop_body()
        elif self._sent_any:
            await self._end(_failed("the replica was stopped in mid-answer"))
        else:
            await self.delivery.give_back(0.05)

    async def _fault(self, why: str) -> None:
        if self._sent_any:
            # Bytes reached the caller: another attempt cannot continue them.
            await self._end(_failed(f"the model's answer broke off ({why})"))
            return
        decision = after_fault(why, deliveries=self.delivery.deliveries)
        if isinstance(decision, GiveBack):
            _log.warning("given back", request_id=self.message.id, why=why, attempt=self.delivery.deliveries)
            await self.delivery.give_back(decision.delay_s)
            return
        await self._end(decision)

    async def _end(self, end: End, *, unheard: bool = False) -> None:
        """It is over without an answer. Whoever waits is told, then it is recorded, then it leaves the queue.
        `unheard`: the gateway is gone, so only a record can say how it ended."""
        message = self.message
        self.ended = end.state
        _log.warning("ended", request_id=message.id, state=end.state.value, why=end.why)
        if message.reply_url is not None and end.state is not RequestState.CANCELED and not self._sent_any:
            head = AnswerHead(
                attempt=self.delivery.deliveries,
                replica=self._means.replica,
                queue_s=max(0.0, self._claimed_at - message.accepted_at),
                model_s=time.time() - self._claimed_at,
                problem=end.problem.slug,
                detail=end.why,
            )
            frame = encode_head(head)
            if self._reply is not None and not self._reply.task.done():
                receipt = await self._reply.send(_once(frame))
            else:
                receipt = await self._means.replies.send(message.reply_url, self.delivery.ack_subject, frame)
            unheard = receipt is Receipt.UNREACHABLE
        if message.recorded or unheard or message.reply_url is None:
            await self._book.ended(end.state, end.why)
        await self.delivery.end()
        await self._book.drop_body()


def _failed(why: str) -> End:
    return End(RequestState.FAILED, problems.BAD_ANSWER, why)


async def _once(frame: bytes) -> AsyncIterator[bytes]:
    yield frame
