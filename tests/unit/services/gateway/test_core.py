"""The gateway's pure decisions."""

from __future__ import annotations

import json
import uuid
from ipaddress import ip_network
from typing import Any

import pytest
from documents import endpoint_document
from hypothesis import given
from hypothesis import strategies as st

from holdfast_contract import problems, tokens
from holdfast_contract.document import EndpointDocument, EndpointState, RateLimit, Visibility
from holdfast_contract.names import RETENTION_S
from holdfast_services.gateway.core import admission, ids, webhook
from holdfast_services.gateway.core.estimate import ServiceTimes
from holdfast_services.gateway.core.ratelimit import RateLimiter
from holdfast_services.gateway.core.refusal import Refusal, problem_answer
from holdfast_services.gateway.core.routing import Page, Target, route
from holdfast_services.gateway.held import HeldRequests, ReplySigner

TOKEN, OTHER, UNKNOWN = tokens.new_token("aaaa"), tokens.new_token("bbbb"), tokens.new_token("cccc")
NOW = 1_764_000_000.0


def document(**fields: Any) -> EndpointDocument:
    fields.setdefault("tokens", (tokens.hash_token(TOKEN),))
    return endpoint_document(max_replicas=1, max_request_s=900, **fields)


# --- routing ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("host", "path", "query", "wanted"),
    [
        ("x", b"/e/chat/v1/x", b"a=1", Target("chat", "/v1/x?a=1", shared_origin=True)),
        ("x", b"/e/chat", b"", Target("chat", "/", shared_origin=True)),
        ("x", b"/e/chat/", b"", Target("chat", "/", shared_origin=True)),
        ("x", b"/e/chat//y", b"", Target("chat", "//y", shared_origin=True)),
        ("x", b"/e/chat/../other/x", b"", Target("chat", "/../other/x", shared_origin=True)),
        ("x", b"/e/chat/%2e%2e%2fother", b"", Target("chat", "/%2e%2e%2fother", shared_origin=True)),
        ("x", b"/e/%63hat/x", b"", Target("", "/x", shared_origin=True)),
        ("x", b"/e/CHAT/x", b"", Target("", "/x", shared_origin=True)),
        ("x", b"/e//chat/x", b"", Target("", "/chat/x", shared_origin=True)),
        ("x", b"/e/../e/chat", b"", Target("", "/e/chat", shared_origin=True)),
        ("chat.models.example", b"/e/other/x", b"", Target("chat", "/e/other/x")),
        ("CHAT.Models.Example:443", b"/v1/endpoints", b"", Target("chat", "/v1/endpoints")),
        ("a.b.models.example", b"/x", b"", Page("/x")),
        ("models.example", b"/e/chat/x", b"", Target("chat", "/x", shared_origin=True)),
        ("evil.example", b"/v1/endpoints", b"", Page("/v1/endpoints")),
    ],
)
def test_the_endpoint_is_decided_by_host_or_first_part_and_the_rest_is_passed_as_sent(
    host: str, path: bytes, query: bytes, wanted: Target | Page
) -> None:
    assert route(host, path, query, "models.example") == wanted


@given(st.binary(max_size=60))
def test_nothing_after_the_name_changes_which_endpoint_is_addressed(rest: bytes) -> None:
    target = route("x", b"/e/chat/" + rest, b"", "models.example")
    assert target == Target("chat", "/" + rest.decode("latin-1"), shared_origin=True)


# --- admission --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("token", "visibility", "wanted"),
    [
        (TOKEN, Visibility.PRIVATE, "aaaa"),
        (TOKEN, Visibility.PUBLIC, "aaaa"),
        (None, Visibility.PUBLIC, None),
        (OTHER, Visibility.PUBLIC, None),
        (None, Visibility.PRIVATE, problems.UNAUTHENTICATED),
        (UNKNOWN, Visibility.PRIVATE, problems.UNAUTHENTICATED),
        ("", Visibility.PRIVATE, problems.UNAUTHENTICATED),
        ("hf_aaaa_ü", Visibility.PRIVATE, problems.UNAUTHENTICATED),
        (OTHER, Visibility.PRIVATE, problems.FORBIDDEN),
    ],
)
def test_who_may_call(token: str | None, visibility: Visibility, wanted: Any) -> None:
    known = {tokens.hash_token(TOKEN).sha256: (), tokens.hash_token(OTHER).sha256: ()}
    if isinstance(wanted, problems.Problem):
        with pytest.raises(Refusal) as caught:
            admission.authenticate(document(visibility=visibility), token, known)
        assert caught.value.problem is wanted
        assert token is None or not token or token not in caught.value.detail
    else:
        assert admission.authenticate(document(visibility=visibility), token, known) == wanted


def test_a_paused_endpoint_is_refused() -> None:
    with pytest.raises(Refusal, match="paused: endpoint chat is paused"):
        admission.check_state(document(state=EndpointState.PAUSED))


@pytest.mark.parametrize(
    ("header", "asynchronous", "wanted"),
    [
        (None, False, NOW + 900),
        (None, True, NOW + RETENTION_S),
        (b"30", False, NOW + 30),
        (b"0.5", False, NOW + 0.5),
        (b"5000", False, NOW + 900),
        (b"5000", True, NOW + 5000),
        (b"2025-11-24T16:01:00Z", False, NOW + 60),
        (b"2025-11-24T17:01:00+01:00", False, NOW + 60),
        (b"2025-11-24T15:00:00Z", False, NOW - 3600),
    ],
)
def test_a_deadline_is_seconds_or_a_time_and_only_ever_earlier(
    header: bytes | None, asynchronous: bool, wanted: float
) -> None:
    assert admission.deadline(document(), header, NOW, asynchronous=asynchronous) == wanted


@pytest.mark.parametrize("header", [b"", b"soon", b"-1", b"1e9", b"nan", b"inf", b"\xff"])
def test_a_deadline_of_another_form_says_what_to_send(header: bytes) -> None:
    with pytest.raises(Refusal, match=r"neither seconds nor an RFC 3339 time: send e\.g\. 30"):
        admission.deadline(document(), header, NOW, asynchronous=False)


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        (None, (False, None)),
        (b"respond-async", (True, None)),
        (b"respond-async, wait=5", (True, 5)),
        (b"Wait=10", (False, 10)),
        (b'wait="7"', (False, 7)),
        (b"wait=100000", (False, 120)),
        (b"wait=x, handling=lenient", (False, None)),
    ],
)
def test_preferences_are_read_and_what_is_not_understood_is_ignored(
    header: bytes | None, wanted: tuple[bool, float | None]
) -> None:
    found = admission.preference(header)
    assert (found.respond_async, found.wait_s) == wanted


def test_an_idempotency_key_is_bounded() -> None:
    assert admission.idempotency_key(b'"abc"') == "abc"
    for wrong in (b"", b'""', b"x" * 256):
        with pytest.raises(Refusal, match="not 1 to 255: send a UUID"):
            admission.idempotency_key(wrong)


# --- ids --------------------------------------------------------------------------------------------------
def test_ids_are_version_seven_sort_by_time_and_hash_where_there_is_a_key() -> None:
    first, second = ids.new_id(NOW), ids.new_id(NOW + 0.001)
    assert uuid.UUID(first).version == 7
    assert first < second
    assert ids.ID_PATTERN.fullmatch(first)
    same = ids.idempotent_id("chat", "token:a", "k")
    assert same == ids.idempotent_id("chat", "token:a", "k")
    assert ids.ID_PATTERN.fullmatch(same)
    others = {ids.idempotent_id(*parts) for parts in (("chat", "token:b", "k"), ("cha", "ttoken:a", "k"))}
    assert same not in others


# --- limits -----------------------------------------------------------------------------------------------
@given(
    st.integers(1, 20),
    st.integers(1, 100),
    st.lists(st.floats(0, 30, allow_nan=False), min_size=1, max_size=60),
)
def test_a_limiter_never_passes_more_than_the_limit_at_once_nor_above_its_rate(
    requests: int, window_s: int, pauses: list[float]
) -> None:
    limiter, limit, now, passed = RateLimiter(), RateLimit(requests=requests, window_s=window_s), 0.0, 0
    for pause in pauses:
        now += pause
        decision = limiter.decide("chat", "a", limit, 1, now)
        passed += decision.allowed
        assert passed <= requests + now * requests / window_s + 1e-6
        assert 0 <= decision.remaining < requests or not decision.allowed
        if not decision.allowed:
            assert decision.retry_after_s > 0
            after = now + decision.retry_after_s + 1e-6
            assert RateLimiter.decide(limiter, "chat", "a", limit, 1, after).allowed
            return


def test_gateways_share_a_limit_and_callers_do_not() -> None:
    limiter, limit = RateLimiter(), RateLimit(requests=9, window_s=3600)
    assert sum(limiter.decide("chat", "a", limit, 3, 0.0).allowed for _ in range(9)) == 3
    assert limiter.decide("chat", "b", limit, 3, 0.0).allowed
    assert limiter.decide("other", "a", limit, 3, 0.0).allowed


def test_retry_after_is_waiting_times_service_time_over_capacity_within_bounds() -> None:
    times = ServiceTimes()
    assert times.retry_after_s("chat", 10, 2) == 5.0
    for _ in range(100):
        times.observe("chat", 4.0)
    assert times.retry_after_s("chat", 10, 2) == pytest.approx(20.0)
    assert times.retry_after_s("chat", 10_000, 1) == 120
    assert times.retry_after_s("chat", 0, 1) == 1.0


# --- problems and replies ---------------------------------------------------------------------------------
def test_a_refusal_becomes_a_problem_document_with_cause_remedy_and_headers() -> None:
    answer = problem_answer(Refusal(problems.QUEUE_FULL, "12 wait", retry_after_s=3.2), "id-1")
    headers = dict(answer.headers)
    assert (answer.status, headers[b"retry-after"], headers[b"x-should-retry"]) == (429, b"4", b"true")
    body = json.loads(answer.body)
    assert body == {
        "type": "https://holdfast.dev/problems/queue-full",
        "title": problems.QUEUE_FULL.title,
        "status": 429,
        "detail": "12 wait",
        "remedy": problems.QUEUE_FULL.remedy,
        "error": {
            "message": f"{problems.QUEUE_FULL.title}: 12 wait. {problems.QUEUE_FULL.remedy}",
            "type": "queue-full",
            "code": "queue-full",
            "param": None,
        },
        "request_id": "id-1",
    }
    assert dict(problem_answer(Refusal(problems.UNAUTHENTICATED), None).headers)[b"www-authenticate"]


def test_reply_addresses_are_valid_for_one_request_and_one_process_only() -> None:
    signer, restarted = ReplySigner("http://10.0.0.1:8081"), ReplySigner("http://10.0.0.1:8081")
    signature = signer.signature("a")
    assert signer.url("a") == f"http://10.0.0.1:8081/reply/a?sig={signature}"
    assert signer.valid("a", signature)
    assert not signer.valid("b", signature)
    assert not signer.valid("a", signature[:-1])
    assert not signer.valid("a", "ü")
    assert not restarted.valid("a", signature)


async def test_nobody_is_held_before_the_first_and_after_the_last() -> None:
    held = HeldRequests()
    assert held.nobody.is_set()
    assert held.of("chat") == []


# --- webhooks ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1%eth0",
        "fd00::1",
        "::ffff:10.0.0.1",
        "2002:0a00:0001::1",
        "ff02::1",
    ],
)
def test_webhooks_never_go_to_an_address_that_is_not_public(address: str) -> None:
    assert "is not a public address" in str(webhook.refused_address(address))


def test_webhooks_go_to_public_addresses_and_to_private_ones_that_are_allowed() -> None:

    assert webhook.refused_address("1.1.1.1") is None
    assert webhook.refused_address("2606:4700:4700::1111") is None
    assert webhook.refused_address("10.1.2.3", [ip_network("10.1.0.0/16")]) is None
    assert webhook.refused_address("10.2.2.3", [ip_network("10.1.0.0/16")]) is not None


def test_webhooks_are_retried_as_standard_webhooks_says() -> None:
    assert [webhook.retry_delay_s(n, 500, None) for n in range(1, 8)] == [*webhook.DELAYS_S, None]
    assert webhook.retry_delay_s(1, 410, None) is None
    assert webhook.retry_delay_s(1, 503, "60") == 60
    assert webhook.retry_delay_s(2, None, "60") == 300
    assert sum(webhook.DELAYS_S) < RETENTION_S


def test_a_webhook_is_signed_over_id_time_and_body_with_the_tokens_secret() -> None:
    sha = tokens.hash_token(TOKEN).sha256
    assert webhook.secret(sha).startswith("whsec_")
    signature = webhook.sign(sha, "id", 1, b"{}")
    assert signature.startswith("v1,")
    assert signature == webhook.sign(sha, "id", 1, b"{}")
    for other in (
        webhook.sign(tokens.hash_token(OTHER).sha256, "id", 1, b"{}"),
        webhook.sign(sha, "ie", 1, b"{}"),
        webhook.sign(sha, "id", 2, b"{}"),
        webhook.sign(sha, "id", 1, b"[]"),
    ):
        assert other != signature
