"""What endpoints exist, and that each has its queue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, Protocol

from holdfast_contract import problems
from holdfast_contract.document import EndpointDocument
from holdfast_services.broker import BrokerError
from holdfast_services.documents import DocumentSource, Snapshot
from holdfast_services.gateway.core.refusal import Refusal
from holdfast_services.logs import Log

__all__ = ["Catalog", "Queues"]

_log = Log("catalog")
_REMOVAL_GRACE_S: Final = 60.0
"""How long a queue outlives its document: a document that is replaced may be gone for a moment."""
_ABSENCE_S: Final = 5.0
_RETRY_S: Final = 1.0
_NOT_TOLD: Final = "this gateway has just started and does not know its endpoints yet"


class Queues(Protocol):
    """What the catalogue needs of the broker."""

    async def ensure_queue(self, document: EndpointDocument, replicas: int) -> None:
        """See Broker."""

    async def delete_queue(self, endpoint: str) -> None:
        """See Broker."""

    async def ensure_buckets(self, replicas: int) -> None:
        """See Broker."""

    async def ensure_webhooks(self, replicas: int) -> None:
        """See Broker."""


class Catalog:
    """The newest snapshot of all documents, with an index of their tokens."""

    def __init__(
        self,
        source: DocumentSource,
        queues: Queues,
        *,
        replicas: int,
        removal_grace_s: float = _REMOVAL_GRACE_S,
        absence_s: float = _ABSENCE_S,
    ) -> None:
        """`replicas`: how many servers keep each stream. `absence_s`: how long a document must be missing until
        its endpoint is."""
        self._source = source
        self._queues = queues
        self._replicas = replicas
        self._removal_grace_s = removal_grace_s
        self._absence_s = absence_s
        self._newest: Snapshot = MappingProxyType({})
        self._missing_since: dict[str, float] = {}
        self._ensured: dict[str, EndpointDocument] = {}
        self._removals: dict[str, asyncio.Task[None]] = {}
        self._told = False
        self._wanted = asyncio.Event()
        self._on_removed: list[Callable[[str], None]] = []
        self.documents: Snapshot = MappingProxyType({})
        self.token_hashes: Mapping[str, tuple[str, ...]] = MappingProxyType({})
        """SHA-256 of every declared token, and the endpoints that it opens."""
        self.loaded = False
        """Whether a first snapshot is there and every queue in it exists."""

    def find(self, name: str) -> EndpointDocument | None:
        """The endpoint's document; None: there is none.

        Raises Refusal while this gateway does not know yet what there is: it must not deny an endpoint then.
        """
        document = self.documents.get(name)
        if document is None and not self._told:
            raise Refusal(problems.QUEUE_DOWN, _NOT_TOLD, retry_after_s=_RETRY_S)
        return document

    def on_removed(self, callback: Callable[[str], None]) -> None:
        """Call `callback` with the name of every endpoint that ceases to exist."""
        self._on_removed.append(callback)

    async def run(self) -> None:
        """Follow the documents for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._ensure_all())
            async for snapshot in self._source.snapshots():
                self._take(snapshot)

    def recheck(self) -> None:
        """Make sure of every queue again: the broker may have lost its memory."""
        self._ensured.clear()
        self._wanted.set()

    def _take(self, newest: Snapshot) -> None:
        """What is not in the newest snapshot stays for a moment: a tool that replaces a document deletes it
        before it makes the new one."""
        loop = asyncio.get_running_loop()
        self._newest = newest
        for name in newest:
            self._missing_since.pop(name, None)
        snapshot = dict(newest)
        for name in self.documents.keys() - newest.keys():
            since = self._missing_since.setdefault(name, loop.time())
            if loop.time() - since < self._absence_s:
                snapshot[name] = self.documents[name]
                loop.call_later(self._absence_s + 0.05, self._look_again)
            else:
                del self._missing_since[name]
        self._settle(MappingProxyType(snapshot))

    def _look_again(self) -> None:
        self._take(self._newest)

    def _settle(self, snapshot: Snapshot) -> None:
        gone = self.documents.keys() - snapshot.keys()
        self.documents = snapshot
        self._told = True
        index: dict[str, list[str]] = {}
        for document in snapshot.values():
            for token in document.tokens:
                index.setdefault(token.sha256, []).append(document.name)
        self.token_hashes = MappingProxyType({key: tuple(value) for key, value in index.items()})
        for name in gone:
            self._ensured.pop(name, None)
            self._removals[name] = asyncio.create_task(self._remove_later(name))
            for callback in self._on_removed:
                callback(name)
        for name in snapshot.keys() & self._removals.keys():
            self._removals.pop(name).cancel()
        self._wanted.set()

    async def _ensure_all(self) -> None:
        buckets = False
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                if not buckets or not self._ensured:
                    await self._queues.ensure_buckets(self._replicas)
                    await self._queues.ensure_webhooks(self._replicas)
                    buckets = True
                wanted = [d for d in self.documents.values() if self._ensured.get(d.name) != d]
                results = await asyncio.gather(*map(self._ensure, wanted), return_exceptions=True)
                failed = [result for result in results if isinstance(result, BaseException)]
                for error in failed:
                    _log.warning("queue not ensured yet", error=str(error))
            except BrokerError as error:
                failed = [error]
                _log.warning("buckets not ensured yet", error=str(error))
            if failed:
                await asyncio.sleep(_RETRY_S)
                self._wanted.set()
            else:
                self.loaded = True

    async def _ensure(self, document: EndpointDocument) -> None:
        before = self._ensured.get(document.name)
        if before is None or before.scaling != document.scaling:
            await self._queues.ensure_queue(document, self._replicas)
            _log.info("queue ready", endpoint=document.name)
        self._ensured[document.name] = document

    async def _remove_later(self, name: str) -> None:
        await asyncio.sleep(self._removal_grace_s)
        while True:
            try:
                await self._queues.delete_queue(name)
                break
            except BrokerError as error:
                _log.warning("queue not removed yet", endpoint=name, error=str(error))
                await asyncio.sleep(_RETRY_S)
        self._removals.pop(name, None)
        _log.info("queue removed", endpoint=name)
