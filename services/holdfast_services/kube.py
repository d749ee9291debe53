"""Following objects of a Kubernetes API server: list, then watch, for ever.

The generated client library would cost every gateway and scaler 74 MiB of memory and 1.2 s of start
(measured, 2026-11-24) for two URLs; so this module speaks the list and watch protocol itself.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote

import aiohttp

from holdfast_services.logs import Log

__all__ = ["CONFIG_MAPS", "EVENTS", "EXTERNAL_SECRETS", "PODS", "Cluster", "Objects"]

CONFIG_MAPS: Final = "api/v1/namespaces/{namespace}/configmaps"
PODS: Final = "api/v1/namespaces/{namespace}/pods"
EVENTS: Final = "api/v1/namespaces/{namespace}/events"
EXTERNAL_SECRETS: Final = "apis/external-secrets.io/v1/namespaces/{namespace}/externalsecrets"

Objects = Mapping[str, Mapping[str, Any]]
"""Objects by name, as the API server writes them."""

_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_WATCH_S: Final = 240
_MAX_LINE_BYTES: Final = 4 * 1024 * 1024
"""One watch event is one line; an object is at most 1.5 MiB in etcd, and its managed fields add to that."""
_RETRY_S: Final = (0.2, 0.5, 1.0, 2.0, 5.0)

_log = Log("kube")


class _Expired(Exception):
    """The watch's resource version is too old: list again."""


class Cluster:
    """An API server, as a pod's service account reaches it. Opens no connection before it is used."""

    def __init__(self, base_url: str, *, token_file: Path | None = None, ca_file: Path | None = None) -> None:
        self._base_url = base_url.rstrip("/")
        self._token_file = token_file
        self._ca_file = ca_file
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def from_pod(cls) -> Cluster | None:
        """The cluster that this process runs in; None outside of one."""
        host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT")
        if not host or not port:
            return None
        host = f"[{host}]" if ":" in host else host
        return cls(f"https://{host}:{port}", token_file=_ACCOUNT / "token", ca_file=_ACCOUNT / "ca.crt")

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    async def follow(
        self, resource: str, namespace: str, *, label_selector: str = "", field_selector: str = ""
    ) -> AsyncIterator[Objects]:
        """Yields all matching objects now, and again after every change. Survives any interruption of the
        API server; what was known stays known meanwhile."""
        failures = 0
        while True:
            listed = False
            try:
                async for objects in self._follow_once(resource, namespace, label_selector, field_selector):
                    if listed:  # a list that is answered says nothing of the watch that follows
                        failures = 0
                    listed = True
                    yield objects
            except _Expired:
                continue
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError, KeyError, TypeError) as error:
                wait_s = _RETRY_S[min(failures, len(_RETRY_S) - 1)]
                failures += 1
                _log.warning("watch interrupted", resource=resource, error=repr(error), retry_s=wait_s)
                await asyncio.sleep(wait_s)

    async def _follow_once(
        self, resource: str, namespace: str, label_selector: str, field_selector: str
    ) -> AsyncIterator[Objects]:
        path = resource.format(namespace=quote(namespace, safe=""))
        query = {"labelSelector": label_selector, "fieldSelector": field_selector}
        async with self._get(path, query) as answer:
            listed = await answer.json()
        known: dict[str, Mapping[str, Any]] = {
            item["metadata"]["name"]: item for item in listed.get("items") or ()
        }
        version = listed["metadata"]["resourceVersion"]
        yield MappingProxyType(dict(known))
        while True:
            watch = {
                **query,
                "watch": "1",
                "allowWatchBookmarks": "true",
                "timeoutSeconds": str(_WATCH_S),
                "resourceVersion": version,
            }
            async with self._get(path, watch) as answer:
                async for line in answer.content:
                    event = json.loads(line)
                    kind, item = event["type"], event["object"]
                    if kind == "ERROR" and item.get("code") == 410:
                        raise _Expired(str(item.get("message")))
                    if kind == "ERROR":
                        raise OSError(f"the watch ended: {item.get('message')}")
                    version = item["metadata"]["resourceVersion"]
                    if kind == "BOOKMARK":
                        continue
                    name = item["metadata"]["name"]
                    if kind == "DELETED":
                        known.pop(name, None)
                    else:
                        known[name] = item
                    yield MappingProxyType(dict(known))

    async def read_text(self, path: str, query: Mapping[str, str], timeout_s: float) -> str:
        """A page that is text: a log. Raises OSError or TimeoutError where it cannot be had."""
        try:
            async with asyncio.timeout(timeout_s), self._get(path, query) as answer:
                return (await answer.read()).decode("utf-8", "replace")
        except (aiohttp.ClientError, _Expired) as error:
            raise OSError(repr(error)) from error

    def _get(self, path: str, query: Mapping[str, str]) -> aiohttp.client._RequestContextManager:
        if self._session is None:
            context: ssl.SSLContext | bool = True
            if self._ca_file is not None:
                context = ssl.create_default_context(cafile=str(self._ca_file))
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=context),
                # Longer than a watch lasts without an event; the server ends it before.
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=_WATCH_S + 30),
                read_bufsize=_MAX_LINE_BYTES,
                raise_for_status=_raise_for_status,
            )
        headers = {}
        if self._token_file is not None:
            # Read every time: the kubelet replaces the token before it expires.
            headers["authorization"] = f"Bearer {self._token_file.read_text().strip()}"
        params = {key: value for key, value in query.items() if value}
        return self._session.get(f"{self._base_url}/{path}", params=params, headers=headers)


async def _raise_for_status(answer: aiohttp.ClientResponse) -> None:
    if answer.status == 410:
        raise _Expired("410")
    answer.raise_for_status()
