"""How fresh answers are, and what is never said without knowing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from holdfast_contract.autoscaling import NEVER
from holdfast_services.scaler.knowledge import Backlog, Reading
from holdfast_services.scaler.ports import QueuesUnavailable
from holdfast_services.scaler.tracker import Subscription, Unavailable, Unknown


async def told(subscription: Subscription) -> int:
    """How many `true` a stream would send now."""
    sent = 0
    while True:
        waiting = asyncio.create_task(subscription.wait())
        for _ in range(3):
            await asyncio.sleep(0)
        if not waiting.done():
            waiting.cancel()
            return sent
        sent += 1


async def test_nothing_is_said_before_the_documents_are_known(world: Any) -> None:
    with pytest.raises(Unavailable, match="the declared endpoints are not known yet"):
        await world.tracker.decision("chat")


async def test_an_undeclared_endpoint_is_unknown_not_idle(world: Any, document: Any) -> None:
    world.tracker.set_documents({"chat": document("chat")})
    with pytest.raises(Unknown):
        await world.tracker.decision("other")


async def test_a_first_question_is_answered_from_a_reading(world: Any, document: Any) -> None:
    world.queues.readings["chat"] = Reading(demand=7, last_activity_at=world.time.now)
    world.tracker.set_documents({"chat": document(concurrency=2)})
    decision = await world.tracker.decision("chat")
    assert (decision.active, decision.desired) == (True, 4)


async def test_questions_at_the_same_time_share_one_reading(world: Any, document: Any) -> None:
    world.tracker.set_documents({"chat": document()})
    await asyncio.gather(*(world.tracker.decision("chat") for _ in range(20)))
    assert world.queues.asked == ["chat"]


async def test_a_withdrawn_question_does_not_take_the_reading_from_the_others(
    world: Any, document: Any
) -> None:
    world.tracker.set_documents({"chat": document()})
    world.queues.hold = asyncio.Event()
    first = asyncio.create_task(world.tracker.decision("chat"))
    second = asyncio.create_task(world.tracker.decision("chat"))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    world.queues.hold.set()
    assert not (await second).active
    assert world.queues.asked == ["chat"]


async def test_an_active_endpoint_is_answered_from_a_reading_of_at_most_a_second(
    world: Any, document: Any
) -> None:
    world.queues.readings["chat"] = Reading(1, world.time.now)
    world.tracker.set_documents({"chat": document()})
    await world.tracker.decision("chat")
    world.queues.readings["chat"] = Reading(5, world.time.now)
    world.time.passed_s += 0.9
    assert (await world.tracker.decision("chat")).desired == 1
    world.time.passed_s += 0.2
    assert (await world.tracker.decision("chat")).desired == 5


async def test_a_wake_makes_a_reading_outdated_at_once(world: Any, document: Any) -> None:
    """The autoscaler looks every 15 s: a zero from just before the wake would cost that long."""
    world.tracker.set_documents({"chat": document()})
    await world.tracker.decision("chat")
    world.queues.readings["chat"] = Reading(5, world.time.now)
    world.tracker.wake("chat")
    assert (await world.tracker.decision("chat")).desired == 5


async def test_a_reading_asked_for_before_a_wake_is_not_the_answer_after_it(
    world: Any, document: Any
) -> None:
    world.tracker.set_documents({"chat": document()})
    world.queues.hold = asyncio.Event()
    asked = asyncio.create_task(world.tracker.decision("chat"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    world.tracker.wake("chat")
    again = asyncio.create_task(world.tracker.decision("chat"))
    await asyncio.sleep(0)
    world.queues.hold.set()
    await asyncio.gather(asked, again)
    assert world.queues.asked == ["chat", "chat"]


async def test_an_inactive_endpoint_is_answered_from_memory_while_sweeps_come(
    world: Any, document: Any
) -> None:
    world.tracker.set_documents({"chat": document()})
    await world.tracker.sweep()
    for _ in range(20):
        await world.pass_time(5, step_s=1)
        assert not (await world.tracker.decision("chat")).active
    assert len(world.queues.asked) == 1


async def test_memory_is_not_trusted_once_a_sweep_failed(world: Any, document: Any) -> None:
    world.tracker.set_documents({"chat": document()})
    await world.tracker.sweep()
    assert not (await world.tracker.decision("chat")).active
    world.queues.down = True
    with pytest.raises(QueuesUnavailable):
        await world.tracker.sweep()
    with pytest.raises(Unavailable, match="the broker is down"):
        await world.tracker.decision("chat")


async def test_memory_is_not_trusted_when_sweeps_stay_away(world: Any, document: Any) -> None:
    world.tracker.set_documents({"chat": document()})
    await world.tracker.sweep()
    await world.tracker.decision("chat")
    world.queues.down = True
    world.time.passed_s += 7.1
    with pytest.raises(Unavailable):
        await world.tracker.decision("chat")


async def test_a_broker_that_is_down_never_makes_an_endpoint_idle(world: Any, document: Any) -> None:
    world.queues.readings["chat"] = Reading(3, world.time.now)
    world.tracker.set_documents({"chat": document(timeout_s=10)})
    assert (await world.tracker.decision("chat")).desired == 3
    world.queues.down = True
    for _ in range(100):
        await world.pass_time(1.5, step_s=0.5)
        with pytest.raises(Unavailable):
            await world.tracker.decision("chat")


async def test_a_broker_that_lost_its_memory_makes_no_endpoint_idle_early(world: Any, document: Any) -> None:
    world.queues.readings["chat"] = Reading(0, world.time.now)
    world.tracker.set_documents({"chat": document(timeout_s=60)})
    assert (await world.tracker.decision("chat")).active
    world.queues.readings["chat"] = Reading(0, NEVER)
    await world.pass_time(59, step_s=0.5)
    assert (await world.tracker.decision("chat")).active
    await world.pass_time(2, step_s=0.5)
    assert not (await world.tracker.decision("chat")).active


async def test_the_step_to_inactive_is_taken_on_a_reading_made_for_it(world: Any, document: Any) -> None:
    """The wake was lost, and the request would be: the last moment shows it."""
    world.queues.readings["chat"] = Reading(0, world.time.now)
    world.tracker.set_documents({"chat": document(timeout_s=60)})
    await world.tracker.sweep()
    await world.tracker.decision("chat")
    world.time.passed_s += 59.99
    await world.tracker.decision("chat")
    world.queues.readings["chat"] = Reading(1, world.time.now)
    world.time.passed_s += 0.02
    assert (await world.tracker.decision("chat")).active


async def test_idle_begins_at_the_timeout_after_the_last_activity(world: Any, document: Any) -> None:
    world.queues.readings["chat"] = Reading(0, world.time.now - 30)
    world.tracker.set_documents({"chat": document(timeout_s=60)})
    await world.pass_time(29.9)
    assert (await world.tracker.decision("chat")).active
    await world.pass_time(0.1)
    assert not (await world.tracker.decision("chat")).active


async def test_a_long_request_keeps_its_endpoint_active_beyond_the_timeout(world: Any, document: Any) -> None:
    world.queues.readings["chat"] = Reading(1, world.time.now)
    world.tracker.set_documents({"chat": document(timeout_s=10)})
    await world.pass_time(100, step_s=0.5)
    assert (await world.tracker.decision("chat")).active
    world.queues.readings["chat"] = Reading(0, world.time.now)
    await world.pass_time(9.5, step_s=0.5)
    assert (await world.tracker.decision("chat")).active
    await world.pass_time(1, step_s=0.5)
    assert not (await world.tracker.decision("chat")).active


async def test_a_wake_tells_the_stream_once_however_many_follow(world: Any, document: Any) -> None:
    world.tracker.set_documents({"chat": document()})
    await world.settle()
    with world.tracker.subscribe("chat") as stream:
        assert await told(stream) == 0
        for _ in range(50):
            world.tracker.wake("chat")
            await world.pass_time(0.1)
        assert await told(stream) == 1
    assert (world.counts.wakes, world.counts.pushes) == (50, 1)


async def test_every_edge_tells_the_stream_again(world: Any, document: Any) -> None:
    world.tracker.set_documents({"chat": document(timeout_s=10)})
    await world.settle()
    with world.tracker.subscribe("chat") as stream:
        for _ in range(3):
            world.tracker.wake("chat")
            await world.pass_time(9)
            assert await told(stream) == 1
            await world.pass_time(3)
            assert not (await world.tracker.decision("chat")).active
            assert await told(stream) == 0


async def test_a_wake_at_the_moment_of_the_timeout_is_an_edge(world: Any, document: Any) -> None:
    """Nobody has asked since the timeout passed, so the last verdict still says active."""
    world.queues.readings["chat"] = Reading(0, world.time.now)
    world.tracker.set_documents({"chat": document(timeout_s=10)})
    await world.tracker.decision("chat")
    with world.tracker.subscribe("chat") as stream:
        assert await told(stream) == 1
        world.time.passed_s += 10
        world.tracker.wake("chat")
        assert await told(stream) == 1


async def test_a_stream_that_opens_on_an_active_endpoint_is_told_at_once(world: Any, document: Any) -> None:
    world.queues.readings["chat"] = Reading(1, world.time.now)
    world.tracker.set_documents({"chat": document()})
    await world.settle()
    with world.tracker.subscribe("chat") as stream:
        assert await told(stream) == 1


async def test_a_stream_that_opens_before_anything_is_known_is_told_when_it_is(
    world: Any, document: Any
) -> None:
    world.queues.readings["chat"] = Reading(1, world.time.now)
    with world.tracker.subscribe("chat") as stream:
        assert await told(stream) == 0
        world.tracker.set_documents({"chat": document()})
        await world.settle()
        assert await told(stream) == 1


async def test_two_streams_of_one_endpoint_are_both_told(world: Any, document: Any) -> None:
    world.tracker.set_documents({"chat": document()})
    await world.settle()
    with world.tracker.subscribe("chat") as one, world.tracker.subscribe("chat") as two:
        world.tracker.wake("chat")
        assert (await told(one), await told(two)) == (1, 1)


async def test_a_lost_wake_is_made_up_for_by_the_next_sweep(world: Any, document: Any) -> None:
    world.tracker.set_documents({"chat": document()})
    await world.settle()
    with world.tracker.subscribe("chat") as stream:
        world.queues.backlogs["chat"] = Backlog(requests=1, last_request_at=world.time.now)
        world.queues.readings["chat"] = Reading(1, world.time.now)
        await world.tracker.sweep()
        await world.settle()
        assert await told(stream) == 1
    assert (await world.tracker.decision("chat")).desired == 1


async def test_a_request_older_than_the_timeout_that_still_waits_wakes_its_endpoint(
    world: Any, document: Any
) -> None:
    """All scalers were down when it was queued."""
    world.tracker.set_documents({"chat": document(timeout_s=10)})
    await world.settle()
    with world.tracker.subscribe("chat") as stream:
        world.queues.backlogs["chat"] = Backlog(requests=1, last_request_at=world.time.now - 1000)
        world.queues.readings["chat"] = Reading(1, NEVER)
        await world.tracker.sweep()
        await world.settle()
        assert await told(stream) == 1


async def test_a_paused_endpoint_is_inactive_whatever_waits_and_needs_no_reading(
    world: Any, document: Any
) -> None:
    world.queues.readings["chat"] = Reading(9, world.time.now)
    world.queues.backlogs["chat"] = Backlog(9, world.time.now)
    world.tracker.set_documents({"chat": document(paused=True)})
    with world.tracker.subscribe("chat") as stream:
        world.tracker.wake("chat")
        await world.tracker.sweep()
        await world.settle()
        decision = await world.tracker.decision("chat")
        assert (decision.active, decision.metric) == (False, 0.0)
        assert await told(stream) == 0
    assert world.queues.asked == []


async def test_a_resumed_endpoint_with_waiting_requests_wakes(world: Any, document: Any) -> None:
    world.queues.readings["chat"] = Reading(2, world.time.now)
    world.tracker.set_documents({"chat": document(paused=True)})
    with world.tracker.subscribe("chat") as stream:
        world.tracker.set_documents({"chat": document()})
        await world.settle()
        assert await told(stream) == 1
    assert (await world.tracker.decision("chat")).desired == 2


async def test_pausing_takes_effect_at_once(world: Any, document: Any) -> None:
    world.queues.readings["chat"] = Reading(2, world.time.now)
    world.tracker.set_documents({"chat": document()})
    assert (await world.tracker.decision("chat")).active
    world.tracker.set_documents({"chat": document(paused=True)})
    assert not (await world.tracker.decision("chat")).active


async def test_a_shorter_timeout_still_takes_a_reading_to_be_idle(world: Any, document: Any) -> None:
    world.queues.readings["chat"] = Reading(0, world.time.now)
    world.tracker.set_documents({"chat": document(timeout_s=1000)})
    await world.pass_time(100, step_s=1)
    assert (await world.tracker.decision("chat")).active
    world.queues.readings["chat"] = Reading(1, world.time.now)
    world.tracker.set_documents({"chat": document(timeout_s=10)})
    assert (await world.tracker.decision("chat")).active


async def test_an_endpoint_that_is_removed_is_unknown_and_forgotten(world: Any, document: Any) -> None:
    world.tracker.set_documents({"chat": document()})
    await world.tracker.decision("chat")
    world.tracker.set_documents({})
    with pytest.raises(Unknown):
        await world.tracker.decision("chat")
    assert world.counts.decisions == {}
    assert world.tracker.endpoints == 0


async def test_wakes_of_endpoints_that_do_not_exist_change_nothing(world: Any, document: Any) -> None:
    world.tracker.set_documents({"chat": document()})
    world.tracker.wake("other")
    assert world.tracker.active == 0


async def test_all_streams_end_when_the_scaler_stops_also_later_ones(world: Any, document: Any) -> None:
    world.tracker.set_documents({"chat": document()})
    with world.tracker.subscribe("chat") as before:
        world.tracker.end_streams()
        assert await before.wait() is False
    with world.tracker.subscribe("chat") as after:
        assert await after.wait() is False
    assert world.tracker.streams == 0


async def test_a_thousand_idle_endpoints_cost_no_readings_after_the_first(world: Any, document: Any) -> None:
    names = [f"e{number}" for number in range(1000)]
    world.tracker.set_documents({name: document(name) for name in names})
    await world.tracker.sweep()
    await world.pass_time(6)
    assert sorted(world.queues.asked) == sorted(names), "each once, spread over five seconds"
    await world.pass_time(60, step_s=1)
    for name in names:
        assert not (await world.tracker.decision(name)).active
    assert len(world.queues.asked) == 1000


async def test_the_start_with_many_endpoints_is_spread(world: Any, document: Any) -> None:
    world.tracker.set_documents({f"e{number}": document(f"e{number}") for number in range(1000)})
    await world.settle()
    assert len(world.queues.asked) == 1
    await world.pass_time(1)
    assert 195 <= len(world.queues.asked) <= 205


async def test_many_busy_endpoints_are_looked_at_less_often_each(world: Any, document: Any) -> None:
    names = [f"e{number}" for number in range(1000)]
    for name in names:
        world.queues.readings[name] = Reading(1, world.time.now)
    world.tracker.set_documents({name: document(name) for name in names})
    await world.pass_time(10)
    asked = len(world.queues.asked)
    await world.pass_time(10)
    assert (len(world.queues.asked) - asked) / 10 <= 220


async def test_readiness_takes_documents_and_one_sweep(world: Any, document: Any) -> None:
    assert not world.tracker.ready
    world.tracker.set_documents({})
    assert not world.tracker.ready
    await world.tracker.sweep()
    assert world.tracker.ready
