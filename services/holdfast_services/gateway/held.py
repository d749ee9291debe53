"""The callers that this gateway holds while their requests wait and run."""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from holdfast_contract import names
from holdfast_services.gateway.core.refusal import Refusal

__all__ = ["Held", "HeldRequests", "Outcome", "ReplySigner", "Send"]

Send = Callable[[dict[str, Any]], Awaitable[None]]
_SIGNATURE_CHARS: Final = 43


class Outcome(Enum):
    """How holding ended."""

    ANSWERED = "answered"
    """The whole answer was handed to the caller's connection."""
    BROKEN = "broken"
    """The answer broke off after it had begun: the connection must be cut."""
    GONE = "gone"
    """The caller went away."""
    STORED = "stored"
    """The answer could not be streamed here; its record says where it is."""


@dataclass(slots=True, eq=False)
class Held:
    """One caller who waits for an answer."""

    id: str
    endpoint: str
    accepted_at: float
    send: Send
    """The caller's connection."""
    head_only: bool
    """A HEAD request: the answer has no body."""
    keepalive_s: float
    """Seconds between keep-alive comments on an event stream; 0: none."""
    result: asyncio.Future[Outcome | Refusal]
    sequence: int | None = None
    """In the endpoint's stream; None: not known."""
    committed: bool = False
    """The status line is out: no other attempt may answer any more."""
    running: bool = False
    """A replica is known to work on it."""
    attempt: int = 0
    replica: str = ""
    queue_s: float = 0.0
    model_s: float = 0.0
    status: int = 0
    told: bool = False
    """A worker has said how the request ended."""
    cold: bool = False
    """No replica was ready when it was accepted."""
    extra_headers: tuple[tuple[bytes, bytes], ...] = ()
    reply_task: asyncio.Task[Any] | None = None
    """Where an answer is being received; cancelled when the caller goes away."""
    on_committed: list[Callable[[Held], None]] = field(default_factory=list)

    def finish(self, result: Outcome | Refusal) -> bool:
        """End holding, the first time only; False where it had ended."""
        if self.result.done():
            return False
        self.result.set_result(result)
        if self.reply_task is not None and result is not Outcome.ANSWERED and result is not Outcome.BROKEN:
            self.reply_task.cancel()
        return True


class HeldRequests:
    """All held callers of this gateway, by request and by endpoint."""

    def __init__(self) -> None:
        self._by_id: dict[str, Held] = {}
        self._by_endpoint: dict[str, dict[str, Held]] = {}
        self.nobody = asyncio.Event()
        """Set while nobody is held."""
        self.nobody.set()

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Held]:
        return iter(list(self._by_id.values()))

    def add(self, held: Held) -> None:
        """Start holding."""
        self._by_id[held.id] = held
        self.nobody.clear()
        self._by_endpoint.setdefault(held.endpoint, {})[held.id] = held

    def remove(self, held: Held) -> None:
        """Stop holding."""
        self._by_id.pop(held.id, None)
        if not self._by_id:
            self.nobody.set()
        of_endpoint = self._by_endpoint.get(held.endpoint)
        if of_endpoint is not None:
            of_endpoint.pop(held.id, None)
            if not of_endpoint:
                del self._by_endpoint[held.endpoint]

    def get(self, request_id: str) -> Held | None:
        """The caller who waits for this request; None: nobody does."""
        return self._by_id.get(request_id)

    def of(self, endpoint: str) -> list[Held]:
        """Everybody who waits for an endpoint."""
        return list(self._by_endpoint.get(endpoint, {}).values())

    def endpoints(self) -> list[str]:
        """Endpoints that somebody waits for."""
        return list(self._by_endpoint)


class ReplySigner:
    """Makes the URL that one request's answer may be sent to. The key is this process's own and never leaves it,
    so a reply cannot be forged, and one for a gateway that has restarted is told from one for a caller who left.
    """

    def __init__(self, base_url: str, key: bytes | None = None) -> None:
        """`base_url`: this gateway's internal listener as workers reach it."""
        self._base_url = base_url
        self._key = key or secrets.token_bytes(32)

    def url(self, request_id: str) -> str:
        """Where to send the answer of a request."""
        return f"{self._base_url}{names.PATH_REPLY}/{request_id}?sig={self.signature(request_id)}"

    def signature(self, request_id: str) -> str:
        """HMAC-SHA256, hexadecimal, the first 43 characters (172 bits)."""
        return hmac.digest(self._key, request_id.encode(), "sha256").hex()[:_SIGNATURE_CHARS]

    def valid(self, request_id: str, signature: str) -> bool:
        """Compared in constant time."""
        return hmac.compare_digest(
            self.signature(request_id).encode(), signature.encode("utf-8", "surrogateescape")
        )
