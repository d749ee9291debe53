"""What gateway and worker share: headers, frames, records, documents, queue limits."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from documents import endpoint_document
from hypothesis import given
from hypothesis import strategies as st

from holdfast_contract import messages
from holdfast_contract.document import EndpointDocument
from holdfast_contract.messages import RequestRecord, RequestState
from holdfast_services import headers
from holdfast_services.answers import NOTHING_YET, AnswerHead, Malformed, decode_head, encode_head
from holdfast_services.broker import Depth
from holdfast_services.documents import DirectoryDocuments
from holdfast_services.records import merge
from holdfast_services.streams import consumer_config, queue_limit, stream_config


def document(**scaling: int) -> EndpointDocument:
    return endpoint_document(**{"concurrency": 2, **scaling})


# --- headers ----------------------------------------------------------------------------------------------
def test_a_model_sees_no_credentials_and_nothing_of_the_callers_connection() -> None:
    sent = [
        (b"Host", b"x"),
        (b"Authorization", b"Bearer hf_"),
        (b"Cookie", b"a=b"),
        (b"Connection", b"keep-alive, X-Private"),
        (b"X-Private", b"1"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Content-Length", b"5"),
        (b"X-Request-Id", b"forged"),
        (b"X-Attempt", b"9"),
        (b"Content-Type", b"text/plain"),
        (b"Forwarded", b"for=10.0.0.1"),
        (b"X-Forwarded-For", b"10.0.0.1"),
        (b"X-Forwarded-Proto", b"https"),
        (b"X-Real-IP", b"10.0.0.1"),
        (b"X-Reply", b"http://elsewhere"),
        (b"X-Holdfast-Anything", b"1"),
        (b"Holdfast-Ack", b"$JS.ACK.x"),
        (b"X-A", b"1"),
        (b"X-A", b"2"),
        (b"X-B", "é".encode("latin-1")),
    ]
    assert headers.to_model(sent) == (
        ("content-type", "text/plain"),
        ("x-a", "1"),
        ("x-a", "2"),
        ("x-b", "é"),
    )


def test_a_caller_sees_the_models_headers_but_not_those_that_the_gateway_sets() -> None:
    said = [
        (b"Content-Type", b"image/png"),
        (b"Content-Length", b"9"),
        (b"X-Replica", b"forged"),
        (b"X-Request-Id", b"forged"),
        (b"Set-Cookie", b"a=b"),
        (b"Strict-Transport-Security", b"max-age=9"),
        (b"Clear-Site-Data", b"*"),
        (b"Service-Worker-Allowed", b"/"),
        (b"X-Reply", b"http://elsewhere"),
        (b"X-Holdfast-Anything", b"1"),
        (b"Connection", b"close"),
    ]
    assert headers.from_model(said) == (("content-type", "image/png"),)


def test_a_model_cannot_fill_memory_with_headers() -> None:
    with pytest.raises(ValueError, match="headers are 70001 bytes, above 65536: send fewer"):
        headers.from_model([(b"x", b"y" * 70_000)])


# --- frames -----------------------------------------------------------------------------------------------
HEADS = st.builds(
    AnswerHead,
    attempt=st.integers(1, 4),
    replica=st.text(max_size=20),
    queue_s=st.floats(0, 1e6),
    model_s=st.floats(0, 1e6),
    status=st.integers(200, 599),
    headers=st.lists(st.tuples(st.text(max_size=9), st.text(max_size=9)), max_size=5).map(tuple),
    length=st.none() | st.integers(0, 10**12),
)


@given(HEADS, st.binary(max_size=50), st.integers(0, 3))
def test_a_head_survives_its_frame_however_it_is_cut(head: AnswerHead, body: bytes, beats: int) -> None:
    frame = NOTHING_YET * beats + encode_head(head)
    buffer = bytearray()
    for n, byte in enumerate(frame + body):
        found = decode_head(buffer)
        if n < len(frame):
            assert found is None
        buffer.append(byte)
    assert decode_head(buffer) == (head, len(frame))


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_be_malformed(data: bytes) -> None:
    try:
        decode_head(data)
    except Malformed:
        pass


HEAD = '{"a": 1, "r": "", "q": 0, "m": 0, "s": 200, "h": [], "l": %s, "p": null, "d": ""}'
ENDLESS = (HEAD % "Infinity").encode()
DEEP = b"[" * 50_000


@pytest.mark.parametrize(
    "raw",
    [
        b"\xff\xff\xff\xff",
        b"\0\0\0\2{}",
        b"\0\0\0\2[]",
        b"\0\0\0\1x",
        len(ENDLESS).to_bytes(4, "big") + ENDLESS,
        len(DEEP).to_bytes(4, "big") + DEEP,
    ],
)
def test_what_no_worker_writes_is_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed):
        decode_head(raw)


# --- queues -----------------------------------------------------------------------------------------------
def test_a_queue_holds_what_runs_and_what_may_wait_and_not_one_more() -> None:
    assert queue_limit(document().scaling) == 16
    stream, consumer = stream_config(document(), 3), consumer_config(document())
    assert (stream.name, stream.subjects, stream.max_msgs, stream.num_replicas) == (
        "q_chat",
        ["q.chat.*"],
        16,
        3,
    )
    assert stream.discard == "new"
    assert (consumer.max_ack_pending, consumer.max_deliver, consumer.backoff) == (24, -1, None)
    assert consumer.ack_wait == messages.ACK_WAIT_S
    assert consumer_config(document(max_replicas=500)).max_waiting == 2000
    assert Depth(waiting=2, running=3).demand == 5


# --- records ----------------------------------------------------------------------------------------------
def test_a_record_is_the_latest_state_with_what_only_the_first_key_knows() -> None:
    base = RequestRecord(
        id="a", endpoint="chat", state=RequestState.QUEUED, created_at=1, token_id="t", body_sha256="b"
    )
    run = RequestRecord(
        id="a", endpoint="chat", state=RequestState.RUNNING, created_at=9, started_at=2, attempt=1
    )
    end = RequestRecord(id="a", endpoint="chat", state=RequestState.CANCELED, created_at=9, completed_at=3)
    assert merge(None, None, None) is None
    assert merge(base, None, None) is base
    running = merge(base, run, None)
    assert running is not None
    assert (running.state, running.created_at, running.token_id) == (RequestState.RUNNING, 1, "t")
    ended = merge(base, run, end)
    assert ended is not None
    assert (ended.state, ended.started_at, ended.completed_at, ended.body_sha256) == (
        RequestState.CANCELED,
        2,
        3,
        "b",
    )
    assert merge(None, None, end) is end


# --- documents --------------------------------------------------------------------------------------------
async def test_a_document_that_cannot_be_read_keeps_its_last_good_version(tmp_path: Path) -> None:
    path = tmp_path / "chat.json"
    path.write_text(document().to_json())
    snapshots = DirectoryDocuments(tmp_path, interval_s=0.001).snapshots()

    async def following() -> Any:
        async with asyncio.timeout(5):
            return await anext(snapshots)

    assert set(await following()) == {"chat"}
    path.write_text("{not json")
    assert (await following())["chat"] == document()
    path.write_text(json.dumps({**json.loads(document(max_queue=11).to_json())}))
    assert (await following())["chat"].scaling.max_queue == 11
    path.unlink()
    assert set(await following()) == set()
    await snapshots.aclose()
