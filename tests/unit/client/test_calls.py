"""Calls, retries and errors: the same for the client of threads and the one of asyncio."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

import holdfast_client
from holdfast_client import AsyncClient, Client, Phase, Progress

Both = Callable[..., Any]


@pytest.fixture(params=["threads", "asyncio"])
def infer(
    request: pytest.FixtureRequest, client: Callable[..., Client], async_client: Callable[..., AsyncClient]
) -> Both:
    """`await infer(options, *call)` with either client."""

    async def with_threads(options: dict[str, Any], *words: Any, **how: Any) -> Any:
        return client(**options).infer(*words, **how)

    async def with_asyncio(options: dict[str, Any], *words: Any, **how: Any) -> Any:
        return await async_client(**options).infer(*words, **how)

    return with_threads if request.param == "threads" else with_asyncio


async def test_an_answer_carries_body_request_id_and_timings(infer: Both) -> None:
    answer = await infer({}, "echo", {"text": "grüße"})
    assert answer.json() == {"text": "grüße"}
    assert answer.request_id == "r-1"
    assert (answer.timings.queue_s, answer.timings.model_s, answer.timings.replica) == (0.25, 0.5, "echo-0")


async def test_a_request_carries_token_deadline_and_idempotency_key(infer: Both, gateway: Any) -> None:
    await infer({"timeout": 30}, "echo", 1)
    sent = gateway.requests[0]
    assert sent.url.path == "/e/echo/"
    assert sent.headers["authorization"] == "Bearer hf_test_secret"
    assert sent.headers["idempotency-key"] == "key"
    assert sent.headers["x-deadline"] == "30.000"
    assert sent.headers["content-type"] == "application/json"


async def test_without_a_timeout_no_deadline_is_told(infer: Both, gateway: Any) -> None:
    await infer({"timeout": None}, "echo", 1)
    assert "x-deadline" not in gateway.requests[0].headers


async def test_a_route_with_query_and_method_reaches_the_container(infer: Both, gateway: Any) -> None:
    await infer({}, "echo", route="/v1/models?limit=2", method="get")
    assert gateway.requests[0].method == "GET"
    assert gateway.requests[0].url.raw_path == b"/e/echo/v1/models?limit=2"
    assert "idempotency-key" not in gateway.requests[0].headers


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_what_passes_is_tried_again_with_the_same_key_and_body(
    status: int, infer: Both, gateway: Any, clock: Any
) -> None:
    gateway.script += [httpx2.Response(status), httpx2.Response(status)]
    answer = await infer({}, "echo", files={"image": b"\x89PNG\r\n\x1a\nx"})
    assert answer.status_code == 200
    assert clock.sleeps == [0.5, 1.0]
    keys = {request.headers["idempotency-key"] for request in gateway.requests}
    assert len(keys) == 1
    assert len({request.content for request in gateway.requests}) == 1


async def test_a_lost_connection_is_tried_again(infer: Both, gateway: Any) -> None:
    gateway.script += [httpx2.ConnectError("refused"), httpx2.ReadError("reset")]
    assert (await infer({}, "echo", 1)).status_code == 200


async def test_an_answer_that_breaks_off_is_fetched_again(infer: Both, gateway: Any, standin: Any) -> None:
    gateway.script.append(httpx2.Response(200, stream=standin.Broken(b'{"ha')))
    assert (await infer({}, "echo", {"half": 1})).json() == {"half": 1}


async def test_no_more_than_max_retries(infer: Both, gateway: Any) -> None:
    gateway.script += [httpx2.ConnectError("refused")] * 4
    with pytest.raises(
        holdfast_client.APIConnectionError, match=r"http://gateway\.test could not be reached"
    ):
        await infer({"max_retries": 1}, "echo", 1)
    assert len(gateway.requests) == 2


async def test_retry_after_is_obeyed(infer: Both, gateway: Any, clock: Any) -> None:
    gateway.script.append(httpx2.Response(429, headers={"retry-after": "7"}))
    await infer({}, "echo", 1)
    assert clock.sleeps == [7.0]


async def test_a_server_that_asks_for_more_than_two_minutes_gets_no_retry(infer: Both, gateway: Any) -> None:
    gateway.script.append(httpx2.Response(429, headers={"retry-after": "121"}))
    with pytest.raises(holdfast_client.RateLimitError) as caught:
        await infer({"timeout": None}, "echo", 1)
    assert caught.value.retry_after_s == 121


async def test_the_servers_advice_against_a_retry_wins(infer: Both, gateway: Any, standin: Any) -> None:
    gateway.script.append(
        standin.problem("activation-failed", 503, detail="image x: not found", remedy="Push it.", retry=False)
    )
    with pytest.raises(holdfast_client.ServiceUnavailableError) as caught:
        await infer({}, "echo", 1)
    assert str(caught.value) == (
        "the gateway answered 503 activation-failed: image x: not found. Push it (request r-1)"
    )
    assert caught.value.problem.remedy == "Push it."
    assert caught.value.request_id == "r-1"
    assert not caught.value.from_model


async def test_waiting_for_an_earlier_attempt_uses_up_no_retry(
    infer: Both, gateway: Any, standin: Any, clock: Any
) -> None:
    gateway.script += [standin.problem("idempotency-running", 409, retry=True, **{"retry-after": "1"})] * 9
    assert (await infer({"max_retries": 0}, "echo", 1)).status_code == 200
    assert clock.sleeps == [1.0] * 9


async def test_the_timeout_counts_over_all_attempts(infer: Both, gateway: Any, clock: Any) -> None:
    def slow(request: httpx2.Request) -> httpx2.Response:
        clock.seconds += 4
        return httpx2.Response(503)

    gateway.script += [slow] * 5
    with pytest.raises(holdfast_client.ServiceUnavailableError):
        await infer({"timeout": 10, "max_retries": 9}, "echo", 1)
    deadlines = [float(request.headers["x-deadline"]) for request in gateway.requests]
    assert deadlines == [10.0, 5.5, 0.5]
    assert [request.extensions["timeout"]["read"] for request in gateway.requests] == deadlines


async def test_a_pause_beyond_the_deadline_is_not_begun(infer: Both, gateway: Any, clock: Any) -> None:
    gateway.script.append(httpx2.Response(429, headers={"retry-after": "60"}))
    with pytest.raises(holdfast_client.RateLimitError):
        await infer({"timeout": 30}, "echo", 1)
    assert clock.sleeps == []


async def test_a_timeout_says_what_to_do(infer: Both, gateway: Any) -> None:
    gateway.script.append(httpx2.ReadTimeout("read"))
    with pytest.raises(holdfast_client.APITimeoutError) as caught:
        await infer({"timeout": 2}, "echo", 1)
    assert str(caught.value) == (
        "no answer within 2 s (while waiting for the gateway): allow more with timeout=, or submit() and wait apart"
    )


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, holdfast_client.BadRequestError),
        (401, holdfast_client.AuthenticationError),
        (403, holdfast_client.PermissionDeniedError),
        (404, holdfast_client.NotFoundError),
        (409, holdfast_client.ConflictError),
        (410, holdfast_client.GoneError),
        (413, holdfast_client.RequestTooLargeError),
        (418, holdfast_client.APIStatusError),
        (422, holdfast_client.UnprocessableEntityError),
        (429, holdfast_client.RateLimitError),
        (500, holdfast_client.InternalServerError),
        (502, holdfast_client.BadGatewayError),
        (503, holdfast_client.ServiceUnavailableError),
        (504, holdfast_client.DeadlineError),
    ],
)
async def test_every_status_has_its_error(
    status: int, kind: type[Exception], infer: Both, gateway: Any
) -> None:
    gateway.script.append(httpx2.Response(status))
    with pytest.raises(holdfast_client.APIStatusError) as caught:
        await infer({"max_retries": 0}, "echo", 1)
    assert type(caught.value) is kind


async def test_an_error_of_the_model_is_told_from_one_of_the_gateway(
    infer: Both, gateway: Any, standin: Any
) -> None:
    headers = {**standin.MODEL_HEADERS, "x-should-retry": "false", "x-request-id": "r-9"}
    gateway.script.append(httpx2.Response(503, headers=headers, text="out of memory"))
    with pytest.raises(holdfast_client.ServiceUnavailableError) as caught:
        await infer({}, "echo", 1)
    assert caught.value.from_model
    assert str(caught.value) == "the model answered 503: out of memory (request r-9)"


async def test_a_redirect_of_the_gateway_is_not_followed_with_the_token(infer: Both, gateway: Any) -> None:
    gateway.script.append(httpx2.Response(301, headers={"location": "https://elsewhere/"}))
    with pytest.raises(holdfast_client.APIError, match="points to https://elsewhere/: set the gateway URL"):
        await infer({}, "echo", 1)
    assert len(gateway.requests) == 1


async def test_progress_tells_attempts_pauses_and_the_end(infer: Both, gateway: Any) -> None:
    told: list[Progress] = []
    gateway.script.append(httpx2.Response(503))
    await infer({"on_progress": told.append}, "echo", "x")
    assert [(one.phase, one.attempt) for one in told[:3]] == [
        (Phase.SENDING, 1),
        (Phase.RETRYING, 1),
        (Phase.SENDING, 2),
    ]
    assert told[1].delay_s == 0.5
    assert told[-1].phase is Phase.DONE
    assert told[-1].received_bytes == 3


async def test_a_header_that_cannot_be_sent_is_an_error_of_ours(infer: Both) -> None:
    with pytest.raises(holdfast_client.APIError, match="cannot be sent"):
        await infer({}, "echo", 1, headers={"x-name": "日本"})


def test_options_of_a_copy_leave_the_original_alone(client: Callable[..., Client], gateway: Any) -> None:
    first = client(timeout=10)
    second = first.with_options(timeout=1, headers={"x-a": "1"}, token="hf_other_secret")
    second.close()
    second.infer("echo", 1)
    first.infer("echo", 1)
    sent = [
        (r.headers["x-deadline"], r.headers.get("x-a"), r.headers["authorization"]) for r in gateway.requests
    ]
    assert sent == [("1.000", "1", "Bearer hf_other_secret"), ("10.000", None, "Bearer hf_test_secret")]


def test_both_clients_have_the_same_methods_with_the_same_arguments() -> None:
    for sync, other in (
        (Client, AsyncClient),
        (holdfast_client.Job, holdfast_client.AsyncJob),
        (holdfast_client.Stream, holdfast_client.AsyncStream),
    ):
        public = {name: member for name, member in vars(sync).items() if not name.startswith("_")}
        assert set(public) == {name for name in vars(other) if not name.startswith("_")}
        for name, member in public.items():
            if inspect.isfunction(member):
                theirs = inspect.signature(getattr(other, name)).parameters
                assert [*inspect.signature(member).parameters] == [*theirs], f"{sync.__name__}.{name}"
                defaults = [p.default for p in inspect.signature(member).parameters.values()]
                if name not in ("__init__",):
                    assert defaults == [p.default for p in theirs.values()]


def test_the_token_is_in_no_printed_form(client: Callable[..., Client]) -> None:
    made = client()
    assert "secret" not in repr(made) + repr(made._session) + repr(made._session.settings)


def test_lists_and_descriptions_of_endpoints(client: Callable[..., Client]) -> None:
    made = client()
    assert [one.name for one in made.endpoints()] == ["count", "echo"]
    echo = made.endpoint("echo")
    assert (echo.replicas.ready, echo.max_replicas, echo.visibility, echo.state) == (
        1,
        3,
        "private",
        "active",
    )
    assert made.templates()[0].version == "1.0.0"
    with pytest.raises(holdfast_client.NotFoundError, match="no endpoint nope"):
        made.endpoint("nope")


def test_the_phases_of_a_cold_start_are_typed_and_what_is_new_in_them_is_passed_over(
    client: Callable[..., Client], gateway: Any
) -> None:
    node = {"phase": "node", "low_s": 80, "high_s": 120, "last_s": 131.2, "verdict": "slower", "why": "a GPU"}
    found = {"name": "echo", "cold_start_phases": [{**node, "coming": 1}, {"phase": "pull"}]}
    gateway.script += [httpx2.Response(200, json=found), httpx2.Response(200, json={"name": "echo"})]
    made = client()
    assert made.endpoint("echo").cold_start_phases == (
        holdfast_client.ColdStartPhase("node", 80, 120, 131.2, "slower", "a GPU"),
        holdfast_client.ColdStartPhase("pull", None, None, None, None, ""),
    )
    assert made.endpoint("echo").cold_start_phases == (), "a gateway of before the estimates"


def test_health_is_false_without_raising(client: Callable[..., Client], gateway: Any) -> None:
    made = client(max_retries=0)
    assert made.health()
    gateway.script += [httpx2.ConnectError("refused"), httpx2.Response(503)]
    assert (made.health(), made.health()) == (False, False)


def test_what_is_not_a_gateway_is_named_as_such(client: Callable[..., Client], gateway: Any) -> None:
    gateway.script += [httpx2.Response(200, text="<html>"), httpx2.Response(200, json={"a": 1})]
    with pytest.raises(holdfast_client.APIError, match="not JSON: is the URL a holdfast gateway"):
        client().endpoints()
    with pytest.raises(holdfast_client.APIError, match="lacks the list 'endpoints'"):
        client().endpoints()


def test_the_names_are_those_of_the_contract() -> None:
    """The client imports nothing of ours, so a test keeps its copies honest."""
    from holdfast_client import _protocol as ours
    from holdfast_contract import names, problems

    copies = {name: value for name, value in vars(ours).items() if name.startswith("HEADER_")}
    assert copies == {name: getattr(names, name) for name in copies}
    assert (names.PATH_ENDPOINT, names.PATH_REQUESTS) == (ours.PATH_ENDPOINT, ours.PATH_REQUESTS)
    assert problems.IDEMPOTENCY_RUNNING.slug == ours.IDEMPOTENCY_RUNNING


def test_the_states_are_those_of_the_contract() -> None:
    from holdfast_contract.messages import RequestState

    assert [state.value for state in holdfast_client.JobState] == [state.value for state in RequestState]
    assert [s.final for s in holdfast_client.JobState] == [s.terminal for s in RequestState]


def test_every_problem_of_the_contract_has_an_error_of_its_own() -> None:
    from holdfast_client._errors import _BY_STATUS
    from holdfast_contract import problems

    statuses = {one.status for one in problems.ALL}
    # 405 and 501 are mistakes of a program, not situations to handle.
    assert statuses - set(_BY_STATUS) <= {405, 501}


def test_what_retries_agree_with_the_contracts_advice() -> None:
    """Without the header, too, the client never repeats what the contract says cannot help, but 502 and 503."""
    from holdfast_client._retry import after_answer
    from holdfast_contract import problems

    for one in problems.ALL:
        advice = {"x-should-retry": "true" if one.retry else "false"}
        again = after_answer(one.status, advice, one.slug, 0, 0.0, 0.0)
        assert (again is not None) is one.retry, one.slug


def test_public_names_are_listed_sorted_and_there() -> None:
    assert [name for name in holdfast_client.__all__ if not hasattr(holdfast_client, name)] == []
    assert len(set(holdfast_client.__all__)) == len(holdfast_client.__all__)
    source = json.dumps(holdfast_client.__all__)
    assert "_" not in [name[0] for name in json.loads(source)]
