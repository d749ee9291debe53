"""Answers of models share an origin with the gateway's page below `/e/`; what they are to browsers is kept apart."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast_services.gateway.app import isolated
from holdfast_services.headers import ISOLATED, runs_in_a_browser

Event = dict[str, Any]


@pytest.mark.parametrize(
    ("kind", "runs"),
    [
        (b"text/html", True),
        (b"Text/HTML; charset=utf-8", True),
        (b"image/svg+xml", True),
        (b"application/json", False),
        (b"text/event-stream", False),
        (b"image/png", False),
    ],
)
def test_only_documents_run_in_a_browser(kind: bytes, runs: bool) -> None:
    assert runs_in_a_browser([(b"Content-Type", kind)]) is runs


def test_an_answer_without_a_type_counts_as_a_document() -> None:
    assert runs_in_a_browser([(b"x-replica", b"a")])


async def _sent(*headers: tuple[bytes, bytes]) -> list[Event]:
    events: list[Event] = []

    async def send(event: Event) -> None:
        events.append(event)

    sender = isolated(send)
    await sender({"type": "http.response.start", "status": 200, "headers": list(headers)})
    await sender({"type": "http.response.body", "body": b"x", "more_body": False})
    return events


async def test_a_document_is_sent_as_of_an_origin_of_its_own() -> None:
    start, body = await _sent((b"content-type", b"text/html"))
    assert start["headers"] == [(b"content-type", b"text/html"), ISOLATED]
    assert body["body"] == b"x"


async def test_what_is_no_document_is_sent_as_it_is() -> None:
    start, _ = await _sent((b"content-type", b"application/json"))
    assert start["headers"] == [(b"content-type", b"application/json")]
