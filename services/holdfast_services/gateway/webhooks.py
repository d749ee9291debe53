"""Delivers webhooks: a durable queue of their own, every gateway takes from it, a retry is a delayed redelivery."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from holdfast_contract.messages import RequestRecord
from holdfast_services.bounded import BoundedConnector
from holdfast_services.broker import Broker, BrokerError, WebhookJob
from holdfast_services.documents import Snapshot
from holdfast_services.gateway.core import webhook
from holdfast_services.gateway.submissions import describe
from holdfast_services.logs import Log
from holdfast_services.records import Records
from holdfast_services.tracing import Tracing

__all__ = ["PublicResolver", "Webhooks", "literal_refused"]

_log = Log("webhooks")
_TIMEOUT_S: Final = 15.0
_AT_ONCE: Final = 32
_MAX_ANSWER_BYTES: Final = 4096

_NUMBERS: Final = re.compile(r"(0x[0-9a-f]*|[0-9]*)(\.(0x[0-9a-f]*|[0-9]*))*", re.IGNORECASE)

Networks = Sequence[IPv4Network | IPv6Network]


class _Refused(OSError):
    """The host resolves to an address that webhooks must not reach."""


@dataclass(frozen=True, slots=True)
class _Sent:
    """What came of one attempt."""

    status: int | None
    """The receiver's; None: it gave none."""
    retry_after: str | None = None
    error: str | None = None
    """Why there was no status: `refused-address`, or the error's type."""


class PublicResolver(AbstractResolver):
    """Resolves, then refuses what is not public. The connection goes to the very addresses that were checked, so
    a name that changes in between (DNS rebinding) gains nothing."""

    def __init__(self, allowed: Networks) -> None:
        self._allowed = allowed

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """See aiohttp. Raises OSError."""
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM, family=family
        )
        results = []
        for found_family, _, protocol, _, address in found:
            ip = str(address[0])
            why = webhook.refused_address(ip, self._allowed)
            if why is not None:
                raise _Refused(why)
            results.append(
                ResolveResult(
                    hostname=host,
                    host=ip,
                    port=port,
                    family=found_family,
                    proto=protocol,
                    flags=socket.AI_NUMERICHOST,
                )
            )
        return results

    async def close(self) -> None:
        """Nothing is open."""


class Webhooks:
    """Takes ended requests from the webhook queue and tells their callers."""

    def __init__(
        self,
        broker: Broker,
        records: Records,
        documents: Callable[[], Snapshot],
        poll_url: Callable[[str], str],
        *,
        allowed_private: Networks = (),
        told: Callable[[str, str], None] = lambda endpoint, outcome: None,
        tracing: Tracing | None = None,
    ) -> None:
        """`told`: called with endpoint and outcome (delivered, retried, dropped) of every attempt."""
        self._told = told
        self._tracing = tracing
        self._broker = broker
        self._records = records
        self._documents = documents
        self._poll_url = poll_url
        self._allowed = allowed_private
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def run(self) -> None:
        """Deliver for ever."""
        connector = BoundedConnector(
            resolver=PublicResolver(self._allowed), use_dns_cache=False, force_close=True
        )
        async with (
            aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            ) as session,
            asyncio.TaskGroup() as tasks,
        ):
            while True:
                await self._slots.acquire()
                job = await self._next()
                tasks.create_task(self._deliver(session, job))

    async def _next(self) -> WebhookJob:
        while True:
            try:
                job = await self._broker.next_webhook()
                if job is not None:
                    return job
            except BrokerError:
                await asyncio.sleep(1.0)

    async def _deliver(self, session: aiohttp.ClientSession, job: WebhookJob) -> None:
        try:
            outcome, delay_s = await self._try(session, job)
            self._told(job.endpoint, outcome)
            if delay_s is None:
                await job.done()
            else:
                await job.later(delay_s)
        except BrokerError as error:
            _log.warning("webhook not settled, it will come again", error=str(error))
        except Exception as error:
            # What a receiver sends must not end the gateway, whatever it is.
            _log.error("webhook broke, it will come again", request_id=job.request_id, error=repr(error))
        finally:
            self._slots.release()

    async def _try(self, session: aiohttp.ClientSession, job: WebhookJob) -> tuple[str, float | None]:
        """How it went, and seconds until the next try; None: there is none."""
        record = await self._records.get(job.endpoint, job.request_id)
        secret = self._token_sha256(record)
        if record is None or secret is None:
            # The request or the token it was made with is gone: nobody could check the signature.
            return "dropped", None
        described = describe(record, self._poll_url(record.id), None)
        body = json.dumps(
            {"type": "request.ended", "timestamp": record.completed_at, "data": described}
        ).encode()
        now = int(time.time())
        headers = {
            "content-type": "application/json",
            "webhook-id": record.id,
            "webhook-timestamp": str(now),
            "webhook-signature": webhook.sign(secret, record.id, now, body),
        }
        sent = await self._send(session, job, record.traceparent, body, headers)
        if sent.status is not None and 200 <= sent.status < 300:
            _log.info("webhook delivered", request_id=record.id, endpoint=job.endpoint, attempt=job.attempt)
            return "delivered", None
        delay_s = webhook.retry_delay_s(job.attempt, sent.status, sent.retry_after)
        _log.info(
            "webhook failed", request_id=record.id, status=sent.status, attempt=job.attempt, retry_s=delay_s
        )
        return "dropped" if delay_s is None else "retried", delay_s

    async def _send(
        self,
        session: aiohttp.ClientSession,
        job: WebhookJob,
        traceparent: str | None,
        body: bytes,
        headers: dict[str, str],
    ) -> _Sent:
        """`_post`, seen by whoever traces: the receiver too, which may be of the same people."""
        tracing = self._tracing
        traced = tracing.delivering(traceparent, job) if tracing is not None else nullcontext()
        with traced as trace:
            if trace is None:
                return await self._post(session, job, body, headers)
            sent = await self._post(session, job, body, {**headers, "traceparent": trace.traceparent})
            trace.answered(sent.status, sent.error)
            return sent

    async def _post(
        self, session: aiohttp.ClientSession, job: WebhookJob, body: bytes, headers: dict[str, str]
    ) -> _Sent:
        try:
            why = literal_refused(job.url, self._allowed)
            if why is not None:
                raise _Refused(why)
            # A redirect could lead anywhere: it is a failure.
            async with session.post(job.url, data=body, headers=headers, allow_redirects=False) as answer:
                await answer.content.read(_MAX_ANSWER_BYTES)
                return _Sent(answer.status, answer.headers.get("retry-after"))
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            # An answer that is no HTTP carries the whole URL in its error, and people put keys into webhooks' URLs.
            cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
            why = str(cause) if isinstance(cause, OSError) else type(error).__name__
            _log.info("webhook not delivered", request_id=job.request_id, endpoint=job.endpoint, error=why)
            kind = "refused-address" if isinstance(cause, _Refused) else type(cause).__name__
            return _Sent(None, error=kind)

    def _token_sha256(self, record: RequestRecord | None) -> str | None:
        document = self._documents().get(record.endpoint) if record is not None else None
        if document is None or record is None:
            return None
        return next((token.sha256 for token in document.tokens if token.id == record.token_id), None)


def literal_refused(url: str, allowed: Networks) -> str | None:
    """Why a URL with an address in it must not be asked; None: it may, or holds a name. aiohttp does not ask a
    resolver about addresses that are written as such."""
    host = URL(url).host or ""
    try:
        return webhook.refused_address(host, allowed)
    except ValueError:
        # `127.1` and `2130706433` are addresses to the system's calls, and names to nobody.
        return f"{host} is not an address as it is usually written" if _NUMBERS.fullmatch(host) else None
