"""Watches the endpoints' pods, events and external secrets, and keeps what follows from them at hand."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import replace
from typing import Any, Final

from holdfast_contract import names
from holdfast_services import kube
from holdfast_services.documents import Snapshot
from holdfast_services.gateway.core.diagnosis import Reason, counts, diagnose, start_phases
from holdfast_services.gateway.core.events import told_events
from holdfast_services.gateway.core.running import running
from holdfast_services.gateway.replicas import ReplicaCounts, StartPhases
from holdfast_services.logs import Log

__all__ = ["ClusterReplicas"]

_log = Log("cluster")
_RECHECK_S: Final = 1.0
"""Budgets pass without an event."""
MAX_LOGS: Final = 5
MAX_LOG_BYTES: Final = 64 * 1024
LOG_TIMEOUT_S: Final = 5.0
_POD_SELECTOR: Final = f"{names.LABEL_COMPONENT}={names.COMPONENT_REPLICA}"


class ClusterReplicas:
    """The replica view of a gateway in a cluster."""

    def __init__(
        self,
        cluster: kube.Cluster,
        namespace: str,
        documents: Callable[[], Snapshot],
        waited_for: Callable[[], Iterable[str]],
    ) -> None:
        """`waited_for`: endpoints that some caller is held for."""
        self._waited_for = waited_for
        self._cluster = cluster
        self._namespace = namespace
        self._documents = documents
        self._pods: kube.Objects | None = None
        """None: not listed yet, which is not the same as none."""
        self._events: kube.Objects = {}
        self._secrets: kube.Objects = {}
        self._by_endpoint: dict[str, list[Mapping[str, Any]]] = {}
        self._reasons: dict[str, Reason] = {}
        self._seen: dict[str, StartPhases] = {}
        """Phases of each pod by when this gateway saw them: finer than the pod's own whole seconds."""
        self._on_failure: list[Callable[[str, str], None]] = []

    def on_failure(self, callback: Callable[[str, str], None]) -> None:
        """Call with endpoint and detail when an endpoint is found unable to start; while it stays so, again."""
        self._on_failure.append(callback)

    # --- the port -----------------------------------------------------------------------------------------
    def failure(self, endpoint: str) -> str | None:
        """See ReplicaView."""
        reason = self._reasons.get(endpoint)
        return reason.detail if reason is not None else None

    def counts(self, endpoint: str) -> ReplicaCounts | None:
        """See ReplicaView."""
        return None if self._pods is None else counts(self._by_endpoint.get(endpoint, ()))

    def running(self, endpoint: str) -> frozenset[str]:
        """See ReplicaView."""
        return running(self._by_endpoint.get(endpoint, ()))

    def start_phases(self, endpoint: str) -> StartPhases:
        """See ReplicaView."""
        newest: StartPhases | None = None
        for pod in self._by_endpoint.get(endpoint, ()):
            phases = self._seen.get(pod["metadata"]["uid"])
            if phases is not None and (newest is None or (phases.scaled or 0) > (newest.scaled or 0)):
                newest = phases
        return newest or StartPhases()

    def events(self, endpoint: str) -> Sequence[Mapping[str, Any]]:
        """See ReplicaView."""
        document = self._documents().get(endpoint)
        if document is None:
            return ()
        return told_events(self._events.values(), document.deployment, self._documents())

    async def logs(self, endpoint: str, container: str, tail: int) -> Sequence[tuple[str, str]]:
        """See ReplicaView."""
        pods = sorted(
            self._by_endpoint.get(endpoint, ()),
            key=lambda pod: str(pod["metadata"].get("creationTimestamp")),
            reverse=True,
        )
        query = {"container": container, "tailLines": str(tail), "limitBytes": str(MAX_LOG_BYTES)}
        found = []
        for pod in pods[:MAX_LOGS]:
            name = str(pod["metadata"]["name"])
            path = f"{kube.PODS.format(namespace=self._namespace)}/{name}/log"
            try:
                found.append((name, await self._cluster.read_text(path, query, LOG_TIMEOUT_S)))
            except (OSError, TimeoutError) as error:
                # A replica that has not begun has no log; the others' are still worth reading.
                _log.debug("log not read", replica=name, error=repr(error))
                found.append((name, "(no log: the container has not begun, or is gone)"))
        return found

    # --- watching -----------------------------------------------------------------------------------------
    async def run(self) -> None:
        """Watch for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch_pods())
            tasks.create_task(self._watch_events())
            tasks.create_task(self._watch_secrets())
            tasks.create_task(self._recheck())

    async def _watch_pods(self) -> None:
        async for pods in self._cluster.follow(kube.PODS, self._namespace, label_selector=_POD_SELECTOR):
            self._take_pods(pods, time.time())
            self._judge(time.time())

    async def _watch_events(self) -> None:
        async for events in self._cluster.follow(kube.EVENTS, self._namespace):
            self._events = events

    async def _watch_secrets(self) -> None:
        # Fails where External Secrets is not installed, and is then asked again every few seconds, which is cheap.
        async for secrets in self._cluster.follow(kube.EXTERNAL_SECRETS, self._namespace):
            self._secrets = secrets

    async def _recheck(self) -> None:
        while True:
            await asyncio.sleep(_RECHECK_S)
            self._judge(time.time())

    def _take_pods(self, pods: kube.Objects, now: float) -> None:
        self._pods = pods
        grouped: dict[str, list[Mapping[str, Any]]] = {}
        for pod in pods.values():
            labels = pod["metadata"].get("labels") or {}
            grouped.setdefault(labels.get(names.LABEL_ENDPOINT, ""), []).append(pod)
            uid = pod["metadata"]["uid"]
            self._seen[uid] = _observed(self._seen.get(uid), start_phases(pod), now)
        self._by_endpoint = grouped
        living = {pod["metadata"]["uid"] for pod in pods.values()}
        for uid in [uid for uid in self._seen if uid not in living]:
            del self._seen[uid]

    def _judge(self, now: float) -> None:
        documents = self._documents()
        # An endpoint without pods, callers or a finding needs no judgement.
        for name in {*self._by_endpoint, *self._reasons, *self._waited_for()}:
            document = documents.get(name)
            if document is None:
                self._reasons.pop(name, None)
                continue
            pods = self._by_endpoint.get(name, ())
            secrets = [
                secret
                for secret in self._secrets.values()
                if (secret["metadata"].get("labels") or {}).get(names.LABEL_ENDPOINT) == name
            ]
            reason = diagnose(
                name,
                pods=pods,
                events=self._events_of(document.deployment, {one["metadata"]["name"] for one in secrets}),
                external_secrets=secrets,
                startup_budget_s=document.scaling.startup_budget_s,
                now=now,
            )
            before = self._reasons.get(name)
            if reason is None:
                if self._reasons.pop(name, None) is not None:
                    _log.info("activation possible again", endpoint=name)
                continue
            if before is None or before.kind != reason.kind:
                _log.warning("activation failed", endpoint=name, kind=reason.kind, detail=reason.detail)
            self._reasons[name] = reason
            for callback in self._on_failure:
                callback(name, reason.detail)

    def _events_of(self, deployment: str, secrets: Set[str]) -> list[Mapping[str, Any]]:
        # ReplicaSets and pods: the Deployment's name, a hash, and for pods five more characters.
        pattern = re.compile(rf"{re.escape(deployment)}-[a-z0-9]{{6,10}}(-[a-z0-9]{{5}})?")
        return [
            event
            for event in self._events.values()
            if event.get("type") == "Warning"
            if pattern.fullmatch(name := str((event.get("involvedObject") or {}).get("name", "")))
            or name in secrets
        ]


def _observed(before: StartPhases | None, said: StartPhases, now: float) -> StartPhases:
    """The time this gateway saw a phase, if the pod's own time agrees to within its whole seconds; else that."""

    def when(seen: float | None, own: float | None) -> float | None:
        if seen is not None or own is None:
            return seen
        return now if abs(now - own) < 2.0 else own

    if before is None:
        before = StartPhases()
    return replace(
        before,
        scaled=when(before.scaled, said.scaled),
        scheduled=when(before.scheduled, said.scheduled),
        pulled=when(before.pulled, said.pulled),
        ready=when(before.ready, said.ready),
    )
