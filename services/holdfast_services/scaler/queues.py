"""The scaler's questions to the broker, in JetStream's own words.

The client library's objects are not used here: of 256 queues in one answer, two numbers each are wanted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from holdfast_contract import names
from holdfast_contract.autoscaling import NEVER
from holdfast_services.broker import Broker, BrokerError
from holdfast_services.scaler.knowledge import Backlog, Reading
from holdfast_services.scaler.ports import QueuesUnavailable

__all__ = ["JetStreamQueues", "unix_seconds"]

_READ_TIMEOUT_S: Final = 2.0
_LIST_TIMEOUT_S: Final = 6.0
"""A cluster of brokers itself waits up to 4 s for the members' answers (nats-server,
jetstream_cluster.go)."""
_MISSING: Final = frozenset({10059, 10014})
"""JSStreamNotFoundErr, JSConsumerNotFoundErr."""
_STREAM_PREFIX: Final = names.stream_name("")


class JetStreamQueues:
    """Implements `Queues` over a broker connection."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def read(self, endpoint: str, *, recent_since: float) -> Reading:
        """See `Queues`.

        The consumer knows when it last handed out or settled a request (since the broker's start); the
        activity bucket knows when gateways last accepted one, which survives all restarts. A missing queue
        holds nothing; a queue whose consumer is still to be made holds what its stream holds.
        """
        stream = names.stream_name(endpoint)
        try:
            info = await self._ask(f"CONSUMER.INFO.{stream}.{names.CONSUMER}")
        except _Missing:
            demand, last_at = await self._without_consumer(stream)
        else:
            demand = int(info["num_pending"]) + int(info["num_ack_pending"])
            last_at = max(unix_seconds(info[part].get("last_active")) for part in ("delivered", "ack_floor"))
        if demand == 0 and last_at <= recent_since:
            last_at = max(last_at, await self._last_accepted(endpoint))
        return Reading(demand=demand, last_activity_at=last_at)

    async def _without_consumer(self, stream: str) -> tuple[int, float]:
        try:
            backlog = _backlog(await self._ask(f"STREAM.INFO.{stream}"))
        except _Missing:
            return 0, NEVER
        return backlog.requests, backlog.last_request_at

    async def sweep(self) -> Mapping[str, Backlog]:
        """See `Queues`. A cluster of brokers leaves out queues whose members do not answer."""
        found: dict[str, Backlog] = {}
        offset = 0
        while True:
            page = await self._ask("STREAM.LIST", {"offset": offset}, timeout_s=_LIST_TIMEOUT_S)
            listed = set(page.get("missing") or ())
            for stream in page.get("streams") or ():
                name = stream["config"]["name"]
                listed.add(name)
                if name.startswith(_STREAM_PREFIX):
                    found[name.removeprefix(_STREAM_PREFIX)] = _backlog(stream)
            offset += len(listed)
            if not listed or offset >= int(page.get("total", 0)):
                return found

    async def _last_accepted(self, endpoint: str) -> float:
        try:
            return await self._broker.last_activity(endpoint) or NEVER
        except BrokerError as error:
            raise QueuesUnavailable(f"activity of {endpoint}: {error}") from error

    async def _ask(
        self, what: str, question: Mapping[str, Any] | None = None, *, timeout_s: float = _READ_TIMEOUT_S
    ) -> dict[str, Any]:
        """One question to the JetStream API. Raises _Missing where the stream or consumer does not exist, and
        QueuesUnavailable for everything else that is not an answer."""
        payload = json.dumps(question).encode() if question else b""
        try:
            answer = await self._broker.request(f"$JS.API.{what}", payload, None, timeout_s)
        except BrokerError as error:
            raise QueuesUnavailable(f"{what}: {error}") from error
        if not answer.data:
            raise QueuesUnavailable(f"{what}: JetStream is not running")
        decoded: dict[str, Any] = json.loads(answer.data)
        problem = decoded.get("error")
        if problem is None:
            return decoded
        if problem.get("err_code") in _MISSING:
            raise _Missing(what)
        raise QueuesUnavailable(f"{what}: {problem.get('description')} ({problem.get('err_code')})")


class _Missing(Exception):
    """The stream or consumer asked for does not exist."""


def _backlog(stream: Mapping[str, Any]) -> Backlog:
    state = stream["state"]
    return Backlog(requests=int(state["messages"]), last_request_at=unix_seconds(state.get("last_ts")))


def unix_seconds(text: str | None) -> float:
    """A time as the broker writes it (RFC 3339, nanoseconds). NEVER for a missing one and for its zero
    time."""
    return max(datetime.fromisoformat(text).timestamp(), NEVER) if text else NEVER
