"""Every way a request can go: the real records and decisions over a queue and a store that are as unkind as the broker.

A message comes again when its worker is lost, and a write may be there although nobody heard so.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule

from holdfast_contract.messages import (
    MAX_DELIVERIES,
    Mode,
    RequestMessage,
    RequestRecord,
    RequestState,
    may_follow,
)
from holdfast_services.answers import AnswerHead
from holdfast_services.broker import Ambiguous, BrokerDown
from holdfast_services.records import Records
from holdfast_services.worker import outcome
from holdfast_services.worker.core.decisions import End, GiveBack, Run, after_fault, at_claim, timed_out
from holdfast_services.worker.outcome import Book, Sink

MAX_REQUEST_S = 30.0
DEADLINE_S = 100.0


class Store:
    """The bucket of records, by the words that the records speak with the broker."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.writes: list[str] = []
        self.fail: list[str] = []
        """What happens to the next writes: `down`: not written, and said so; `unheard`: written, and not said."""

    async def request(
        self, subject: str, payload: bytes, headers: Mapping[str, str] | None, timeout: float
    ) -> Any:
        if subject.startswith("$JS.API.STREAM.MSG.GET."):
            return self._found(json.loads(payload)["last_by_subj"])
        if subject.startswith("$JS.API.DIRECT.GET."):
            key = subject.removeprefix("$JS.API.DIRECT.GET.KV_requests.")
            missing = key not in self.values
            return SimpleNamespace(
                data=self.values.get(key, b""), headers={"Status": "404"} if missing else None
            )
        if subject.startswith("$JS.API.STREAM.PURGE."):
            self.values.pop(json.loads(payload)["filter"], None)
            return SimpleNamespace(data=b"{}", headers=None)
        failure = self.fail.pop() if self.fail else ""
        if failure == "down":
            raise BrokerDown("down")
        create_only = headers is not None and headers.get("Nats-Expected-Last-Subject-Sequence") == "0"
        if create_only and subject in self.values:
            return SimpleNamespace(data=b'{"error":{"err_code":10071,"description":"wrong"}}', headers=None)
        self.values[subject] = payload
        self.writes.append(subject)
        if failure == "unheard":
            raise Ambiguous("unheard")
        return SimpleNamespace(data=b'{"stream":"KV_requests","seq":1}', headers=None)

    def _found(self, key: str) -> Any:
        if key not in self.values:
            return SimpleNamespace(data=b'{"error":{"code":404}}', headers=None)
        message = {"data": base64.b64encode(self.values[key]).decode(), "seq": 1}
        return SimpleNamespace(data=json.dumps({"message": message}).encode(), headers=None)

    async def publish(self, subject: str, payload: bytes = b"") -> bool:
        return True

    async def enqueue_webhook(self, endpoint: str, request_id: str, url: str) -> None:
        return None


@dataclass
class Request:
    """What is in the queue of one request, and what was seen of it."""

    message: RequestMessage
    waiting: bool = True
    deliveries: int = 0
    running: Run | None = None
    book: Book | None = None
    runs: int = 0
    seen: list[RequestRecord] = field(default_factory=list)


def end_of(record: RequestRecord) -> tuple[object, ...]:
    """What must never change once it is there. When it was started is no part: where nobody heard that a withdrawal
    had been written, it may still run."""
    return (
        record.state,
        record.completed_at,
        record.status,
        record.result_base64,
        record.error,
        record.attempt,
    )


class Requests(RuleBasedStateMachine):
    """Callers, workers, the sweep and mishaps, in any order."""

    requests = Bundle("requests")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.store = Store()
        self.records = Records(self.store)  # type: ignore[arg-type]
        self.now = 1000.0
        self.all: dict[str, Request] = {}

    def teardown(self) -> None:
        """Whatever happened, every request ends once there are a broker and a worker again."""
        self.store.fail.clear()
        try:
            for one in self.all.values():
                for _ in range(MAX_DELIVERIES + 2):
                    if one.running is not None:
                        self.answers(one)
                    elif one.waiting:
                        self.claims(one)
                assert not one.waiting
                assert one.running is None
                record = self.do(self.records.get("chat", one.message.id))
                assert record is not None
                assert record.state.terminal
                assert one.runs <= MAX_DELIVERIES
                assert one.deliveries <= MAX_DELIVERIES + 1
            ends = [key for key in self.store.writes if key.endswith(".end")]
            assert sorted(ends) == sorted(set(ends)), "an end was written twice"
        finally:
            self.loop.close()

    def do(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    # --- callers ------------------------------------------------------------------------------------------
    @rule(target=requests, mode=st.sampled_from(Mode))
    def submits(self, mode: Mode) -> Request:
        one = Request(
            RequestMessage(
                id=f"r{len(self.all)}",
                endpoint="chat",
                method="POST",
                path="/",
                mode=mode,
                accepted_at=self.now,
                deadline_at=self.now + DEADLINE_S,
                recorded=True,
            )
        )
        self.all[one.message.id] = one
        record = RequestRecord(
            id=one.message.id, endpoint="chat", state=RequestState.QUEUED, created_at=self.now
        )
        self.store.fail.clear()
        assert self.do(self.records.create(record))
        assert not self.do(self.records.create(record)), "the same key makes no second request"
        return one

    @rule(one=requests)
    def cancels(self, one: Request) -> None:
        """As `DELETE /requests/<id>`: the end, then the message away, or the worker told."""
        record = self.do(self.records.get("chat", one.message.id))
        if record.state.terminal or not self.ends_by_itself(one, RequestState.CANCELED):
            return
        if one.running is None:
            one.waiting = False
        else:
            self.do(self.book(one).ended(RequestState.CANCELED, "it was withdrawn"))
            one.running = None

    def ends_by_itself(self, one: Request, state: RequestState) -> bool:
        """The gateway writes an end; False where the broker did not let it."""
        ended = RequestRecord(
            id=one.message.id,
            endpoint="chat",
            state=state,
            created_at=one.message.accepted_at,
            completed_at=self.now,
        )
        try:
            self.do(self.records.end(ended))
        except (BrokerDown, Ambiguous):
            return False
        return True

    # --- time and the sweep -------------------------------------------------------------------------------
    @rule(seconds=st.sampled_from([1.0, 20.0, 60.0, 200.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        for one in self.all.values():
            if one.running is not None and self.now >= one.running.end_by:
                self.settles(one, timed_out(one.running, now=self.now, max_request_s=MAX_REQUEST_S))

    @rule(one=requests)
    def is_swept(self, one: Request) -> None:
        overdue = self.now > one.message.deadline_at + 2
        if not one.waiting or not overdue:
            return
        if self.do(self.records.running_since("chat", one.message.id)) is not None:
            return  # a worker had it, and ends it
        if self.ends_by_itself(one, RequestState.EXPIRED):
            one.waiting = False

    # --- workers ------------------------------------------------------------------------------------------
    def book(self, one: Request) -> Book:
        assert one.book is not None
        return one.book

    @rule(one=requests)
    def claims(self, one: Request) -> None:
        if not one.waiting:
            return
        one.waiting = False
        one.deliveries += 1
        one.book = Book(
            self.records,
            None,  # type: ignore[arg-type]  # no stored bodies here
            one.message,
            attempt=one.deliveries,
            replica="replica",
            started_at=self.now,
        )
        decision = at_claim(
            one.message, deliveries=one.deliveries, canceled=False, now=self.now, max_request_s=MAX_REQUEST_S
        )
        if isinstance(decision, End):
            self.settles(one, decision)
        elif one.deliveries > 1 and self.do(one.book.ended_before()) is not None:
            return  # only its acknowledgement was lost
        else:
            one.running = decision
            one.runs += 1
            self.do(one.book.running())

    def settles(self, one: Request, end: End) -> None:
        self.do(self.book(one).ended(end.state, end.why))
        one.running = None

    @rule(one=requests)
    def answers(self, one: Request) -> None:
        if one.running is None:
            return
        sink = Sink(None, "result", 1000)  # type: ignore[arg-type]  # small results need no store
        self.do(sink.write(b"fine"))
        head = AnswerHead(attempt=one.deliveries, replica="replica", queue_s=0, model_s=0, status=200)
        self.do(self.book(one).succeeded(head, sink))
        one.running = None

    @rule(one=requests)
    def answers_and_dies_before_the_acknowledgement(self, one: Request) -> None:
        if one.running is not None:
            self.answers(one)
            one.waiting = True

    @rule(one=requests)
    def the_model_breaks(self, one: Request) -> None:
        if one.running is None:
            return
        decision = after_fault("it broke", deliveries=one.deliveries)
        if isinstance(decision, GiveBack):
            one.running, one.waiting = None, True
        else:
            self.settles(one, decision)

    @rule(one=requests)
    def the_worker_dies(self, one: Request) -> None:
        if one.running is not None:
            one.running, one.waiting = None, True

    # --- mishaps ------------------------------------------------------------------------------------------
    @precondition(lambda self: self.all)
    @rule(failures=st.lists(st.sampled_from(["down", "unheard"]), min_size=1, max_size=3))
    def writes_will_fail(self, failures: list[str]) -> None:
        self.store.fail = failures

    # --- what must always hold ----------------------------------------------------------------------------
    @invariant()
    def states_follow_each_other_and_ends_are_final(self) -> None:
        for one in self.all.values():
            record = self.do(self.records.get("chat", one.message.id))
            before = one.seen[-1] if one.seen else None
            if before is None:
                assert record.state is RequestState.QUEUED
            elif before.state.terminal:
                assert end_of(record) == end_of(before), "an end was changed"
            elif record.state is not before.state:
                # That somebody works on it may not have been written; the end says when that began.
                unseen = record.started_at is not None and may_follow(RequestState.RUNNING, record.state)
                assert may_follow(before.state, record.state) or unseen
            assert record.created_at == one.message.accepted_at
            if not one.waiting and one.running is None:
                assert record.state.terminal, "it left the queue without an end"
            if record.state is RequestState.SUCCEEDED:
                assert (record.status, record.result_base64) == (200, base64.b64encode(b"fine").decode())
            one.seen.append(record)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcome, "_WRITE_PAUSE_S", 0)


Requests.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
TestRequests = pytest.mark.usefixtures("_no_pauses")(Requests.TestCase)
