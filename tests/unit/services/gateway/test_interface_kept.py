"""How long what a container told of its interface is believed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from documents import endpoint_document

from holdfast_services.gateway.core.refusal import Refusal
from holdfast_services.gateway.core.running import running
from holdfast_services.gateway.endpoint_pages import EndpointPages
from holdfast_services.gateway.replicas import NoReplicaView, ReplicaCounts

SCOPE: dict[str, Any] = {"headers": [], "query_string": b""}
OLD, NEW = frozenset({"5d4f/sha256:a"}), frozenset({"5d4f/sha256:b"})


class World(NoReplicaView):
    """An endpoint whose containers number their interfaces: each time that one is asked, one more."""

    def __init__(self) -> None:
        self.runs = OLD
        self.asked = 0
        self.silent = False
        self.image = "registry.example/chat:1"
        self.pages = EndpointPages(self, lambda _: False)
        self.pages.app = self._app

    def counts(self, endpoint: str) -> ReplicaCounts | None:
        return ReplicaCounts(desired=len(self.runs), pending=0, ready=len(self.runs))

    def running(self, endpoint: str) -> frozenset[str]:
        return self.runs

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked += 1
        told = {} if self.silent else {"paths": {}, "info": {"version": str(self.asked)}}
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(told).encode()})

    async def version(self) -> str:
        document = endpoint_document(image=self.image)
        answer = await self.pages.answer("openapi.json", document, SCOPE, "https://chat.example")
        return str(answer["info"]["version"])


async def test_the_same_replicas_are_asked_once() -> None:
    world = World()
    assert [await world.version() for _ in range(3)] == ["1", "1", "1"]


async def test_an_image_built_anew_under_its_tag_is_asked_anew() -> None:
    world = World()
    assert await world.version() == "1"
    world.runs = OLD | NEW
    assert await world.version() == "2"
    world.runs = NEW
    assert [await world.version(), await world.version()] == ["3", "3"], (
        "the old one may have told the second"
    )


async def test_without_replicas_what_was_told_last_is_told_unless_the_image_is_another() -> None:
    world = World()
    assert await world.version() == "1"
    world.runs = frozenset()
    assert await world.version() == "1"
    world.image = "registry.example/chat:2"
    with pytest.raises(Refusal, match="no replica is ready"):
        await world.version()


async def test_a_new_replica_is_asked_at_once_where_the_old_one_told_nothing() -> None:
    world = World()
    world.silent = True
    for _ in range(2):
        with pytest.raises(Refusal, match="told no OpenAPI document"):
            await world.version()
    assert world.asked == 1
    world.runs, world.silent = NEW, False
    assert await world.version() == "2"


def _pod(replica_set: str, digest: str, *, ready: bool = True, **metadata: str) -> dict[str, Any]:
    condition = {
        "type": "Ready",
        "status": str(ready),
        "lastTransitionTime": "2026-11-24T16:00:00Z",
    }
    containers = [{"name": "worker", "imageID": "w"}, {"name": "model", "imageID": digest}]
    return {
        "metadata": {"labels": {"pod-template-hash": replica_set}, **metadata},
        "status": {"conditions": [condition], "containerStatuses": containers},
    }


def test_replicas_are_told_apart_by_replica_set_and_digest_while_they_are_ready() -> None:
    pods = [
        _pod("5d4f", "sha256:a"),
        _pod("5d4f", "sha256:a"),
        _pod("5d4f", "sha256:b"),
        _pod("77aa", "sha256:b", ready=False),
        _pod("88bb", "sha256:b", deletionTimestamp="2026-11-24T16:00:00Z"),
    ]
    assert running(pods) == {"5d4f/sha256:a", "5d4f/sha256:b"}
    assert running(()) == frozenset()
