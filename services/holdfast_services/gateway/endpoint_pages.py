"""`/v1/endpoints/<name>/events`, `…/logs`, `…/openapi.json`: what a replica does, says, and takes."""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs

from holdfast_contract import names, problems
from holdfast_contract.document import EndpointDocument
from holdfast_services.gateway.core.refusal import Refusal
from holdfast_services.gateway.inner import App, TooLong, ask
from holdfast_services.gateway.replicas import ReplicaView

__all__ = ["PARTS", "EndpointPages"]

PARTS: Final = ("events", "logs", "openapi.json")
_CONTAINERS: Final = (names.MODEL_CONTAINER, names.WORKER_CONTAINER)
_MAX_TAIL: Final = 500
_MAX_INTERFACE_BYTES: Final = 512 * 1024
"""An OpenAPI document of a model server has some 100 kB (vLLM 0.28: 180 kB)."""
_ASK_TIMEOUT_S: Final = 10.0
_KEPT: Final = 64
"""Documents in memory at most: 32 MiB."""
_NOTHING_FOR_S: Final = 60.0
"""How long a container that told nothing is not asked again."""


@dataclass(frozen=True, slots=True)
class _Source:
    """What tells an interface: another image, or other replicas, may tell another one."""

    image: str
    running: frozenset[str]
    """As ReplicaView says."""

    def is_now(self, now: _Source) -> bool:
        """Whether what it told still holds; where nothing runs, what was told last does."""
        return self.image == now.image and (not now.running or self.running == now.running)


class EndpointPages:
    """The parts of an endpoint's description that are asked for one by one. The caller is authenticated already."""

    def __init__(self, replicas: ReplicaView, answered: Callable[[str], bool]) -> None:
        """`answered`: whether an endpoint answered of late; counts where no cluster shows its replicas."""
        self._replicas = replicas
        self._answered = answered
        self._told: OrderedDict[str, tuple[_Source, dict[str, Any]]] = OrderedDict()
        self._nothing: dict[str, tuple[_Source, float]] = {}
        """What told nothing, and until when it is not asked again."""
        self.app: App | None = None
        """The gateway's public face, by which containers are asked; None: they are not."""

    async def answer(
        self, part: str, document: EndpointDocument, scope: dict[str, Any], url: str
    ) -> dict[str, Any]:
        """The JSON of a part; `url`: the endpoint's. Raises Refusal."""
        if part == "events":
            return {"events": list(self._replicas.events(document.name))}
        if part == "logs":
            return await self._logs(document, scope)
        return await self._interface(document, scope, url)

    async def _logs(self, document: EndpointDocument, scope: dict[str, Any]) -> dict[str, Any]:
        query = parse_qs(scope["query_string"].decode("latin-1"))
        container = query.get("container", [names.MODEL_CONTAINER])[-1]
        if container not in _CONTAINERS:
            raise Refusal(
                problems.BAD_REQUEST, f"container is {container[:40]!r}, not one of {', '.join(_CONTAINERS)}"
            )
        tail = query.get("tail", ["100"])[-1]
        if not tail.isascii() or not tail.isdigit() or not 1 <= int(tail) <= _MAX_TAIL:
            raise Refusal(problems.BAD_REQUEST, f"tail is {tail[:40]!r}, not a number from 1 to {_MAX_TAIL}")
        found = await self._replicas.logs(document.name, container, int(tail))
        replicas = [{"replica": replica, "text": text} for replica, text in found]
        return {"container": container, "replicas": replicas}

    async def _interface(self, document: EndpointDocument, scope: dict[str, Any], url: str) -> dict[str, Any]:
        name = document.name
        # Before the answer: what begins to run meanwhile is asked again.
        source = _Source(document.image, self._replicas.running(name))
        told = self._told.get(name)
        if told is None or not told[0].is_now(source):
            told = self._told[name] = source, await self._ask(document, source, scope)
        self._told.move_to_end(name)
        while len(self._told) > _KEPT:
            self._told.popitem(last=False)
        return {**told[1], "servers": [{"url": url}]}

    async def _ask(
        self, document: EndpointDocument, source: _Source, scope: dict[str, Any]
    ) -> dict[str, Any]:
        """Only a replica that is there is asked: nobody starts a GPU to read a description."""
        counts = self._replicas.counts(document.name)
        there = self._answered(document.name) if counts is None else counts.ready > 0
        if self.app is None or not there:
            raise Refusal(
                problems.NOT_FOUND, f"endpoint {document.name} has told no interface yet: no replica is ready"
            )
        nothing = self._nothing.get(document.name)
        if nothing is not None and nothing[0] == source and time.monotonic() < nothing[1]:
            raise _no_interface(document)
        try:
            path = f"{names.PATH_ENDPOINT}/{document.name}/openapi.json"
            asked = await ask(self.app, scope, path, _MAX_INTERFACE_BYTES, _ASK_TIMEOUT_S)
            told = json.loads(asked.body) if asked.status == 200 else None
        except (TooLong, TimeoutError, ValueError, RecursionError):
            told = None
        if not isinstance(told, dict) or "paths" not in told:
            self._nothing[document.name] = source, time.monotonic() + _NOTHING_FOR_S
            raise _no_interface(document)
        return told

    def forget(self, endpoint: str) -> None:
        """An endpoint ceased to exist."""
        self._told.pop(endpoint, None)
        self._nothing.pop(endpoint, None)


def _no_interface(document: EndpointDocument) -> Refusal:
    return Refusal(
        problems.NOT_FOUND,
        f"the container of endpoint {document.name} told no OpenAPI document of at most "
        f"{_MAX_INTERFACE_BYTES // 1024} KiB at /openapi.json within {_ASK_TIMEOUT_S:g} s: it has none, or its "
        f"replicas were busy; after {_NOTHING_FOR_S:g} s it is asked again",
    )
