"""Where endpoint documents come from: Kubernetes ConfigMaps in a cluster, files in process-level tests.

Both sources yield complete snapshots: what a snapshot does not hold does not exist. A document that cannot be
read is reported and its last good version kept, so that one mistake never takes an endpoint down.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from pydantic import ValidationError

from holdfast_contract import names
from holdfast_contract.document import EndpointDocument
from holdfast_services import kube
from holdfast_services.logs import Log

__all__ = ["DirectoryDocuments", "DocumentSource", "KubernetesDocuments", "Snapshot"]

Snapshot = Mapping[str, EndpointDocument]
"""Documents by endpoint name."""

_log = Log("documents")


class DocumentSource(Protocol):
    """Tells what endpoints exist."""

    def snapshots(self) -> AsyncIterator[Snapshot]:
        """Yields a snapshot at once, when it is known, and a new one after every change; never ends."""
        ...


class _Reader:
    """Parses texts and remembers the last good version of each."""

    def __init__(self) -> None:
        self._good: dict[str, EndpointDocument] = {}
        self._texts: dict[str, str] = {}

    def read(self, texts: Mapping[str, str]) -> Snapshot:
        """`texts` by the name of their source. A text that did not change is not parsed again."""
        for source in [known for known in self._texts if known not in texts]:
            del self._texts[source]
            self._good.pop(source, None)
        for source, text in texts.items():
            if self._texts.get(source) == text:
                continue
            self._texts[source] = text
            try:
                self._good[source] = EndpointDocument.from_json(text)
            except ValidationError as error:
                _log.error("document unreadable, last good version kept", source=source, problem=str(error))
        return MappingProxyType({document.name: document for document in self._good.values()})


class DirectoryDocuments:
    """Reads `*.json` in a directory, which it looks at every `interval_s` seconds.

    A directory that is missing for a while changes nothing: only a file removed from it removes an endpoint.
    """

    def __init__(self, directory: Path, *, interval_s: float = 0.2) -> None:
        self._directory = directory
        self._interval_s = interval_s

    async def snapshots(self) -> AsyncIterator[Snapshot]:
        """See `DocumentSource`."""
        reader = _Reader()
        before: dict[str, str] | None = None
        while True:
            texts = self._texts()
            if texts is not None and texts != before:
                before = texts
                yield reader.read(texts)
            await asyncio.sleep(self._interval_s)

    def _texts(self) -> dict[str, str] | None:
        if not self._directory.is_dir():
            return None
        texts = {}
        for path in sorted(self._directory.glob("*.json")):
            try:
                texts[path.name] = path.read_text()
            except FileNotFoundError:
                continue  # removed between listing and reading
        return texts


class KubernetesDocuments:
    """Watches the labelled ConfigMaps of one namespace."""

    def __init__(self, cluster: kube.Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace

    async def snapshots(self) -> AsyncIterator[Snapshot]:
        """See `DocumentSource`."""
        reader = _Reader()
        selector = f"{names.LABEL_COMPONENT}={names.COMPONENT_DOCUMENT}"
        async for objects in self._cluster.follow(kube.CONFIG_MAPS, self._namespace, label_selector=selector):
            yield reader.read(
                {
                    name: text
                    for name, item in objects.items()
                    if (text := (item.get("data") or {}).get(names.DOCUMENT_KEY)) is not None
                }
            )
