"""`/v1/endpoints/<name>/events`, `…/logs`, `…/openapi.json`: what a replica does, says, and takes."""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Callable
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


class EndpointPages:
    """The parts of an endpoint's description that are asked for one by one. The caller is authenticated already."""

    def __init__(self, replicas: ReplicaView, answered: Callable[[str], bool]) -> None:
        """`answered`: whether an endpoint answered of late; counts where no cluster shows its replicas."""
        self._replicas = replicas
        self._answered = answered
        self._told: OrderedDict[tuple[str, str], dict[str, Any]] = OrderedDict()
        """By endpoint and image: another image may have another interface."""
        self._nothing: dict[tuple[str, str], float] = {}
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
        key = (document.name, document.image)
        told = self._told.get(key)
        if told is None:
            told = self._told[key] = await self._ask(document, key, scope)
        self._told.move_to_end(key)
        while len(self._told) > _KEPT:
            self._told.popitem(last=False)
        return {**told, "servers": [{"url": url}]}

    async def _ask(
        self, document: EndpointDocument, key: tuple[str, str], scope: dict[str, Any]
    ) -> dict[str, Any]:
        """Only a replica that is there is asked: nobody starts a GPU to read a description."""
        counts = self._replicas.counts(document.name)
        there = self._answered(document.name) if counts is None else counts.ready > 0
        if self.app is None or not there:
            raise Refusal(
                problems.NOT_FOUND, f"endpoint {document.name} has told no interface yet: no replica is ready"
            )
        if time.monotonic() < self._nothing.get(key, 0.0):
            raise _no_interface(document)
        try:
            path = f"{names.PATH_ENDPOINT}/{document.name}/openapi.json"
            asked = await ask(self.app, scope, path, _MAX_INTERFACE_BYTES, _ASK_TIMEOUT_S)
            told = json.loads(asked.body) if asked.status == 200 else None
        except (TooLong, TimeoutError, ValueError, RecursionError):
            told = None
        if not isinstance(told, dict) or "paths" not in told:
            self._nothing[key] = time.monotonic() + _NOTHING_FOR_S
            raise _no_interface(document)
        return told

    def forget(self, endpoint: str) -> None:
        """An endpoint ceased to exist."""
        for known in (self._told, self._nothing):
            for key in [key for key in known if key[0] == endpoint]:
                del known[key]


def _no_interface(document: EndpointDocument) -> Refusal:
    return Refusal(
        problems.NOT_FOUND,
        f"the container of endpoint {document.name} has no OpenAPI document of at most "
        f"{_MAX_INTERFACE_BYTES // 1024} KiB at /openapi.json",
    )
