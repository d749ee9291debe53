"""What an endpoint's description says of its last cold start, beside the estimate that its document carries."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from documents import endpoint_document

from holdfast_contract.document import EndpointDocument, PhaseEstimate, Visibility
from holdfast_services.gateway.pages import Pages
from holdfast_services.gateway.replicas import NoReplicaView

NODE = PhaseEstimate(phase="node", low_s=80, high_s=120, why="a new GPU machine")
ENDS_S = {
    "accepted": 0.0,
    "scaled": 0.1,
    "scheduled": 152.4,
    "pulled": None,
    "ready": 291.2,
    "answered": 292.0,
}


class _Broker:
    async def depth(self, endpoint: str) -> None:
        return None

    async def last_activity(self, endpoint: str) -> None:
        return None


def _document(*estimate: PhaseEstimate) -> EndpointDocument:
    return endpoint_document(visibility=Visibility.PUBLIC, cold_start_estimate=estimate)


async def _described(document: EndpointDocument, ends_s: dict[str, float | None] | None) -> dict[str, Any]:
    parts: Any = SimpleNamespace(
        catalog=SimpleNamespace(find=lambda _: document, token_hashes={}),
        broker=_Broker(),
        replicas=NoReplicaView(),
        activity=SimpleNamespace(last=lambda _: None),
        clock=lambda: 0.0,
    )
    pages = Pages(parts, "", None)
    if ends_s is not None:
        pages.cold_starts["chat"] = ends_s
    scope = {"method": "GET", "query_string": b"", "headers": []}
    answer = await pages.answer("/v1/endpoints/chat", scope, None)  # type: ignore[arg-type]  # nothing is received
    assert answer.status == 200
    return dict(json.loads(answer.body))


async def test_a_start_that_was_slower_than_its_estimate_is_called_so_and_what_was_not_seen_is_null() -> None:
    found = await _described(_document(NODE), ENDS_S)
    assert found["last_cold_start"] == ENDS_S
    node, pull, load = found["cold_start_phases"]
    assert node == {
        "phase": "node",
        "low_s": 80,
        "high_s": 120,
        "last_s": 152.3,
        "verdict": "slower",
        "why": "a new GPU machine",
    }
    for phase in (pull, load):
        assert (phase["low_s"], phase["high_s"], phase["last_s"], phase["verdict"]) == (
            None,
            None,
            None,
            None,
        )


@pytest.mark.parametrize(
    ("estimate", "ends_s", "names"),
    [
        ((), None, []),
        ((NODE,), None, ["node", "pull", "load and ready"]),
        ((), ENDS_S, ["node", "pull", "load and ready"]),
    ],
)
async def test_phases_are_told_where_an_estimate_or_a_start_is_known(
    estimate: tuple[PhaseEstimate, ...], ends_s: dict[str, float | None] | None, names: list[str]
) -> None:
    found = await _described(_document(*estimate), ends_s)
    assert [phase["phase"] for phase in found["cold_start_phases"]] == names
