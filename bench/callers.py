"""Callers of a soak: each asks, waits, checks what it got, and asks again. They know only HTTP."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from typing import Any, Final

import aiohttp

from bench.accounts import Ending, Outcome
from holdfast_contract import names

__all__ = ["KINDS", "Callers"]

KINDS: Final = {"sync": 40, "keyed": 15, "stream": 25, "async": 15, "leaving": 5}
"""Shares. `keyed`: synchronous with an idempotency key, asked again until answered. `leaving`: goes away early."""
_HUNG_S: Final = 150.0
_CHUNKS: Final = 6
_LARGE_BYTES: Final = 300 * 1024
"""Above what travels inside the message: goes through the object store."""
_Read = Callable[[aiohttp.ClientResponse, int, bytes, str | None], Awaitable[tuple[Ending, str | None, str]]]
_BROKEN: Final = (aiohttp.ClientError, ConnectionError)


class _Unknown(Exception):
    """The connection broke before an answer began."""


class Callers:
    """`gateways`: URLs of all; a caller takes any, as behind a load balancer, and another where it is refused."""

    def __init__(
        self, http: aiohttp.ClientSession, gateways: Sequence[str], endpoint: str, token: str, seed: int
    ) -> None:
        self._http = http
        self._gateways = gateways
        self._endpoint = endpoint
        self._headers = {"authorization": f"Bearer {token}"}
        self._numbers = count(1)
        self._random = random.Random(seed)
        self.outcomes: list[Outcome] = []
        self.answer_s: list[float] = []
        """Of answered synchronous ones."""
        self.kinds = dict(KINDS)
        self.slowest_ms = 105
        """What the model is asked to take, at most."""
        self.asked = 0
        """Requests so far."""
        self._last_seen: dict[int, str] = {}
        """What was heard last of each request that is under way: for the report on one without an end."""

    async def run(self, callers: int, until: Callable[[], bool]) -> None:
        """So many callers at the same time, until `until()`; returns when the last one has its answer."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(callers):
                tasks.create_task(self._caller(until))

    async def _caller(self, until: Callable[[], bool]) -> None:
        while not until():
            number = self.asked = next(self._numbers)
            kind = self._random.choices(list(self.kinds), list(self.kinds.values()))[0]
            began = time.monotonic()
            try:
                async with asyncio.timeout(_HUNG_S):
                    outcome = await self._ask(number, kind)
            except TimeoutError:
                outcome = Outcome(number, kind, Ending.HUNG, None, self._last_seen.get(number, ""))
            self._last_seen.pop(number, None)
            self.outcomes.append(outcome)
            if outcome.ending is Ending.ANSWERED and kind == "sync":
                self.answer_s.append(time.monotonic() - began)
            if outcome.ending in (Ending.REFUSED, Ending.CUT):
                await asyncio.sleep(0.2)

    async def _ask(self, number: int, kind: str) -> Outcome:
        match kind:
            case "stream":
                return await self._once(number, kind, self._stream)
            case "leaving":
                return await self._leaving(number)
            case "keyed":
                return await self._keyed(number, self._whole, {})
            case "async":
                return await self._keyed(number, self._submitted, {"prefer": "respond-async"})
            case _:
                return await self._once(number, kind, self._whole)

    # --- kinds --------------------------------------------------------------------------------------------
    async def _once(self, number: int, kind: str, read: _Read) -> Outcome:
        try:
            ending, request_id, detail = await self._send(number, read, {})
        except _Unknown as error:
            return Outcome(number, kind, Ending.CUT, None, str(error))
        return Outcome(number, kind, ending, request_id, detail)

    async def _keyed(self, number: int, read: _Read, headers: dict[str, str]) -> Outcome:
        """As clients do that must not lose anything: the same key until there is an answer."""
        kind = "async" if headers else "keyed"
        key = {names.HEADER_IDEMPOTENCY_KEY: f"soak-{number}", **headers}
        while True:
            try:
                ending, request_id, detail = await self._send(number, read, key)
            except _Unknown as error:
                self._last_seen[number] = str(error)
                await asyncio.sleep(0.2)
                continue
            self._last_seen[number] = f"{ending.value} {request_id} {detail}"
            if ending is Ending.REFUSED or ending is Ending.BROKE_OFF:
                await asyncio.sleep(0.2)
                continue
            return Outcome(number, kind, ending, request_id, detail)

    async def _leaving(self, number: int) -> Outcome:
        try:
            async with asyncio.timeout(self._random.uniform(0.001, 0.15)):
                return await self._once(number, "leaving", self._whole)
        except TimeoutError:
            return Outcome(number, "leaving", Ending.LEFT)

    # --- one request --------------------------------------------------------------------------------------
    async def _send(
        self, number: int, read: _Read, headers: dict[str, str]
    ) -> tuple[Ending, str | None, str]:
        """Raises _Unknown where the connection breaks before an answer begins."""
        size = _LARGE_BYTES if number % 97 == 0 else number * 37 % 2048
        body = (b"%d " % number) * (size // len(b"%d " % number) + 1)
        sent = {
            **self._headers,
            **headers,
            "x-delay-ms": str(5 + number * 29 % (self.slowest_ms - 4)),
            "content-type": "application/octet-stream",
        }
        if read == self._stream:
            sent |= {"x-stream-chunks": str(_CHUNKS), "x-chunk-interval-ms": "15", "x-stream-kind": "sse"}
        for gateway in self._random.sample(list(self._gateways), len(self._gateways)):
            url = f"{gateway}{names.PATH_ENDPOINT}/{self._endpoint}/n/{number}"
            try:
                async with self._http.post(url, data=body, headers=sent) as answer:
                    return await self._judge(answer, number, body, read)
            except aiohttp.ClientConnectorError:
                continue  # nobody listens there: a load balancer takes the next
            except _BROKEN as error:
                raise _Unknown(repr(error)) from error
        return Ending.REFUSED, None, "no gateway listens"

    async def _judge(
        self, answer: aiohttp.ClientResponse, number: int, body: bytes, read: _Read
    ) -> tuple[Ending, str | None, str]:
        request_id = answer.headers.get(names.HEADER_REQUEST_ID)
        if answer.status < 300:
            try:
                return await read(answer, number, body, request_id)
            except _BROKEN as error:
                return Ending.BROKE_OFF, request_id, repr(error)
        text = await answer.text()
        detail = f"{answer.status} {text[:300]}"
        again = answer.headers.get(names.HEADER_SHOULD_RETRY) != "false"
        if answer.status in (409, 429, 503) and again:
            return Ending.REFUSED, request_id, detail
        return Ending.ERRED if answer.status == 500 else Ending.TOLD, request_id, detail

    async def _whole(
        self, answer: aiohttp.ClientResponse, number: int, body: bytes, request_id: str | None
    ) -> tuple[Ending, str | None, str]:
        data = json.loads(await answer.read())
        return self._right(data, number, body), request_id, ""

    def _right(self, data: dict[str, Any], number: int, body: bytes) -> Ending:
        right = data["path"] == f"/n/{number}" and data["body_sha256"] == hashlib.sha256(body).hexdigest()
        return Ending.ANSWERED if right else Ending.WRONG

    async def _stream(
        self, answer: aiohttp.ClientResponse, number: int, body: bytes, request_id: str | None
    ) -> tuple[Ending, str | None, str]:
        text = (await answer.read()).decode()
        if "event: error" in text:
            return Ending.BROKE_OFF, request_id, "an error event"
        complete = text.count("data: ") == _CHUNKS
        return (Ending.ANSWERED if complete else Ending.WRONG), request_id, f"{len(text)} bytes"

    async def _submitted(
        self, answer: aiohttp.ClientResponse, number: int, body: bytes, request_id: str | None
    ) -> tuple[Ending, str | None, str]:
        """Poll until the request ended, then read its result; any gateway will do."""
        if answer.status != 202:
            # The same key again, after it has ended: the result itself.
            return await self._whole(answer, number, body, request_id)
        submitted = json.loads(await answer.read())
        path = f"{names.PATH_REQUESTS}/{submitted['id']}"
        while True:
            record = await self._poll(f"{path}?wait=5")
            self._last_seen[number] = f"{path}: {record}"
            if record is None or record["status"] in ("QUEUED", "RUNNING"):
                continue
            if record["status"] != "SUCCEEDED":
                return Ending.TOLD, submitted["id"], str(record)
            result = await self._poll(f"{path}/result")
            if result is not None:
                return self._right(result, number, body), submitted["id"], ""

    async def _poll(self, path: str) -> dict[str, Any] | None:
        try:
            url = self._random.choice(list(self._gateways)) + path
            async with self._http.get(url, headers=self._headers) as answer:
                if answer.status == 200:
                    return dict(json.loads(await answer.read()))
        except _BROKEN:
            pass
        await asyncio.sleep(0.2)
        return None
