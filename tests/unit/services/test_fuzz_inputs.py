"""Whatever callers, models and webhook receivers send: every reader of it gives a value or its declared error."""

from __future__ import annotations

import asyncio
import json
import string
from collections.abc import Callable
from ipaddress import ip_address
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
from documents import endpoint_document
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from holdfast_contract import names, problems, tokens
from holdfast_contract.document import EndpointDocument
from holdfast_contract.messages import RequestMessage, RequestRecord
from holdfast_contract.names import RETENTION_S
from holdfast_services import headers
from holdfast_services.bodies import Bodies
from holdfast_services.broker import Broker, BrokerDown
from holdfast_services.gateway.core import admission, ids, webhook
from holdfast_services.gateway.core.refusal import Refusal, problem_answer
from holdfast_services.gateway.core.routing import Page, Target, route
from holdfast_services.gateway.held import ReplySigner
from holdfast_services.gateway.intake import receive_body
from holdfast_services.scaler.protocol import externalscaler_pb2 as wire
from holdfast_services.scaler.service import trigger_tolerance

T = TypeVar("T")
NOW = 1_764_000_000.0
TOKEN = tokens.new_token("aaaa")
DOCUMENT = endpoint_document(tokens=(tokens.hash_token(TOKEN),), max_replicas=1, max_request_s=900)

DIGITS = st.text("0123456789.", max_size=12) | st.integers(1, 9000).map(lambda n: "9" * n)
"""Python refuses to read whole numbers of more than 4,300 digits: whoever reads one must have looked first."""
VALUE = (
    st.binary(max_size=80) | st.text(string.printable, max_size=80).map(str.encode) | DIGITS.map(str.encode)
).map(lambda raw: bytes(byte for byte in raw if byte not in b"\r\n\0"))
"""What a header's value can be, once the server let it through."""
TEXT = st.text(st.characters(codec="utf-8"), max_size=60)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def unless(problem: problems.Problem, read: Callable[[], T]) -> T | None:
    """What `read` gives; None where it refuses, which it may for this one reason."""
    try:
        return read()
    except Refusal as refusal:
        if refusal.problem is not problem:
            raise
        return None


# --- headers of callers -----------------------------------------------------------------------------------
@given(VALUE | st.datetimes().map(lambda at: at.isoformat().encode()), st.booleans())
def test_a_deadline_is_never_later_than_allowed_and_else_a_bad_request(
    value: bytes, asynchronous: bool
) -> None:
    at = unless(
        problems.BAD_REQUEST, lambda: admission.deadline(DOCUMENT, value, NOW, asynchronous=asynchronous)
    )
    assert at is None or at <= NOW + (RETENTION_S if asynchronous else 900)


@given(VALUE)
def test_a_preference_is_understood_or_ignored(value: bytes) -> None:
    asked = admission.preference(value)
    assert asked.wait_s is None or 0 <= asked.wait_s <= admission.MAX_WAIT_S


@given(VALUE)
def test_an_idempotency_key_is_a_key_or_a_bad_request_and_makes_an_id(value: bytes) -> None:
    key = unless(problems.BAD_REQUEST, lambda: admission.idempotency_key(value))
    if key is not None:
        assert key
        assert ids.ID_PATTERN.fullmatch(ids.idempotent_id("chat", "token:aaaa", key))


@given(VALUE)
def test_a_webhook_url_is_one_or_a_bad_request(value: bytes) -> None:
    url = unless(problems.BAD_REQUEST, lambda: admission.webhook_url(value))
    assert url is None or url.lower().startswith(("http://", "https://"))


@given(VALUE)
def test_a_keep_alive_is_bounded_and_the_endpoints_own_where_it_is_not_a_number(value: bytes) -> None:
    assert 0 <= admission.keepalive_s(value, 7) <= 300


@given(VALUE)
def test_a_long_poll_is_bounded_or_a_bad_request(value: bytes) -> None:
    seconds = unless(problems.BAD_REQUEST, lambda: admission.wait_s(b"wait=" + value))
    assert seconds is None or 0 <= seconds <= admission.MAX_WAIT_S


@given(VALUE)
def test_nothing_but_the_token_opens_an_endpoint(value: bytes) -> None:
    for header in (value, b"Bearer " + value):
        token = admission.bearer(header)
        with pytest.raises(Refusal) as caught:
            admission.authenticate(DOCUMENT, token, {})
        assert caught.value.problem is problems.UNAUTHENTICATED


@given(st.integers(0, len(TOKEN) - 1), st.characters(codec="latin-1"))
def test_a_token_with_one_character_changed_opens_nothing(at: int, character: str) -> None:
    changed = TOKEN[:at] + character + TOKEN[at + 1 :]
    assert tokens.opens(changed, DOCUMENT.tokens) is (changed == TOKEN)


NAMES = st.sampled_from(
    [
        b"Connection",
        b"X-Reply",
        b"Holdfast-Ack",
        b"Transfer-Encoding",
        b"X-Forwarded-For",
        b"x-a",
        b"Content-Length",
    ]
) | st.text(string.ascii_letters + "-", min_size=1, max_size=12).map(str.encode)


@given(st.lists(st.tuples(NAMES, VALUE), max_size=8))
def test_no_headers_of_a_connection_or_of_holdfast_pass_however_they_are_written(
    pairs: list[tuple[bytes, bytes]],
) -> None:
    for passed in (headers.to_model(pairs), headers.from_model(pairs)):
        kept = {name for name, _ in passed}
        assert not kept & {"connection", "transfer-encoding", "content-length", "x-reply", "holdfast-ack"}
        assert all(name == name.lower() for name in kept)
    assert not any(name.startswith("x-forwarded") for name, _ in headers.to_model(pairs))


@given(TEXT, st.binary(max_size=60), st.binary(max_size=20))
def test_every_path_is_an_endpoints_or_a_pages_and_names_are_names(
    host: str, path: bytes, query: bytes
) -> None:
    for raw in (path, b"/e/" + path):
        target = route(host, raw, query, "models.example")
        if isinstance(target, Page):
            assert not raw.startswith(b"/e/")
        else:
            assert isinstance(target, Target)
            assert set(target.endpoint) <= set(string.ascii_lowercase + string.digits + "-")
            assert target.path.startswith("/")


@given(TEXT, TEXT)
def test_no_made_up_signature_is_valid(request_id: str, signature: str) -> None:
    signer = ReplySigner("http://x", b"k" * 32)
    assert not signer.valid(request_id, signature)
    right = signer.signature("an-id")
    assert signer.valid("an-id", right)
    assert not signer.valid(request_id, right) or request_id == "an-id"


@given(st.sampled_from(problems.ALL), TEXT, st.none() | st.floats(0, 1e12), TEXT)
def test_every_refusal_is_a_whole_problem_document(
    problem: problems.Problem, detail: str, retry_after_s: float | None, extra: str
) -> None:
    answer = problem_answer(
        Refusal(problem, detail, retry_after_s=retry_after_s, headers={"x-extra": extra}), "an-id"
    )
    told = json.loads(answer.body)
    assert (told["status"], told["detail"], told["request_id"]) == (problem.status, detail, "an-id")
    assert dict(answer.headers)[b"content-length"] == b"%d" % len(answer.body)


# --- what a webhook's receiver answers --------------------------------------------------------------------
@given(st.integers(1, 9), st.none() | st.integers(100, 999), st.none() | TEXT | DIGITS | st.just("²"))
def test_a_receiver_can_ask_for_more_time_and_for_nothing_else(
    attempt: int, status: int | None, retry_after: str | None
) -> None:
    """A receiver's `Retry-After: ²` is a digit to `str.isdigit` and no number to `float`: it ended the gateway."""
    delay_s = webhook.retry_delay_s(attempt, status, retry_after)
    assert delay_s is None or 5 <= delay_s <= 36000


@given(st.ip_addresses())
def test_a_webhook_goes_to_public_addresses_only(address: Any) -> None:
    if webhook.refused_address(str(address)) is None:
        assert ip_address(str(address)).is_global


# --- what travels and what is kept ------------------------------------------------------------------------
@given(TEXT | ANY_JSON.map(json.dumps))
def test_a_text_is_a_document_message_or_record_or_a_validation_error(text: str) -> None:
    for kind in (EndpointDocument, RequestMessage, RequestRecord):
        with pytest.raises(ValidationError):
            kind.model_validate_json(text)


FIELDS = sorted(json.loads(DOCUMENT.to_json()))


@given(st.sampled_from(FIELDS), ANY_JSON)
def test_a_document_with_any_value_in_a_field_is_read_or_a_validation_error(
    field: str, value: object
) -> None:
    raw = json.loads(DOCUMENT.to_json())
    raw[field] = value
    try:
        read = EndpointDocument.from_json(json.dumps(raw))
    except ValidationError:
        return
    assert EndpointDocument.from_json(read.to_json()) == read


@given(TEXT | st.tuples(st.just("sha256:"), TEXT, TEXT).map(":".join))
def test_a_declared_token_is_read_or_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ValueError, match="is ") as caught:
        tokens.parse_declared(text)
    assert len(text) < 8 or text not in str(caught.value)


@given(TEXT)
def test_a_text_is_a_token_or_refused_without_repeating_it(text: str) -> None:
    assert tokens.token_id(text) is None
    with pytest.raises(ValueError, match="not a token") as caught:
        tokens.hash_token(text)
    assert len(text) < 8 or text not in str(caught.value)


# --- bodies -----------------------------------------------------------------------------------------------
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=8), st.integers(0, 200))
def test_a_body_arrives_whole_or_is_too_large_however_it_is_cut(pieces: list[bytes], limit: int) -> None:
    events = iter(
        {"type": "http.request", "body": piece, "more_body": n + 1 < len(pieces)}
        for n, piece in enumerate(pieces)
    )

    async def receive() -> dict[str, Any]:
        return next(events)

    whole = b"".join(pieces)
    no_broker = Bodies(Broker.__new__(Broker))  # never asked: these bodies are small
    body = unless(
        problems.TOO_LARGE,
        lambda: asyncio.run(receive_body(receive, name="x", limit=limit, bodies=no_broker, digest=False)),
    )
    if body is None:
        assert len(whole) > limit
    else:
        assert (body.inline, body.length) == (whole, len(whole))


class _FailingWriter:
    """Of a store that takes nothing."""

    name = "x"
    abandoned = False

    async def write(self, data: bytes) -> None:
        raise BrokerDown("the disk is full")

    async def abandon(self) -> None:
        self.abandoned = True


async def test_a_body_that_cannot_be_stored_leaves_nothing_in_the_store() -> None:
    writer = _FailingWriter()
    bodies: Any = SimpleNamespace(writer=lambda name: writer)
    event = {"type": "http.request", "body": bytes(names.INLINE_BODY_BYTES + 1), "more_body": False}

    async def receive() -> dict[str, Any]:
        return event

    with pytest.raises(Refusal, match="could not be stored: the disk is full") as told:
        await receive_body(receive, name="x", limit=10**9, bodies=bodies, digest=False)
    assert (told.value.problem, writer.abandoned) == (problems.QUEUE_DOWN, True)


# --- what KEDA asks ---------------------------------------------------------------------------------------
@given(TEXT | DIGITS | st.sampled_from(["nan", "inf", "-0", "1e-3", "0.5"]))
def test_a_trigger_states_a_tolerance_or_a_value_error(text: str) -> None:
    try:
        tolerance = trigger_tolerance(text)
    except ValueError:
        return
    assert 0 <= tolerance <= 0.5


@given(st.binary(max_size=80), st.dictionaries(TEXT, TEXT, max_size=4))
def test_scaler_messages_are_read_or_a_decode_error(raw: bytes, metadata: dict[str, str]) -> None:
    try:
        wire.ScaledObjectRef.FromString(raw)
    except DecodeError:
        pass
    read = wire.ScaledObjectRef.FromString(wire.ScaledObjectRef(scalerMetadata=metadata).SerializeToString())
    assert dict(read.scalerMetadata) == metadata
