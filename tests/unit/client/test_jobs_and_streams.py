"""Submitted requests and streamed answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

import holdfast_client
from holdfast_client import AsyncClient, Client, JobState, Phase, Progress

Make = Callable[..., Client]
MakeAsync = Callable[..., AsyncClient]


def test_a_submitted_request_is_answered_later(client: Make, gateway: Any) -> None:
    job = client().submit("echo", {"n": 1}, webhook_url="https://me.test/hook")
    sent = gateway.requests[0].headers
    assert (sent["prefer"], sent["webhook-url"]) == ("respond-async", "https://me.test/hook")
    assert "x-deadline" not in sent
    assert job.id == "job-1"
    assert job.result().json() == {"n": 1}


def test_a_gateway_that_does_not_accept_is_an_error(client: Make, gateway: Any) -> None:
    gateway.script.append(httpx2.Response(200, json={}))
    with pytest.raises(holdfast_client.APIError, match="answered 200 instead of accepting the request"):
        client().submit("echo", 1)


def test_iterating_gives_every_change_once(client: Make, gateway: Any, clock: Any) -> None:
    gateway.job_states["job-1"] = ["QUEUED", "QUEUED", "QUEUED", "RUNNING", "RUNNING", "SUCCEEDED"]
    states = [status.state for status in client().submit("echo", 1)]
    assert states == [JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED]


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("FAILED", holdfast_client.JobFailedError),
        ("EXPIRED", holdfast_client.JobExpiredError),
        ("CANCELED", holdfast_client.JobCanceledError),
    ],
)
def test_an_end_without_a_result_is_an_error_that_says_why(
    state: str, kind: type[holdfast_client.JobError], client: Make, gateway: Any
) -> None:
    gateway.job_states["job-1"] = ["QUEUED", state]
    with pytest.raises(kind) as caught:
        client().submit("echo", 1).result()
    assert str(caught.value) == f"request job-1 ended {state}: it was made to be {state.lower()}"
    assert (caught.value.state, caught.value.request_id) == (state, "job-1")


def test_waiting_for_a_result_ends_with_the_timeout_and_can_be_taken_up_again(
    client: Make, gateway: Any, clock: Any
) -> None:
    gateway.job_states["job-1"] = ["RUNNING"]
    made = client()
    job = made.submit("echo", {"n": 3})
    with pytest.raises(holdfast_client.APITimeoutError, match=r"within 5 s \(request job-1 is RUNNING\)"):
        job.result(timeout=5)
    assert 5 <= clock.seconds < 6
    gateway.job_states["job-1"] = ["SUCCEEDED"]
    assert made.job("job-1").result().json() == {"n": 3}


def test_questions_are_held_by_the_gateway_and_never_come_faster_than_four_a_second(
    client: Make, gateway: Any, clock: Any
) -> None:
    gateway.job_states["job-1"] = ["RUNNING"] * 30 + ["SUCCEEDED"]
    client().submit("echo", 1).result()
    asked = [request for request in gateway.requests if request.url.path == "/requests/job-1"]
    assert all(request.url.params["wait"] == "20" for request in asked)
    assert clock.seconds >= (len(asked) - 2) * 0.25


def test_progress_of_a_job_tells_queue_and_run(client: Make, gateway: Any) -> None:
    told: list[Progress] = []
    gateway.job_states["job-1"] = ["QUEUED", "RUNNING", "SUCCEEDED"]
    client(on_progress=told.append).submit("echo", 1).result()
    phases = [one.phase for one in told if one.phase not in (Phase.SENDING, Phase.RECEIVING)]
    assert phases == [Phase.QUEUED, Phase.RUNNING, Phase.DONE]


def test_cancelling_tells_the_state(client: Make) -> None:
    job = client().submit("echo", 1)
    assert job.cancel().state is JobState.CANCELED
    assert job.status().error == "it was made to be canceled"


def test_an_unknown_request_is_not_found(client: Make) -> None:
    with pytest.raises(holdfast_client.NotFoundError):
        client().job("nope").status()


async def test_jobs_with_asyncio(async_client: MakeAsync, gateway: Any) -> None:
    made = async_client()
    job = await made.submit("echo", {"n": 1})
    assert [status.state async for status in job] == [JobState.QUEUED, JobState.SUCCEEDED]
    assert (await job.result()).json() == {"n": 1}
    assert (await job.cancel()).state is JobState.CANCELED


def test_events_come_without_comments(client: Make) -> None:
    with client().stream("count", {"to": 3}) as stream:
        assert stream.timings.replica == "echo-0"
        assert [event.data for event in stream.events()] == ["1", "2", "3"]


def test_bytes_and_lines_of_a_stream(client: Make) -> None:
    with client().stream("echo", b"one\ntwo") as stream:
        assert list(stream.iter_lines()) == ["one", "two"]
    with client().stream("echo", b"one\ntwo") as stream:
        assert stream.read() == b"one\ntwo"


def test_a_stream_is_retried_until_it_begins_and_not_after(client: Make, gateway: Any, standin: Any) -> None:
    gateway.script += [httpx2.Response(503), httpx2.Response(200, stream=standin.Broken(b"abc"))]
    got: list[bytes] = []
    with (
        client().stream("echo", 1) as stream,
        pytest.raises(holdfast_client.StreamBrokenError, match="broke off after 3 bytes"),
    ):
        got.extend(stream.iter_bytes())
    assert got == [b"abc"]
    assert len(gateway.requests) == 2


def test_a_failure_told_as_an_event_is_raised_and_the_models_own_error_event_is_not(
    client: Make, gateway: Any
) -> None:
    told = {"type": "https://holdfast.dev/problems/bad-answer", "title": "Broken", "detail": "worker lost."}
    own = 'event: error\ndata: {"message": "mine"}\n\n'
    text = f"data: 1\n\n{own}event: error\ndata: {json.dumps(told)}\n\n"
    gateway.script.append(httpx2.Response(200, headers={"content-type": "text/event-stream"}, text=text))
    seen: list[str] = []
    with (
        client().stream("count") as stream,
        pytest.raises(holdfast_client.StreamBrokenError, match="bad-answer: worker lost"),
    ):
        seen.extend(event.data for event in stream.events())
    assert seen == ["1", '{"message": "mine"}']


def test_an_answer_that_is_no_event_stream_says_what_to_use(client: Make) -> None:
    with (
        client().stream("echo", {"a": 1}) as stream,
        pytest.raises(
            holdfast_client.APIError,
            match=r"cannot be read as events: .*use iter_bytes\(\) or iter_lines\(\)",
        ),
    ):
        list(stream.events())


def test_an_error_status_of_a_stream_is_raised_at_its_opening(client: Make) -> None:
    with pytest.raises(holdfast_client.NotFoundError, match="no endpoint nope"), client().stream("nope"):
        pass


def test_a_stream_counts_towards_the_timeout(client: Make, gateway: Any, clock: Any) -> None:
    with client(timeout=10).stream("count", {"to": 5}) as stream:
        events = stream.events()
        assert next(events).data == "1"
        clock.seconds += 10
        with pytest.raises(holdfast_client.APITimeoutError):
            next(events)


async def test_streams_with_asyncio(async_client: MakeAsync) -> None:
    async with async_client().stream("count", {"to": 2}) as stream:
        assert [event.data async for event in stream.events()] == ["1", "2"]
    async with async_client().stream("echo", b"ab\ncd") as stream:
        assert [line async for line in stream.iter_lines()] == ["ab", "cd"]
    async with async_client().stream("echo", b"abcd") as stream:
        assert await stream.read() == b"abcd"
