"""Large bodies for workers, where they lie in a bucket that only gateways may reach.

So no replica needs rights in AWS or a way out of the cluster: its model could use both. A worker shows a key of its
endpoint, made from one that only gateways have.
"""

from __future__ import annotations

import asyncio
import hmac
from typing import Any, Final
from urllib.parse import unquote

from holdfast_contract import names, tokens
from holdfast_services.bodies import BodyMissing, BodyStore
from holdfast_services.connection import BrokerError
from holdfast_services.gateway.held import Send
from holdfast_services.gateway.replies import Receive
from holdfast_services.logs import Log

__all__ = ["BodyPages"]

_log = Log("bodies")
_PREFIX: Final = names.PATH_BODIES + "/"
_BEARER: Final = "Bearer "


class BodyPages:
    """HEAD, GET, PUT and DELETE of `/bodies/<name>`, on the internal port."""

    def __init__(self, store: BodyStore, root: str) -> None:
        """`root`: the key that all endpoints' keys are made from; a second line while it is being replaced."""
        self._store = store
        self._roots = tuple(root.split())

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """One request. 204 or 200; 403 for another endpoint's key, 404 for no such body, 503 where the store fails,
        405 for any other method."""
        name = unquote(scope["path"].removeprefix(_PREFIX))
        if not self._opens(scope, name):
            await _answer(send, 403)
            return
        try:
            match scope["method"]:
                case "PUT":
                    await self._write(name, receive)
                    await _answer(send, 204)
                case "HEAD":
                    await _answer(send, 200, length=await self._store.size(name))
                case "GET":
                    await self._read(name, receive, send)
                case "DELETE":
                    await self._store.delete(name)
                    await _answer(send, 204)
                case _:
                    await _answer(send, 405)
        except BodyMissing:
            await _answer(send, 404)
        except BrokerError as error:
            _log.warning("body not served", name=name, method=scope["method"], error=str(error))
            await _answer(send, 503)

    def _opens(self, scope: dict[str, Any], name: str) -> bool:
        endpoint, _, rest = name.partition(".")
        given = next((value for key, value in scope["headers"] if key == b"authorization"), b"")
        opens = False
        for root in self._roots:
            wanted = f"{_BEARER}{tokens.body_key(root, endpoint)}".encode()
            opens |= hmac.compare_digest(given, wanted)
        return opens and bool(rest) and "/" not in name

    async def _write(self, name: str, receive: Receive) -> None:
        writer = self._store.writer(name)
        try:
            more = True
            while more:
                event = await receive()
                if event["type"] == "http.disconnect":
                    raise BrokerError("the worker went away in the middle")
                await writer.write(event.get("body", b""))
                more = event.get("more_body", False)
            await writer.finish()
        except BaseException:
            await asyncio.shield(writer.abandon())
            raise

    async def _read(self, name: str, receive: Receive, send: Send) -> None:
        length = await self._store.size(name)
        await send(_start(200, length))
        # What is sent to somebody who left is dropped without a word.
        leaving = asyncio.create_task(_left(receive))
        sent = 0
        try:
            async for piece in self._store.read(name):
                if leaving.done():
                    return
                sent += len(piece)
                await send({"type": "http.response.body", "body": piece, "more_body": sent < length})
            if not length:
                await send({"type": "http.response.body"})
        except BrokerError as error:
            # The head is out: too few bytes and an end of the connection say that it broke.
            _log.warning("body broke off", name=name, error=str(error))
        finally:
            leaving.cancel()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _start(status: int, length: int) -> dict[str, Any]:
    headers = [(b"content-length", str(length).encode()), (b"content-type", b"application/octet-stream")]
    return {"type": "http.response.start", "status": status, "headers": headers}


async def _answer(send: Send, status: int, length: int = 0) -> None:
    if status == 204:
        await send({"type": "http.response.start", "status": 204, "headers": []})
    else:
        await send(_start(status, length))
    await send({"type": "http.response.body"})
