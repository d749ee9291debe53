"""The scaler as KEDA sees it: a real process, a real broker. Prints its figures, also where it passes."""

from __future__ import annotations

import asyncio
import signal
import statistics
import time
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from waiting import until

from holdfast_contract.autoscaling import METRIC_NAME

if TYPE_CHECKING:
    from collections.abc import Callable


async def test_a_wake_reaches_keda_within_100_ms(
    world: Any, document: Any, figures: Callable[[str], None]
) -> None:
    endpoints = [f"e{number}" for number in range(40)]
    await world.declare(*(document(name) for name in endpoints))
    keda = world.keda(await world.scaler())
    streams = {name: keda.stream(name) for name in endpoints}
    await until(lambda: world.scalers[0].figure("holdfast_scaler_streams ") == 40, "all streams are open")
    assert not await keda.is_active("e0")
    took_ms = []
    for name, stream in streams.items():
        sent = await world.accept(name, "r1")
        await until(lambda stream=stream: stream.said, "the stream said true")
        took_ms.append(1000 * (stream.said[0][0] - sent))
    figures(f"wake to true: p50 {statistics.median(took_ms):.1f} ms, worst of 40 {max(took_ms):.1f} ms")
    assert max(took_ms) <= 100
    for stream in streams.values():
        assert [value for _, value in stream.said] == [True]
        await stream.close()


async def test_a_busy_endpoint_is_told_once_per_edge(
    world: Any, document: Any, figures: Callable[[str], None]
) -> None:
    await world.declare(document(timeout_s=1))
    keda = world.keda(await world.scaler())
    stream = keda.stream("chat")
    await until(lambda: world.scalers[0].figure("holdfast_scaler_streams ") == 1, "the stream is open")
    for edge in range(1, 4):
        for number in range(20):
            await world.accept("chat", f"r{edge}-{number}")
        await until(lambda edge=edge: len(stream.said) >= edge, "the stream said true")
        assert await keda.is_active("chat")
        for _ in range(20):
            await world.finish("chat")
        await until(lambda: _inactive(keda), "the endpoint is idle")
        assert [value for _, value in stream.said] == [True] * edge
    wakes = world.scalers[0].figure("holdfast_scaler_wakes_total ")
    figures(f"{wakes:.0f} wakes over 3 edges: `true` was pushed {len(stream.said)} times")
    assert wakes == 60
    await stream.close()


async def _inactive(keda: Any) -> bool:
    return not await keda.is_active("chat")


async def test_idle_begins_between_the_timeout_and_five_seconds_later(
    world: Any, document: Any, figures: Callable[[str], None]
) -> None:
    """Counted from the end of the last request, by one who asks every 5 seconds, as KEDA does."""
    timeout_s = 3
    await world.declare(document(timeout_s=timeout_s))
    keda = world.keda(await world.scaler())
    await world.accept("chat", "r1")
    assert await keda.is_active("chat")
    await world.finish("chat")
    ended = time.monotonic()
    await until(lambda: _inactive(keda), "the endpoint is idle")
    seen_s = time.monotonic() - ended
    figures(f"timeout {timeout_s} s: inactive {seen_s:.3f} s after the end of the last request")
    # An asker in steps of 5 s sees it up to 5 s later; the scaler's own part is far below that.
    assert timeout_s - 0.01 <= seen_s <= timeout_s + 0.5


async def test_a_short_request_between_two_polls_restarts_the_timer(world: Any, document: Any) -> None:
    await world.declare(document(timeout_s=3))
    keda = world.keda(await world.scaler())
    await world.accept("chat", "r1")
    await world.finish("chat")
    first = time.monotonic()
    await until(lambda: time.monotonic() - first > 2, "two seconds pass")
    await world.accept("chat", "r2")
    await world.finish("chat")
    second = time.monotonic()
    await until(lambda: _inactive(keda), "the endpoint is idle")
    assert 3 - 0.01 <= time.monotonic() - second <= 3.5


async def test_the_metric_counts_waiting_and_running_and_rounds_up(world: Any, document: Any) -> None:
    await world.declare(document(concurrency=4, max_replicas=20))
    keda = world.keda(await world.scaler())
    assert await keda.metric("chat", "0") == 0
    for number in range(9):
        await world.accept("chat", f"r{number}")
    subscription = await world.broker.jetstream.pull_subscribe_bind("w", "q_chat")
    taken = await subscription.fetch(5, timeout=5)
    assert len(taken) == 5
    await until(lambda: _metric_is(keda, 3.0), "9 requests of 4 a replica are 3 replicas")
    spec = await keda.stub.GetMetricSpec(keda.reference("chat"), timeout=5)
    assert [(s.metricName, s.targetSizeFloat) for s in spec.metricSpecs] == [(METRIC_NAME, 1.0)]


async def _metric_is(keda: Any, value: float) -> bool:
    return await keda.metric("chat", "0") == value


async def test_unknown_endpoints_and_wrong_triggers_are_errors_not_zeros(world: Any, document: Any) -> None:
    await world.declare(document())
    keda = world.keda(await world.scaler())
    error = await keda.refusal(keda.metric("other"))
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert error.details() == "endpoint 'other' is not declared: no endpoint document of that name exists"
    error = await keda.refusal(keda.is_active("other"))
    assert error.code() is grpc.StatusCode.NOT_FOUND
    error = await keda.refusal(keda.is_active(""))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details() == (
        "trigger metadata endpoint is missing in ScaledObject holdfast/: name the endpoint there"
    )
    error = await keda.refusal(keda.metric("chat", "much"))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details() == (
        "trigger metadata tolerance is 'much', not a number from 0 to 0.5: "
        "give the ScaledObject's behavior tolerance, or leave it out"
    )


async def test_an_endpoint_declared_after_its_stream_opened_wakes(world: Any, document: Any) -> None:
    keda = world.keda(await world.scaler())
    stream = keda.stream("chat")
    await until(lambda: world.scalers[0].figure("holdfast_scaler_streams ") == 1, "the stream is open")
    await world.declare(document())
    await until(lambda: world.scalers[0].figure("holdfast_scaler_endpoints ") == 1, "it is declared")
    await world.accept("chat", "r1")
    await until(lambda: stream.said, "the stream said true")
    assert stream.code is None
    await stream.close()


async def test_an_endpoint_without_a_queue_has_no_demand(world: Any, document: Any) -> None:
    await world.declare(document(), queue=False)
    keda = world.keda(await world.scaler())
    assert not await keda.is_active("chat")
    assert await keda.metric("chat") == 0


async def test_an_endpoint_made_anew_under_the_name_of_a_removed_one_begins_at_rest(
    world: Any, document: Any
) -> None:
    """It started a replica without a request, where one had come within its timeout before it was removed."""
    await world.declare(document())
    await world.accept("chat", "r1")
    await world.finish("chat")
    scaler = await world.scaler()
    keda = world.keda(scaler)
    assert await keda.is_active("chat")

    world.withdraw("chat")
    await until(lambda: scaler.figure("holdfast_scaler_endpoints ") == 0, "it is gone")
    await world.broker.delete_queue("chat")
    await world.declare(document())
    await until(lambda: scaler.figure("holdfast_scaler_endpoints ") == 1, "the new one is known")

    assert await world.broker.last_activity("chat") is None
    assert not await keda.is_active("chat")


async def test_a_paused_endpoint_is_inactive_and_wakes_when_resumed(world: Any, document: Any) -> None:
    await world.declare(document(paused=True))
    keda = world.keda(await world.scaler())
    stream = keda.stream("chat")
    await world.accept("chat", "r1")
    assert not await keda.is_active("chat")
    assert await keda.metric("chat") == 0
    assert stream.said == []
    await world.declare(document())
    await until(lambda: stream.said, "the stream said true")
    assert await keda.is_active("chat")
    await stream.close()


async def test_sigterm_ends_streams_cleanly_and_the_process_in_time(
    world: Any, document: Any, figures: Callable[[str], None]
) -> None:
    await world.declare(*(document(f"e{number}") for number in range(50)))
    scaler = await world.scaler()
    keda = world.keda(scaler)
    streams = [keda.stream(f"e{number}") for number in range(50)]
    await until(lambda: scaler.figure("holdfast_scaler_streams ") == 50, "all streams are open")
    asked = time.monotonic()
    scaler.process.signal(signal.SIGTERM)
    await until(lambda: scaler.process.ended, "the scaler has ended", deadline_s=5)
    took_s = time.monotonic() - asked
    await until(
        lambda: all(stream.code is not None for stream in streams), "all streams have ended", deadline_s=5
    )
    clean = sum(stream.code is grpc.StatusCode.OK for stream in streams)
    figures(
        f"SIGTERM: {clean} of {len(streams)} streams ended cleanly, the process after {1000 * took_s:.0f} ms"
    )
    assert {stream.code for stream in streams} == {grpc.StatusCode.OK}
    assert scaler.process.code == 0
    assert took_s < 5
    assert "Traceback" not in scaler.process.log.read_text()


async def test_a_stream_that_its_client_leaves_is_forgotten(world: Any, document: Any) -> None:
    await world.declare(document())
    scaler = await world.scaler()
    stream = world.keda(scaler).stream("chat")
    await until(lambda: scaler.figure("holdfast_scaler_streams ") == 1, "the stream is open")
    await stream.close()
    await until(lambda: scaler.figure("holdfast_scaler_streams ") == 0, "the stream is closed")


async def test_a_killed_broker_gives_errors_and_never_a_zero_and_recovers(
    world: Any, document: Any, figures: Callable[[str], None]
) -> None:
    await world.declare(document("busy", timeout_s=2), document("idle", timeout_s=2))
    scaler = await world.scaler()
    keda = world.keda(scaler)
    for number in range(3):
        await world.accept("busy", f"r{number}")
    assert await keda.metric("busy", "0") == 3
    assert not await keda.is_active("idle")
    world.nats.process.kill()
    killed = time.monotonic()
    answers, refusals = [], []
    while time.monotonic() - killed < 6:
        for question in (keda.is_active("busy"), keda.metric("busy", "0")):
            try:
                answers.append(await question)
            except grpc.aio.AioRpcError as error:
                refusals.append(error.code())
        await asyncio.sleep(0.1)
    assert set(answers) <= {True, 3.0}, "what was known for up to a second, and then nothing"
    assert set(refusals) == {grpc.StatusCode.UNAVAILABLE}
    assert len(refusals) > 20
    assert not scaler.process.ended
    world.nats.start()
    back = time.monotonic()

    async def recovered() -> bool:
        try:
            return await keda.metric("busy", "0") == 3 and await keda.is_active("busy")
        except grpc.aio.AioRpcError:
            return False

    await until(recovered, "the scaler answers again")
    figures(
        f"broker down: {len(refusals)} refusals, no zero; answers {time.monotonic() - back:.2f} s after its return"
    )
    await until(lambda: world.broker.connected, "the gateway is back")
    stream = keda.stream("idle")
    await world.accept("idle", "r1")
    await until(lambda: stream.said, "wakes arrive again")
    await stream.close()


async def test_a_request_queued_while_no_scaler_ran_wakes_its_endpoint(world: Any, document: Any) -> None:
    await world.declare(document(timeout_s=1))
    await world.accept("chat", "r1")
    keda = world.keda(await world.scaler())
    stream = keda.stream("chat")
    await until(lambda: stream.said, "the stream said true", deadline_s=6)
    assert await keda.is_active("chat")
    await stream.close()


async def test_a_wake_that_was_lost_is_made_up_for_within_a_sweep(
    world: Any, document: Any, figures: Callable[[str], None]
) -> None:
    await world.declare(document())
    keda = world.keda(await world.scaler())
    stream = keda.stream("chat")
    assert not await keda.is_active("chat")
    sent = await world.accept("chat", "r1", wake=False)
    await until(lambda: stream.said, "the stream said true", deadline_s=8)
    figures(f"lost wake: noticed after {stream.said[0][0] - sent:.1f} s")
    assert stream.said[0][0] - sent <= 6
    await stream.close()


async def test_a_scaler_that_starts_before_the_broker_waits_for_it(world: Any, document: Any) -> None:
    await world.declare(document())
    world.nats.process.kill()
    scaler = await world.scaler(ready=False)
    await until(lambda: scaler.get("/healthz")[0] == 200, "the scaler is alive")
    assert scaler.get("/readyz")[0] == 503
    world.nats.start()
    await until(lambda: scaler.get("/readyz")[0] == 200, "the scaler is ready")
    assert not await world.keda(scaler).is_active("chat")


async def test_a_scaler_without_a_broker_still_ends_in_time(world: Any) -> None:
    world.nats.process.kill()
    scaler = await world.scaler(ready=False)
    await until(lambda: scaler.get("/healthz")[0] == 200, "the scaler is alive")
    scaler.process.signal(signal.SIGTERM)
    await until(lambda: scaler.process.ended, "the scaler has ended", deadline_s=5)


async def test_two_scalers_tell_the_same_and_one_may_be_killed(
    world: Any, document: Any, figures: Callable[[str], None]
) -> None:
    await world.declare(document(timeout_s=2))
    first, second = await world.scaler(), await world.scaler()
    kedas = [world.keda(first), world.keda(second)]
    streams = [keda.stream("chat") for keda in kedas]
    for scaler in (first, second):
        await until(lambda s=scaler: s.figure("holdfast_scaler_streams ") == 1, "the stream is open")
    for number in range(5):
        await world.accept("chat", f"r{number}")
    await until(lambda: all(stream.said for stream in streams), "both streams said true")
    assert [await keda.metric("chat", "0") for keda in kedas] == [5, 5]
    for _ in range(5):
        await world.finish("chat")
    ended = time.monotonic()
    # Only the second is asked; the first must notice by itself, or the next edge is missed on its stream.
    await until(lambda: _inactive(kedas[1]), "the endpoint is idle")
    assert time.monotonic() - ended <= 2.7
    sent = await world.accept("chat", "again")
    await until(lambda: all(len(stream.said) == 2 for stream in streams), "both said true again")
    worst_ms = 1000 * max(stream.said[1][0] - sent for stream in streams)
    figures(f"two scalers: both said true within {worst_ms:.1f} ms")
    assert worst_ms <= 100
    first.process.kill()
    assert await kedas[1].is_active("chat")
    assert await kedas[1].metric("chat", "0") == 1
    # KEDA opens the stream that broke at the one that is left: the state once, then one `true` for each edge.
    moved = kedas[1].stream("chat")
    await until(lambda: moved.said, "the other scaler says that it is active")
    await world.finish("chat")
    await until(lambda: _inactive(kedas[1]), "the endpoint is idle again")
    await world.accept("chat", "after-the-loss")
    await until(lambda: len(moved.said) == 2 and len(streams[1].said) == 3, "one more edge")
    assert [said for _, said in moved.said] == [True, True]
    assert [said for _, said in streams[1].said] == [True, True, True]
    await moved.close()
    await streams[1].close()


@pytest.mark.parametrize(("password", "enters"), [("right", True), ("wrong", False)])
async def test_the_broker_s_password_is_taken_from_the_environment(
    locked_world: Any, password: str, enters: bool
) -> None:
    scaler = await locked_world.scaler(
        ready=False, HOLDFAST_NATS_USER="system", HOLDFAST_NATS_PASSWORD=password
    )
    if enters:
        await until(lambda: scaler.get("/readyz")[0] == 200, "the scaler is ready")
    else:
        await until(
            lambda: "authorization" in scaler.process.log.read_text().lower(), "the scaler was refused"
        )
        assert scaler.get("/readyz")[0] == 503
    assert password not in scaler.process.log.read_text()


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("HOLDFAST_NATS_URL", "", "HOLDFAST_NATS_URL is not set: give the broker's URL, as nats://host:4222"),
        ("HOLDFAST_LOG_LEVEL", "loud", "log level is 'loud'"),
        ("HOLDFAST_LISTEN_PORT", "grpc", "invalid literal for int()"),
    ],
)
async def test_a_wrong_environment_is_told_at_once(
    world: Any, variable: str, value: str, problem: str
) -> None:
    scaler = await world.scaler(ready=False)
    scaler.process.kill()
    scaler.process.env[variable] = value
    scaler.process.log.write_text("")
    scaler.process.start()
    await until(lambda: scaler.process.ended, "the scaler has ended", deadline_s=10)
    assert scaler.process.code == 2
    assert problem in scaler.process.log.read_text()
