"""A connection to NATS that comes back by itself, and what can go wrong with it in four errors.

nats-py's own errors never leave this module and `broker`.
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

__all__ = ["Ambiguous", "BrokerDown", "BrokerError", "Connection", "Handler", "QueueFull", "QueueMissing"]

_log = Log("broker")

_API_TIMEOUT_S: Final = 10.0
_RECONNECT_S: Final = 0.25

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
        self._acks: dict[str, asyncio.Future[Msg]] = {}
        self._ack_numbers = count()
        self._ack_prefix = client.new_inbox()
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
        await client.subscribe(f"{connection._ack_prefix}.*", cb=connection._acknowledged)
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

    async def request(
        self, subject: str, payload: bytes, headers: Mapping[str, str] | None, timeout_s: float
    ) -> Msg:
        """Publish and wait for the one answer. Raises BrokerDown (not sent) or Ambiguous (no answer)."""
        if not self._client.is_connected:
            raise BrokerDown("not connected to the broker")
        token = str(next(self._ack_numbers))
        future: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
        self._acks[token] = future
        try:
            async with asyncio.timeout(timeout_s):
                await self._client.publish(
                    subject, payload, f"{self._ack_prefix}.{token}", dict(headers) if headers else None
                )
                return await future
        except nats.errors.MaxPayloadError as error:
            raise BrokerError(f"message of {len(payload)} bytes is above the broker's limit") from error
        except TimeoutError as error:
            raise Ambiguous(f"no answer of the broker within {timeout_s} s") from error
        except (nats.errors.Error, OSError) as error:
            raise BrokerDown(repr(error)) from error
        finally:
            del self._acks[token]

    async def publish(self, subject: str, payload: bytes = b"") -> bool:
        """Publish without storing; False where the connection is down (nothing is buffered then)."""
        if not self._client.is_connected:
            return False
        try:
            await self._client.publish(subject, payload)
        except (nats.errors.Error, OSError):
            return False
        return True

    async def subscribe(self, subject: str, handler: Handler) -> Subscription:
        """Call `handler` with every message; survives reconnection."""
        return await self._client.subscribe(subject, cb=handler)

    async def _acknowledged(self, message: Msg) -> None:
        future = self._acks.get(message.subject.rsplit(".", 1)[1])
        if future is not None and not future.done():
            future.set_result(message)
