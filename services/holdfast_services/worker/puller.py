"""Takes one request from the queue when a slot is free, and not before.

nats-py's own `fetch` may leave a pull behind at the server when it gives up, whose message then waits until a next
fetch; here every pull has an address of its own, and what arrives for nobody goes back at once.

While requests wait, what a replica loses is the time from one answer's end to the next request's begin: the pull goes
out from where the end is seen, before anything else is done about it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass
from itertools import count
from typing import Final

import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from holdfast_contract import messages, names
from holdfast_contract.messages import RequestMessage
from holdfast_services.broker import Broker, BrokerError
from holdfast_services.logs import Log

__all__ = ["Delivery", "Puller", "deliveries_of"]

_log = Log("puller")
_EXPIRES_S: Final = 30.0
_HEARTBEAT_S: Final = 5.0
_ASK: Final = json.dumps(
    {"batch": 1, "expires": int(_EXPIRES_S * 1e9), "idle_heartbeat": int(_HEARTBEAT_S * 1e9)}
).encode()
_SILENCE_S: Final = 12.0
"""Two heartbeats missed: the pull is lost (a server restarted, a connection is half dead)."""
_ORPHAN_DELAY_S: Final = 0.05
_ACK_TIMEOUT_S: Final = 5.0
_ACK_PATIENCE_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request, handed to this worker."""

    message: RequestMessage
    body: bytes
    deliveries: int
    """1 for the first."""
    ack_subject: str
    broker: Broker

    async def ack(self) -> None:
        """Finished: take it out of the queue, and be sure of it. Tries for two minutes while the broker is away;
        after that it is delivered again, to nobody's harm but the time."""
        await self._confirmed(b"+ACK")

    async def end(self) -> None:
        """Finished without a result: never deliver it again."""
        await self._confirmed(b"+TERM")

    async def give_back(self, delay_s: float) -> None:
        """Deliver it again, to anybody, after `delay_s`."""
        payload = b"-NAK " + json.dumps({"delay": int(delay_s * 1e9)}).encode()
        await self.broker.publish(self.ack_subject, payload)

    async def progress(self) -> None:
        """Still at it: do not deliver it to another worker."""
        await self.broker.publish(self.ack_subject, b"+WPI")

    async def _confirmed(self, payload: bytes) -> None:
        give_up = asyncio.get_running_loop().time() + _ACK_PATIENCE_S
        while True:
            try:
                await self.broker.request(self.ack_subject, payload, None, _ACK_TIMEOUT_S)
                return
            except BrokerError as error:
                if asyncio.get_running_loop().time() > give_up:
                    _log.error("not acknowledged", request_id=self.message.id, error=str(error))
                    return
                await asyncio.sleep(0.25)


def deliveries_of(ack_subject: str) -> int:
    """How often a message was delivered, 1 for the first, as JetStream writes it into the subject for its
    acknowledgement (ADR-15: `$JS.ACK.<stream>.<consumer>.<deliveries>…`, newer servers with domain and account before
    the stream). Raises ValueError."""
    parts = ack_subject.split(".")
    if len(parts) < 9 or parts[:2] != ["$JS", "ACK"]:
        raise ValueError(f"{ack_subject[:100]!r} is no subject for an acknowledgement")
    return int(parts[4] if len(parts) == 9 else parts[6])


class Puller:
    """Pulls for one slot: one pull at a time, on a subscription of its own."""

    def __init__(self, broker: Broker, endpoint: str) -> None:
        self._broker = broker
        self._next = (
            f"$JS.API.CONSUMER.MSG.NEXT.{names.stream_name(endpoint)}.{names.CONSUMER}"  # JetStream's API
        )
        self._inbox = broker.client.new_inbox()
        self._numbers = count()
        self._token = ""
        """Of the pull that is out; what another one's end has to say does not matter any more."""
        self._waiting: asyncio.Future[Msg | None] | None = None
        self._awaited = False
        """Whether a `next` takes what it brings."""
        self._heard = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self._subscription: Subscription | None = None
        self._stopping = False

    async def start(self) -> None:
        """Listen for what pulls bring."""
        self._subscription = await self._broker.listen(f"{self._inbox}.*", self._arrived)
        self._broker.on_reconnect(self._forget_pull)

    async def stop(self) -> None:
        """Pull nothing any more; what is on its way here goes back to the queue."""
        self._stopping = True
        if self._awaited:
            self._forget_pull()
        else:
            self.retract()
        if self._subscription is not None:
            try:
                await self._subscription.drain()  # type: ignore[no-untyped-call]
            except (nats.errors.Error, TimeoutError, OSError):
                pass  # no connection: the server forgets our pulls by itself
            self._subscription = None

    def ask(self) -> None:
        """Pull now, for a `next` that follows soon; nothing happens where that is done, or not possible."""
        if self._waiting is not None or self._stopping or not self._broker.connected:
            return
        loop = asyncio.get_running_loop()
        self._token = str(next(self._numbers))
        try:
            self._broker.send(self._next, _ASK, f"{self._inbox}.{self._token}")
        except BrokerError:
            return
        self._waiting = loop.create_future()
        self._heard = loop.time()
        self._watch = loop.call_later(_SILENCE_S, self._listen_for_silence, self._waiting)

    def retract(self) -> None:
        """No `next` follows: a request that the pull has brought, or still brings, goes back to the queue."""
        waiting = self._waiting
        if waiting is None:
            return
        if not waiting.done():
            waiting.set_result(None)
        elif (brought := waiting.result()) is not None:
            self._send_back(brought)
        self._over()

    async def next(self) -> Delivery | None:
        """The next request; None after a while without one, or when it is time to stop."""
        self.ask()
        waiting = self._waiting
        if waiting is None:
            await asyncio.sleep(0 if self._stopping else 0.1)
            return None
        self._awaited = True
        try:
            message = await waiting
        finally:
            self._awaited = False
            self._over()
        if message is None:
            return None
        status = (message.headers or {}).get("Status")
        if status is None:
            return await self._delivery(message)
        if status not in ("404", "408"):
            # The consumer moves, is missing, or has too many pulls: not a reason to ask a thousand times.
            await asyncio.sleep(1.0 if status == "503" else 0.25)
        return None

    def _over(self) -> None:
        """The pull that was out has brought what it brings."""
        self._waiting = None
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _listen_for_silence(self, waiting: asyncio.Future[Msg | None]) -> None:
        """Ends a pull of which nothing was heard for too long."""
        loop = asyncio.get_running_loop()
        left_s = self._heard + _SILENCE_S - loop.time()
        if waiting.done():
            return
        if left_s <= 0:
            _log.warning("pull lost, pulling again")
            waiting.set_result(None)
        else:
            self._watch = loop.call_later(left_s, self._listen_for_silence, waiting)

    def _arrived(self, message: Msg) -> None:
        status = (message.headers or {}).get("Status")
        waiting = self._waiting
        if status is None:
            # A request; its subject is its own and does not say which pull it answers.
            if waiting is not None and not waiting.done():
                waiting.set_result(message)
            else:
                self._send_back(message)
        elif message.subject.rsplit(".", 1)[1] == self._token:
            if status == "100":
                self._heard = asyncio.get_running_loop().time()
            elif waiting is not None and not waiting.done():
                waiting.set_result(message)

    def _send_back(self, message: Msg) -> None:
        if message.reply:
            payload = b"-NAK " + json.dumps({"delay": int(_ORPHAN_DELAY_S * 1e9)}).encode()
            with contextlib.suppress(BrokerError):  # then it comes back after the acknowledgement's time
                self._broker.send(message.reply, payload)

    async def _delivery(self, message: Msg) -> Delivery | None:
        try:
            deliveries = deliveries_of(message.reply)
            head = RequestMessage.model_validate_json((message.headers or {})[messages.REQUEST_HEADER])
        except (KeyError, ValueError) as error:
            _log.error("a message that is no request was removed", error=str(error))
            await self._broker.publish(message.reply, b"+TERM")
            return None
        return Delivery(
            message=head,
            body=message.data,
            deliveries=deliveries,
            ack_subject=message.reply,
            broker=self._broker,
        )

    def _forget_pull(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
