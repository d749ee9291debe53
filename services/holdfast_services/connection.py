"""A connection to NATS that comes back by itself, and what can go wrong with it in four errors.

nats-py's own errors never leave this module and `broker`. Every request takes six messages, so these go past the tasks
that the library has for writing and for each subscription: written where they are made, heard where they are read.
Measured, each such task is up to 0.3 ms of a request's way and a tenth of what its message costs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from typing import Final, Self

import nats
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import JetStreamContext

from holdfast_services.credentials import Login
from holdfast_services.logs import Log

__all__ = [
    "Ambiguous",
    "BrokerDown",
    "BrokerError",
    "Connection",
    "Handler",
    "QueueFull",
    "QueueMissing",
    "encode",
]

_log = Log("broker")

_API_TIMEOUT_S: Final = 10.0
_RECONNECT_S: Final = 0.25
_CANCELLATIONS: Final = 20
"""How often attempts to reconnect are told to end, 0.1 s apart."""

Handler = Callable[[Msg], Awaitable[None]]


class BrokerError(Exception):
    """The queue did not do what was asked."""


class BrokerDown(BrokerError):
    """The broker cannot be reached, or refuses all work. Nothing was accepted."""


class Ambiguous(BrokerError):
    """The broker did not say whether it accepted the message."""


class QueueFull(BrokerError):
    """The endpoint's queue holds as many requests as it may."""


class QueueMissing(BrokerError):
    """The endpoint has no queue (yet, or any more)."""


class Connection:
    """Publishes, asks and listens. Make one with `connect`."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._js: JetStreamContext = client.jetstream(timeout=_API_TIMEOUT_S)
        self._answers: dict[str, asyncio.Future[Msg]] = {}
        self._numbers = count()
        self._answers_prefix = client.new_inbox()
        self._on_reconnect: list[Callable[[], None]] = []

    @classmethod
    async def connect(cls, url: str, name: str, *, login: Login | None = None, inbox: str = "_INBOX") -> Self:
        """Connect, trying until it works. `url`: one or several, separated by commas. `login`: None for a broker
        without authentication. `inbox`: below which answers arrive; a part with limited rights has its own."""
        login = login or Login()
        client = Client()
        holder: list[Self] = []
        told: set[str] = set()

        async def reconnected() -> None:
            told.clear()
            _log.info("broker connected again")
            for connection in holder:
                for callback in connection._on_reconnect:
                    callback()

        async def disconnected() -> None:
            _log.warning("broker connection lost")

        async def failed(error: Exception) -> None:
            # The client tries again four times a second: the same error is told once until it works again.
            text = repr(error)
            (_log.debug if text in told else _log.warning)("broker error", error=text)
            told.add(text)

        while True:
            try:
                await client.connect(
                    url.split(","),
                    name=name,
                    **login.options(),
                    inbox_prefix=inbox,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=_RECONNECT_S,  # type: ignore[arg-type]  # seconds, a float works
                    connect_timeout=3,
                    ping_interval=10,
                    max_outstanding_pings=2,
                    reconnected_cb=reconnected,
                    disconnected_cb=disconnected,
                    error_cb=failed,
                    pending_size=64 * 1024 * 1024,
                )
                break
            except (OSError, nats.errors.Error, TimeoutError) as error:
                _log.warning("broker not reachable yet", error=repr(error))
                await client.close()
                client = Client()
                await asyncio.sleep(0.5)
        connection = cls(client)
        holder.append(connection)
        await connection.listen(f"{connection._answers_prefix}.*", connection._answered)
        return connection

    @property
    def connected(self) -> bool:
        """Whether the broker can be talked to now."""
        return self._client.is_connected

    @property
    def jetstream(self) -> JetStreamContext:
        """For adapters beside this one (records, bodies)."""
        return self._js

    @property
    def client(self) -> Client:
        """For adapters beside this one."""
        return self._client

    def on_reconnect(self, callback: Callable[[], None]) -> None:
        """Call `callback` whenever a lost connection is back."""
        self._on_reconnect.append(callback)

    async def close(self) -> None:
        """Send what is buffered and disconnect."""
        try:
            await asyncio.wait_for(self._client.flush(), 2)
        except (nats.errors.Error, TimeoutError, OSError):
            pass
        # In a task of its own: nats-py lets a cancellation of its reader escape where the connection is lost.
        await asyncio.wait({asyncio.create_task(self._client.close())}, timeout=2)
        # nats-py cancels its attempts to come back once, and Python 3.11's `wait_for` loses a cancellation that comes
        # as it ends: they would go on for ever, and a process that stops would wait for them.
        attempts = self._client._reconnection_task
        for _ in range(_CANCELLATIONS):
            if attempts is None or attempts.done():
                break
            attempts.cancel()
            await asyncio.wait({attempts}, timeout=0.1)

    async def request(
        self, subject: str, payload: bytes, headers: Mapping[str, str] | None, timeout_s: float
    ) -> Msg:
        """Publish and wait for the one answer. Raises BrokerDown (not sent), Ambiguous (no answer), or BrokerError
        for a message above the broker's limit."""
        token = str(next(self._numbers))
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Msg] = loop.create_future()
        self._answers[token] = future
        timer = loop.call_later(timeout_s, _unanswered, future, timeout_s)
        try:
            self.send(subject, payload, f"{self._answers_prefix}.{token}", headers)
            return await future
        finally:
            timer.cancel()
            del self._answers[token]

    async def publish(self, subject: str, payload: bytes = b"") -> bool:
        """Publish without storing; False where the connection is down (nothing is buffered then)."""
        try:
            self.send(subject, payload)
        except BrokerDown:
            return False
        return True

    def send(
        self, subject: str, payload: bytes, reply: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Write a message now. For messages whose number is bounded by who waits for them: nothing slows a sender
        down whom the broker does not read as fast.

        Raises BrokerDown where the connection is down, BrokerError for a message above the broker's limit, and
        ValueError for one that would be read as several.
        """
        client = self._client
        if not client.is_connected:
            raise BrokerDown("not connected to the broker")
        if len(payload) > client.max_payload:
            raise BrokerError(f"message of {len(payload)} bytes is above the broker's limit")
        data = encode(subject, payload, reply, headers)
        transport = client._transport
        if transport is None:
            raise BrokerDown("not connected to the broker")
        try:
            if client._pending:
                # What the library was asked before comes before: a subscription, for one.
                transport.writelines(client._pending)
                client._pending, client._pending_data_size = [], 0
            transport.write(data)
        except (OSError, RuntimeError) as error:
            # It broke a moment ago, and the library does not know yet: uvloop refuses to write then.
            raise BrokerDown(repr(error)) from error

    async def listen(self, subject: str, handler: Callable[[Msg], None]) -> Subscription:
        """Call `handler` with every message, from where it is read: it must not take long. Survives
        reconnection."""
        heard = _Heard(handler)
        return await self._client.subscribe(subject, future=heard)  # type: ignore[arg-type]  # the two that are used

    async def subscribe(self, subject: str, handler: Handler) -> Subscription:
        """Call `handler` with every message; survives reconnection."""
        return await self._client.subscribe(subject, cb=handler)

    def _answered(self, message: Msg) -> None:
        future = self._answers.get(message.subject.rsplit(".", 1)[1])
        if future is not None and not future.done():
            future.set_result(message)


class _Heard:
    """What the library takes for the future of one message, and we for an ear."""

    def __init__(self, handler: Callable[[Msg], None]) -> None:
        self._handler = handler

    def cancelled(self) -> bool:
        """Never."""
        return False

    def set_result(self, message: Msg) -> None:
        """A message came."""
        try:
            self._handler(message)
        except Exception as error:  # of ours; the library would take the connection for broken
            _log.error("message not handled", trace=error, subject=message.subject)


def _unanswered(future: asyncio.Future[Msg], timeout_s: float) -> None:
    if not future.done():
        future.set_exception(Ambiguous(f"no answer of the broker within {timeout_s} s"))


def encode(subject: str, payload: bytes, reply: str, headers: Mapping[str, str] | None) -> bytes:
    """A message as NATS's protocol has it (PUB, HPUB). `reply`: empty for none. Raises ValueError for what would be
    read as more than one message or header."""
    words = [subject, reply] if reply else [subject]
    line = " ".join(words) + " "
    if not subject or line.split() != words:
        raise ValueError(
            f"subject {subject[:100]!r} or {reply[:100]!r} is empty, or has spaces or line breaks"
        )
    if headers is None:
        return b"PUB %b%d\r\n%b\r\n" % (line.encode(), len(payload), payload)
    text = "NATS/1.0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    if not text.count("\r") == text.count("\n") == len(headers) + 1:
        raise ValueError(f"a header of the message to {subject[:100]!r} has a line break")
    head = text.encode() + b"\r\n"
    return b"HPUB %b%d %d\r\n%b%b\r\n" % (line.encode(), len(head), len(head) + len(payload), head, payload)
