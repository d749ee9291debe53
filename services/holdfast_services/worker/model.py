"""Talking to the model container beside the worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from enum import Enum
from typing import Final

from holdfast_contract import names
from holdfast_contract.messages import RequestMessage
from holdfast_services.bodies import BodyStore
from holdfast_services.worker.client import Client, split_url
from holdfast_services.worker.exchange import Answer, Broken

__all__ = ["BadAnswer", "Health", "Model", "ModelUnreachable"]

_KEEP_ALIVE_S: Final = 2.0
"""Shorter than model servers keep idle connections (uvicorn: 5 s): a connection that the model closes just when
it is used again looks like a crash."""
_CONNECT_S: Final = 5.0
_HEALTH_TIMEOUT_S: Final = 5.0
_MAX_EXAMPLE_BYTES: Final = 16 * 1024 * 1024
"""Most that is read of the answer to an example."""
_OF_THE_CLIENT: Final = frozenset({"host", "content-length", "transfer-encoding"})
"""Said by the client itself."""


class ModelUnreachable(Exception):
    """The model refused or broke the connection before it answered, or what it sent is not HTTP."""


class BadAnswer(Exception):
    """The model answered with something that must not be passed on. Trying again would give the same."""


class Health(Enum):
    """What the health check says."""

    WELL = "well"
    UNWELL = "unwell"
    ABSENT = "absent"
    """Nothing listens yet, or any more."""


class Model:
    """The model's HTTP interface."""

    def __init__(self, base_url: str, health_check_path: str, bodies: BodyStore) -> None:
        """`base_url`: `http://host:port`, or with a path, without a trailing slash. Raises ValueError."""
        self._address, prefix = split_url(base_url)
        self._prefix = prefix.rstrip("/")
        self._health_path = self._prefix + health_check_path
        self._bodies = bodies
        self._client = Client(keep_s=_KEEP_ALIVE_S, connect_s=_CONNECT_S)

    def close(self) -> None:
        """Close all connections that are idle."""
        self._client.close()

    async def health(self) -> Health:
        """What the health check says now: well is an answer of 200."""
        try:
            async with asyncio.timeout(_HEALTH_TIMEOUT_S):
                answer = await self._client.request("GET", self._address, self._health_path, ())
        except ConnectionRefusedError:
            return Health.ABSENT
        except (OSError, ValueError):
            return Health.UNWELL
        answer.release()
        return Health.WELL if answer.status == 200 else Health.UNWELL

    async def call(
        self, message: RequestMessage, body: bytes, attempt: int, on_complete: Callable[[], None]
    ) -> Answer:
        """Send the request; returns at the head of the answer, whose body is still to be read. `on_complete`: called
        when all of it is here, from where that is seen.

        Raises ModelUnreachable or BadAnswer, or the broker's errors where a stored body cannot be read.
        """
        headers = [
            *message.headers,
            (names.HEADER_REQUEST_ID, message.id),
            (names.HEADER_ATTEMPT, str(attempt)),
        ]
        if message.traceparent is not None:
            headers.append(("traceparent", message.traceparent))
        data: bytes | AsyncIterator[bytes] = body
        if message.body_object is not None:
            data = self._bodies.read(message.body_object)
        try:
            answer = await self._client.request(
                message.method,
                self._address,
                # As it was sent: `..`, `%2f` and the like reach the model unchanged.
                self._prefix + message.path,
                headers,
                data,
                message.body_length,
                on_complete,
            )
        except (Broken, ValueError) as error:
            raise ModelUnreachable(f"the model gave no answer: {error}") from error
        except OSError as error:
            raise ModelUnreachable(f"the model could not be reached ({type(error).__name__})") from error
        if not 200 <= answer.status <= 599:
            answer.release()
            raise BadAnswer(f"the model answered with status {answer.status}")
        return answer

    async def post(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        """A request of the worker's own (contract examples). Raises ModelUnreachable."""
        own = [(name, value) for name, value in headers.items() if name not in _OF_THE_CLIENT]
        try:
            answer = await self._client.request(method, self._address, self._prefix + path, own, body)
        except (OSError, ValueError) as error:
            raise ModelUnreachable(repr(error)) from error
        read = bytearray()
        try:
            async for piece in answer.iterate():
                read += piece
                if len(read) > _MAX_EXAMPLE_BYTES:
                    break  # what it is looked through for comes before that, or not at all
        except OSError as error:
            raise ModelUnreachable(repr(error)) from error
        finally:
            answer.release()
        return answer.status, bytes(read)
