"""What a gateway says of endpoints before it knows them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import MappingProxyType
from typing import Any

import pytest

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
