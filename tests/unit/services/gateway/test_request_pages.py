"""A request's own page while the broker comes and goes."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest

from holdfast_contract import problems
from holdfast_contract.document import Visibility
from holdfast_contract.messages import RequestRecord, RequestState
from holdfast_services.broker import BrokerDown
from holdfast_services.gateway.core import ids
from holdfast_services.gateway.core.refusal import Answer, Refusal
from holdfast_services.gateway.request_pages import RequestPages

REQUEST_ID = ids.new_id(1_000.0)


class _Records:
    """Records of a broker that fails so many times first."""

    def __init__(self, failures: int, state: RequestState) -> None:
        self.failures = failures
        self.state = state

    async def find(self, request_id: str) -> RequestRecord:
        if self.failures:
            self.failures -= 1
            raise BrokerDown("no leader")
        return RequestRecord(id=request_id, endpoint="demo", state=self.state, created_at=1_000.0)

    async def queued_sequence(self, endpoint: str, request_id: str) -> int:
        raise BrokerDown("no leader")


class _Waiters:
    def __init__(self) -> None:
        self.asked_s: list[float] = []

    async def ended(self, endpoint: str, request_id: str, seconds: float) -> None:
        self.asked_s.append(seconds)


async def _read(records: _Records, waiters: _Waiters, query: bytes) -> dict[str, Any]:
    document = SimpleNamespace(name="demo", visibility=Visibility.PUBLIC, tokens=())
    catalog = SimpleNamespace(find=lambda name: document, token_hashes={})
    parts: Any = SimpleNamespace(catalog=catalog, broker=None)
    submissions: Any = SimpleNamespace(poll_url=lambda request_id: f"/requests/{request_id}")
    pages = RequestPages(parts, records, waiters, submissions)  # type: ignore[arg-type]
    scope = {"method": "GET", "query_string": query, "headers": []}

    async def send(message: dict[str, Any]) -> None:
        raise AssertionError(message)

    answer = await pages.answer(f"/requests/{REQUEST_ID}", scope, send)
    assert isinstance(answer, Answer)
    return dict(json.loads(answer.body))


async def test_a_long_poll_that_meets_a_broker_without_a_leader_is_answered_once_it_has_one() -> None:
    described = await _read(_Records(2, RequestState.SUCCEEDED), _Waiters(), b"wait=20")
    assert described["status"] == "SUCCEEDED"


async def test_what_a_long_poll_spent_on_the_broker_is_not_waited_for_again() -> None:
    waiters = _Waiters()
    await _read(_Records(2, RequestState.RUNNING), waiters, b"wait=20")
    (asked_s,) = waiters.asked_s
    assert 10 < asked_s < 20


@pytest.mark.parametrize("query", [b"", b"wait=0", b"wait=0.3"])
async def test_who_does_not_wait_that_long_hears_of_the_broker_and_when_to_ask_again(query: bytes) -> None:
    began = asyncio.get_running_loop().time()
    with pytest.raises(Refusal) as told:
        await _read(_Records(1_000, RequestState.SUCCEEDED), _Waiters(), query)
    assert asyncio.get_running_loop().time() - began < 1
    assert (told.value.problem, told.value.retry_after_s) == (problems.QUEUE_DOWN, 2)
    assert told.value.detail == "no leader"


async def test_a_position_that_cannot_be_asked_for_hides_no_state() -> None:
    described = await _read(_Records(0, RequestState.QUEUED), _Waiters(), b"")
    assert (described["status"], described["queue_position"]) == ("QUEUED", None)
