"""What a gateway says of endpoints before it knows them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import MappingProxyType
from typing import Any

import pytest
from documents import endpoint_document
from waiting import until

from holdfast_services.broker import BrokerDown
from holdfast_services.documents import Snapshot
from holdfast_services.gateway.catalog import Catalog
from holdfast_services.gateway.core.refusal import Refusal


class Nothing:
    """A source of documents that ends after one empty snapshot, and queues that are always there."""

    async def snapshots(self) -> AsyncIterator[Snapshot]:
        yield MappingProxyType({})
        raise ExceptionGroup("done", [RuntimeError("done")])

    def __getattr__(self, name: str) -> Any:
        async def there(*_: Any) -> None:
            return None

        return there


async def test_an_endpoint_is_denied_only_once_it_is_known_what_there_is() -> None:
    """A gateway that has just started told callers that their endpoint does not exist, and not to try again."""
    catalog = Catalog(Nothing(), Nothing(), replicas=1)
    with pytest.raises(
        Refusal, match="this gateway has just started and does not know its endpoints yet"
    ) as told:
        catalog.find("chat")
    assert (told.value.problem.status, told.value.retry, told.value.retry_after_s) == (503, True, 1)
    with pytest.raises(ExceptionGroup):
        await catalog.run()
    assert catalog.find("chat") is None


class Told:
    """A source that gives the snapshots of a test, and queues that note what is removed."""

    def __init__(self) -> None:
        self.news: asyncio.Queue[Snapshot] = asyncio.Queue()
        self.removed: list[str] = []
        self.down = 0

    async def snapshots(self) -> AsyncIterator[Snapshot]:
        while True:
            yield await self.news.get()

    async def delete_queue(self, endpoint: str) -> None:
        if self.down:
            self.down -= 1
            raise BrokerDown("no broker")
        self.removed.append(endpoint)

    async def ensure_queue(self, *_: Any) -> None: ...

    async def ensure_buckets(self, *_: Any) -> None: ...

    async def ensure_webhooks(self, *_: Any) -> None: ...


@pytest.fixture
async def told() -> AsyncIterator[tuple[Told, Catalog, list[str]]]:
    """A catalogue that forgets quickly, what it is told, and the names that it said to be no more."""
    source, gone = Told(), list[str]()
    catalog = Catalog(source, source, replicas=1, absence_s=0.02, removal_grace_s=0.2)
    catalog.on_removed(gone.append)
    running = asyncio.create_task(catalog.run())
    source.news.put_nowait(
        MappingProxyType({"chat": endpoint_document("chat"), "ocr": endpoint_document("ocr")})
    )
    await until(lambda: len(catalog.documents) == 2, "both are known")
    yield source, catalog, gone
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_the_queue_of_a_removed_endpoint_goes_a_while_after_it_also_where_the_broker_is_away(
    told: tuple[Told, Catalog, list[str]],
) -> None:
    source, catalog, gone = told
    source.down = 1
    source.news.put_nowait(MappingProxyType({"ocr": endpoint_document("ocr")}))

    await until(lambda: catalog.find("chat") is None, "it is no more")
    assert (gone, source.removed) == (["chat"], [])
    await until(lambda: source.removed == ["chat"], "its queue is removed")


async def test_an_endpoint_that_comes_back_in_time_keeps_its_queue(
    told: tuple[Told, Catalog, list[str]],
) -> None:
    source, catalog, _ = told
    source.news.put_nowait(MappingProxyType({"ocr": endpoint_document("ocr")}))
    await until(lambda: catalog.find("chat") is None, "it is no more")

    source.news.put_nowait(
        MappingProxyType({"chat": endpoint_document("chat"), "ocr": endpoint_document("ocr")})
    )
    await until(lambda: catalog.find("chat"), "it is back")
    await asyncio.sleep(0.3)

    assert source.removed == []


async def test_a_document_that_is_replaced_is_missed_by_nobody(
    told: tuple[Told, Catalog, list[str]],
) -> None:
    source, catalog, gone = told
    source.news.put_nowait(MappingProxyType({"ocr": endpoint_document("ocr")}))
    source.news.put_nowait(
        MappingProxyType({"chat": endpoint_document("chat"), "ocr": endpoint_document("ocr")})
    )
    await asyncio.sleep(0.1)

    assert catalog.find("chat") is not None
    assert (gone, source.removed) == ([], [])
