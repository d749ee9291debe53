"""One HTTP/1.1 exchange on one connection, from the asking side. Opening and keeping connections is `client`'s."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final, cast

import httptools

__all__ = ["MAX_OVERHEAD_BYTES", "Answer", "Body", "Broken", "Link"]

MAX_OVERHEAD_BYTES: Final = 256 * 1024
"""Received of one answer, and not its body. Heads that are passed on may have a quarter of it."""
_BODY_PAYS_FOR: Final = 16
"""Bytes of chunk framing that a byte of body stands for: chunks of one byte take six."""
_AHEAD_BYTES: Final = 128 * 1024
"""Most of a body that is read before somebody takes it, give or take one read from the socket."""

Body = bytes | AsyncIterator[bytes]
"""Of a request: as a whole, or as it comes."""


class Broken(ConnectionError):
    """The other side went away, or what it sent is no HTTP, or more than there may be of it."""


class Answer:
    """What a server answers: its head first, its body as it comes. Release it, whatever happens."""

    def __init__(self, link: Link, *, head_only: bool, on_complete: Callable[[], None]) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        """In order, as they were sent."""
        self.length: int | None = None
        """Bytes of body as the server says; None: it does not."""
        self.complete = False
        """Whether the whole body is here."""
        self.begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the head is here."""
        self._head_only = head_only
        self._on_complete = on_complete
        self._until_closed = False
        self._link: Link | None = link
        self._pieces: list[bytes] = []
        self._ahead_bytes = 0
        self._body_bytes = 0
        self._received_bytes = 0
        self._error: Exception | None = None
        self._news: asyncio.Future[None] | None = None

    async def wait_complete(self) -> None:
        """Return when the whole body is here. For bodies that are known to be small: a large one is not read
        further than some way ahead. Raises Broken."""
        while not self.complete:
            await self._wait()

    def read(self) -> bytes:
        """What is here of the body and was not read yet."""
        pieces, self._pieces, self._ahead_bytes = self._pieces, [], 0
        if self._link is not None:
            self._link.read_on()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def iterate(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises Broken where it breaks off, after all that came before."""
        while True:
            if self._pieces:
                yield self.read()
            elif self.complete:
                return
            else:
                await self._wait()

    def release(self) -> None:
        """Nobody reads on: the connection is used again where that is possible, and else closed at once."""
        if self._link is not None:
            self._link.released(self)
            self._link = None

    async def _wait(self) -> None:
        if self._error is not None:
            raise self._error
        self._news = asyncio.get_running_loop().create_future()
        await self._news

    # --- of the link --------------------------------------------------------------------------------------
    def headed(self, status: int) -> bool:
        """The head is whole; whether its body is, too, since there is none."""
        self.status = status
        framed = False
        for name, value in self.headers:
            lower = name.lower()
            if lower == b"content-length":
                self.length, framed = int(value), True
            elif lower == b"transfer-encoding":
                framed = True
        self._until_closed = not framed
        return self._head_only

    def tell_begun(self) -> None:
        """After all that came with the head was looked at, so that whoever waits for the end hears of it first."""
        if self.status and not self.begun.done():
            self.begun.set_result(None)

    def received(self, size: int) -> None:
        """So many bytes came, of whatever."""
        self._received_bytes += size

    @property
    def excessive(self) -> bool:
        """Whether more came than there is body for."""
        return (
            self._received_bytes > MAX_OVERHEAD_BYTES
            and self._received_bytes - _BODY_PAYS_FOR * self._body_bytes > MAX_OVERHEAD_BYTES
        )

    def add(self, piece: bytes) -> bool:
        """A piece of body; whether to stop reading for now."""
        self._pieces.append(piece)
        self._body_bytes += len(piece)
        self._ahead_bytes += len(piece)
        self._tell()
        return self._ahead_bytes > _AHEAD_BYTES

    def end(self) -> None:
        """The body is whole."""
        self.complete = True
        self._on_complete()
        self._tell()

    def closed(self, error: Exception | None) -> None:
        """The connection is: which is how an answer without a length ends."""
        if error is None and self.status and self._until_closed:
            self.end()
        else:
            self.fail(error or Broken("the connection was closed before the answer was complete"))

    def fail(self, error: Exception) -> None:
        """It ends here."""
        if self.complete or self._error is not None:
            return
        self._error = error
        if not self.begun.done():
            self.begun.set_exception(error)
        self._tell()

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)


class Link(asyncio.Protocol):
    """One connection; one exchange at a time."""

    def __init__(self, keep: Callable[[Link], None]) -> None:
        self.kept_at = 0.0
        """When its last exchange ended, on the loop's clock."""
        self._keep = keep
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        # As lenient as other clients of model servers are.
        self._parser.set_dangerous_leniencies(
            lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        self._answer: Answer | None = None
        self._again = False
        """Whether the server keeps the connection after this answer."""
        self._sending: asyncio.Task[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._reading = True

    @property
    def usable(self) -> bool:
        """Whether another exchange may begin."""
        return self._transport is not None and not self._transport.is_closing()

    async def exchange(
        self, method: str, head: bytes, body: Body, length: int | None, on_complete: Callable[[], None]
    ) -> Answer:
        """Send it; returns at the answer's head. Raises Broken, or what `body` raises."""
        self._again = False
        self._answer = answer = Answer(self, head_only=method == "HEAD", on_complete=on_complete)
        try:
            if isinstance(body, bytes):
                self._write(head + body)
            else:
                self._sending = asyncio.get_running_loop().create_task(self._send(answer, head, body, length))
            await answer.begun
        except BaseException:
            answer.release()
            raise
        return answer

    def released(self, answer: Answer) -> None:
        """Its answer is not read any more."""
        self._answer = None
        sending, self._sending = self._sending, None
        if sending is not None and not sending.done():
            sending.cancel()
            self.abort()
        if answer.complete and self._again and self.usable:
            self.read_on()
            self._keep(self)
        else:
            self.abort()

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        if self._transport is not None:
            self._transport.abort()

    def read_on(self) -> None:
        """What was read ahead has been taken."""
        if not self._reading and self._transport is not None:
            self._reading = True
            self._transport.resume_reading()

    async def _send(
        self, answer: Answer, head: bytes, body: AsyncIterator[bytes], length: int | None
    ) -> None:
        """`length`: bytes of body, as the head says; None: in chunks."""
        ahead, sent = head, 0
        try:
            async for piece in body:
                if not piece:
                    continue  # as a chunk it would be the last
                sent += len(piece)
                self._write(ahead + (piece if length is not None else b"%x\r\n%b\r\n" % (len(piece), piece)))
                ahead = b""
                if self._writable is not None:
                    await self._writable
            if length is not None and sent != length:
                raise Broken(f"the body has {sent} bytes, not {length}")
            self._write(ahead if length is not None else ahead + b"0\r\n\r\n")
        except Exception as error:
            answer.fail(error)
            self.abort()

    def _write(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            raise Broken("the connection is closed")
        if data:
            self._transport.write(data)

    def _fail(self, error: Exception) -> None:
        if self._answer is not None:
            self._answer.fail(error)
        self.abort()

    # --- of the event loop --------------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed."""
        self._transport = None
        self.resume_writing()
        if self._answer is not None:
            self._answer.closed(exc and Broken(repr(exc)))

    def pause_writing(self) -> None:
        """The other side does not read as fast as we send."""
        self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """It has read."""
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    def data_received(self, data: bytes) -> None:
        """A piece of an answer."""
        answer = self._answer
        if answer is None:
            self.abort()  # an answer that nobody asked for must not become the next one's
            return
        answer.received(len(data))
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            answer.tell_begun()
            self._fail(Broken(f"what was sent is not HTTP ({error})"))
            return
        answer.tell_begun()
        if answer.excessive:
            self._fail(Broken(f"more than {MAX_OVERHEAD_BYTES} bytes were sent beside the body"))

    # --- of the parser ------------------------------------------------------------------------------------
    def on_message_begin(self) -> None:
        """An answer begins."""
        if self._answer is not None and self._answer.complete:
            self._again = False  # a second one, which must not become the next request's

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; trailers, which nobody asked for, are dropped."""
        if self._answer is not None and not self._answer.status:
            self._answer.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """A head is whole."""
        if self._answer is None:
            return
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            self._answer.headers.clear()  # `103 Early Hints` and the like: the answer is still to come
        elif self._answer.headed(status):
            self._answer.end()  # to HEAD: the parser would wait for the body, so this connection is not used again

    def on_body(self, body: bytes) -> None:
        """A piece of body."""
        answer = self._answer
        if answer is None or answer.complete:
            return
        if answer.add(body) and self._reading and self._transport is not None:
            self._reading = False
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        """The answer is whole, or an interim one."""
        if self._answer is not None and self._answer.status and not self._answer.complete:
            self._again = bool(self._parser.should_keep_alive())
            self._answer.end()
