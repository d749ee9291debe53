"""Pulling for one slot, against a broker that only notes what it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.msg import Msg

from holdfast_contract.messages import REQUEST_HEADER, Mode, RequestMessage
from holdfast_services.broker import BrokerDown
from holdfast_services.worker.puller import Delivery, Puller, deliveries_of
from holdfast_services.worker.service import _Free

ACK = "$JS.ACK.holdfast-demo.workers.%d.7.9.1700000000000000000.0"


class Broker:
    """Notes what is sent; lets the test say what arrives."""

    def __init__(self) -> None:
        self.connected = True
        self.client = self
        self.sent: list[tuple[str, bytes, str]] = []
        self.arrive: Callable[[Msg], None] = lambda _: None
        self.reconnected: Callable[[], None] = lambda: None

    def new_inbox(self) -> str:
        return "_INBOX.a"

    def on_reconnect(self, callback: Callable[[], None]) -> None:
        self.reconnected = callback

    async def listen(self, subject: str, handler: Callable[[Msg], None]) -> Any:
        self.arrive = handler
        return self

    async def drain(self) -> None:
        """Of the subscription."""

    def send(self, subject: str, payload: bytes, reply: str = "") -> None:
        if not self.connected:
            raise BrokerDown("not connected to the broker")
        self.sent.append((subject, payload, reply))

    async def publish(self, subject: str, payload: bytes = b"") -> bool:
        self.send(subject, payload)
        return True

    @property
    def pulls(self) -> list[str]:
        """The addresses of all pulls so far."""
        return [reply for _, _, reply in self.sent if reply]

    @property
    def sent_back(self) -> list[str]:
        return [subject for subject, payload, _ in self.sent if payload.startswith(b"-NAK")]


async def started() -> tuple[Puller, Broker]:
    broker = Broker()
    puller = Puller(broker, "demo")  # type: ignore[arg-type]
    await puller.start()
    return puller, broker


def request(number: int = 1) -> Msg:
    head = RequestMessage(
        id=f"id-{number}",
        endpoint="demo",
        method="POST",
        path="/",
        mode=Mode.SYNC,
        accepted_at=0,
        deadline_at=1,
    )
    return Msg(
        _client=None,  # type: ignore[arg-type]
        subject=f"q.demo.id-{number}",
        reply=ACK % number,
        data=b"body",
        headers={REQUEST_HEADER: head.model_dump_json()},
    )


def said(to: str, status: str) -> Msg:
    return Msg(_client=None, subject=to, headers={"Status": status})  # type: ignore[arg-type]


async def test_a_pull_that_was_asked_for_ahead_is_the_next_ones() -> None:
    puller, broker = await started()
    puller.ask()
    puller.ask()
    assert len(broker.pulls) == 1
    broker.arrive(request(2))
    delivery = await puller.next()
    assert isinstance(delivery, Delivery)
    assert (delivery.message.id, delivery.body, delivery.deliveries) == ("id-2", b"body", 2)
    assert len(broker.pulls) == 1
    assert broker.sent_back == []


async def test_a_request_that_nobody_will_take_goes_back() -> None:
    puller, broker = await started()
    puller.ask()
    broker.arrive(request(1))  # brought before it was retracted
    puller.retract()
    puller.ask()
    puller.retract()
    broker.arrive(request(2))  # and after
    assert broker.sent_back == [ACK % 1, ACK % 2]
    puller.retract()
    assert len(broker.sent_back) == 2


@pytest.mark.parametrize("brought", [True, False])
async def test_stopping_gives_back_what_was_brought_ahead_and_pulls_no_more(brought: bool) -> None:
    puller, broker = await started()
    puller.ask()
    if brought:
        broker.arrive(request())
    await puller.stop()
    assert len(broker.sent_back) == brought
    assert await puller.next() is None
    puller.ask()
    assert len(broker.pulls) == 1


async def test_stopping_leaves_what_a_slot_is_about_to_take_to_the_slot() -> None:
    """It would go back twice otherwise, the second time while somebody else works on it."""
    puller, broker = await started()
    taking = asyncio.create_task(puller.next())
    await asyncio.sleep(0)
    broker.arrive(request())
    await puller.stop()
    assert await taking is not None
    assert broker.sent_back == []


async def test_stopping_ends_a_pull_that_brings_nothing() -> None:
    puller, broker = await started()
    taking = asyncio.create_task(puller.next())
    await asyncio.sleep(0)
    await puller.stop()
    assert await taking is None
    broker.arrive(request())
    assert broker.sent_back == [ACK % 1]


async def test_what_an_earlier_pulls_end_has_to_say_does_not_end_this_one() -> None:
    puller, broker = await started()
    puller.ask()
    puller.retract()
    taking = asyncio.create_task(puller.next())
    await asyncio.sleep(0)
    first, second = broker.pulls
    broker.arrive(said(first, "408"))
    broker.arrive(said(second, "100"))
    await asyncio.sleep(0)
    assert not taking.done()
    broker.arrive(said(second, "408"))
    assert await taking is None


async def test_a_pull_is_forgotten_when_the_connection_is_back_and_asked_for_anew() -> None:
    puller, broker = await started()
    puller.ask()
    broker.reconnected()
    assert await puller.next() is None
    puller.ask()
    assert len(broker.pulls) == 2


async def test_nothing_is_asked_of_a_broker_that_is_not_there() -> None:
    puller, broker = await started()
    broker.connected = False
    puller.ask()
    assert await puller.next() is None
    assert broker.sent == []


async def test_what_is_no_request_is_removed() -> None:
    puller, broker = await started()
    puller.ask()
    broker.arrive(Msg(_client=None, subject="q.demo.x", reply=ACK % 1, data=b"", headers={}))  # type: ignore[arg-type]
    assert await puller.next() is None
    assert broker.sent[-1][:2] == (ACK % 1, b"+TERM")


@given(st.integers(1, 10**6))
def test_how_often_a_message_was_delivered_is_read_from_either_form_of_its_subject(times: int) -> None:
    assert deliveries_of(ACK % times) == times
    assert (
        deliveries_of(f"$JS.ACK.domain.account.stream.consumer.{times}.7.9.1700000000000000000.0.x") == times
    )


@pytest.mark.parametrize(
    "subject", ["", "$JS.ACK.stream.consumer.1", "a.b.c.d.1.f.g.h.i", "$JS.ACK.s.c.x.7.9.1.0"]
)
def test_what_is_no_subject_for_an_acknowledgement_is_refused(subject: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # the last one is int's
        deliveries_of(subject)


def test_a_slot_is_freed_once_whoever_says_so_and_how_often() -> None:
    """A second pull for the same end would bring the model a request too many."""
    freed: list[int] = []
    free = _Free(lambda: freed.append(1))
    for _ in range(3):
        free.set()
    assert freed == [1]
