"""Talking to the model container beside the worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import aiohttp
from yarl import URL

from holdfast_contract import names
from holdfast_contract.messages import RequestMessage
from holdfast_services.bodies import BodyStore
from holdfast_services.bounded import BoundedConnector

__all__ = ["BadAnswer", "Model", "ModelUnreachable"]

_KEEP_ALIVE_S: Final = 2.0
"""Shorter than model servers keep idle connections (uvicorn: 5 s): a connection that the model closes just when
it is used again looks like a crash."""
_HEALTH_TIMEOUT_S: Final = 5.0
_MAX_EXAMPLE_BYTES: Final = 16 * 1024 * 1024
"""Most that is read of the answer to an example."""
_AUTO_HEADERS: Final = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")


class ModelUnreachable(Exception):
    """The model refused or broke the connection before it answered, or what it sent is not HTTP."""


class BadAnswer(Exception):
    """The model answered with something that must not be passed on. Trying again would give the same."""


class Model:
    """The model's HTTP interface."""

    def __init__(self, base_url: str, health_check_path: str, bodies: BodyStore) -> None:
        """`base_url`: without a trailing slash."""
        self._base_url = base_url
        self._health_url = URL(base_url + health_check_path, encoded=True)
        self._bodies = bodies
        self._session = aiohttp.ClientSession(
            connector=BoundedConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_S),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=_AUTO_HEADERS,
            trust_env=False,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def healthy(self) -> bool:
        """Whether the health check answers 200 now."""
        try:
            async with asyncio.timeout(_HEALTH_TIMEOUT_S):
                async with self._session.get(self._health_url, allow_redirects=False) as answer:
                    return answer.status == 200
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False

    async def call(self, message: RequestMessage, body: bytes, attempt: int) -> aiohttp.ClientResponse:
        """Send the request; returns at the head of the answer, whose body is still to be read.

        Raises ModelUnreachable or BadAnswer, or the broker's errors where a stored body cannot be read.
        """
        headers = [
            *message.headers,
            (names.HEADER_REQUEST_ID, message.id),
            (names.HEADER_ATTEMPT, str(attempt)),
        ]
        if message.traceparent is not None:
            headers.append(("traceparent", message.traceparent))
        data: bytes | AsyncIterator[bytes] | None = body or None
        if message.body_object is not None:
            data = self._bodies.read(message.body_object)
            headers.append(("content-length", str(message.body_length)))
        try:
            answer = await self._session.request(
                message.method,
                # Encoded: `..`, `%2f` and the like reach the model exactly as they were sent.
                URL(self._base_url + message.path, encoded=True),
                headers=headers,
                data=data,
                allow_redirects=False,
            )
        except aiohttp.ClientResponseError as error:
            raise ModelUnreachable(f"the model's answer is not valid HTTP ({error.message})") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ModelUnreachable(f"the model could not be reached ({type(error).__name__})") from error
        if not 200 <= answer.status <= 599:
            answer.close()
            raise BadAnswer(f"the model answered with status {answer.status}")
        return answer

    async def post(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        """A request of the worker's own (contract examples). Raises ModelUnreachable."""
        try:
            async with self._session.request(
                method,
                URL(self._base_url + path, encoded=True),
                headers=headers,
                data=body or None,
                allow_redirects=False,
            ) as answer:
                read = bytearray()
                async for piece in answer.content.iter_any():
                    read += piece
                    if len(read) > _MAX_EXAMPLE_BYTES:
                        break  # what it is looked through for comes before that, or not at all
                return answer.status, bytes(read)
        except (aiohttp.ClientError, OSError) as error:
            raise ModelUnreachable(repr(error)) from error
