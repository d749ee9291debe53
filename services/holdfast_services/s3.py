"""Large bodies in an S3 bucket, or whatever speaks its protocol.

Requests are aiohttp's, signed by botocore, whose chain also finds the credentials: an EKS pod identity, a role of the
service account, the environment, the machine. (aiobotocore would do both, but holds botocore back by months.)
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote
from xml.sax.saxutils import escape

import aiohttp
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.session import Session
from multidict import CIMultiDictProxy
from yarl import URL

from holdfast_services.bodies import BodyMissing, BodyWriter
from holdfast_services.connection import BrokerDown
from holdfast_services.logs import Log

__all__ = ["S3Bodies", "S3Bucket"]

_log = Log("s3")
_PART_BYTES: Final = 8 * 1024 * 1024
"""S3 takes parts of 5 MiB or more; 10,000 of these make 78 GiB."""
_PIECE_BYTES: Final = 128 * 1024
_TRIES: Final = 4
_FIRST_WAIT_S: Final = 0.2
_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, connect=5, sock_read=30)
_UPLOAD_ID: Final = re.compile(r"<UploadId>([^<]+)</UploadId>")
_PUT_TOGETHER: Final = b"<CompleteMultipartUploadResult"
_SPAN: Final = re.compile(r"bytes (\d+)-\d+/(\d+)")
_SAFE: Final = "-_.~/"


@dataclass(frozen=True, slots=True)
class S3Bucket:
    """Where the bodies are."""

    name: str
    region: str
    endpoint_url: str | None = None
    """Another server that speaks S3's protocol; None: AWS."""

    @property
    def url(self) -> str:
        """Of the bucket, without a trailing slash."""
        if self.endpoint_url is not None:
            return f"{self.endpoint_url.rstrip('/')}/{self.name}"
        suffix = "amazonaws.com.cn" if self.region.startswith("cn-") else "amazonaws.com"
        return f"https://{self.name}.s3.{self.region}.{suffix}"


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: CIMultiDictProxy[str]
    body: bytes


class S3Bodies:
    """A BodyStore in a bucket. Keys: `bodies/<endpoint>/<rest of the name>`. Raises BrokerDown where it does not
    answer as it should, after four tries."""

    def __init__(self, bucket: S3Bucket, credentials: Credentials) -> None:
        self._bucket = bucket
        self._credentials = credentials
        self._session = aiohttp.ClientSession(timeout=_TIMEOUT, auto_decompress=False)

    @classmethod
    async def connect(cls, bucket: S3Bucket) -> S3Bodies:
        """With the credentials that this process has. Raises ValueError where it has none."""
        credentials = await asyncio.to_thread(
            lambda: Session().get_credentials()
        )  # asks by requests that block
        if credentials is None:
            raise ValueError(
                f"no AWS credentials for bucket {bucket.name}: give the gateway's service account a pod identity "
                "or a role"
            )
        return cls(bucket, credentials)

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    def writer(self, name: str) -> BodyWriter:
        """See `BodyStore`."""
        return _Writer(self, name)

    async def size(self, name: str) -> int:
        """See `BodyStore`."""
        answer = await self.ask("HEAD", name)
        if answer.status == 404:
            raise _missing(name)
        return int(answer.headers["content-length"])

    async def read(self, name: str) -> AsyncIterator[bytes]:
        """See `BodyStore`. Where the connection breaks, a new one goes on at the same byte; of a server that knows
        no ranges, and sends the body anew, what was passed on already is left out."""
        done, size, tries = 0, None, 0
        while size is None or done < size:
            try:
                async with self._open("GET", name, {"range": f"bytes={done}-"} if done else {}) as answer:
                    if answer.status == 404:
                        raise _missing(name)
                    at, whole = _span(answer, done)
                    if size not in (None, whole):
                        raise aiohttp.ClientPayloadError(f"a body of {whole} bytes, before it had {size}")
                    size = whole
                    async for piece in answer.content.iter_chunked(_PIECE_BYTES):
                        new = piece[max(0, done - at) :]
                        at += len(piece)
                        if new:
                            done += len(new)
                            tries = 0
                            yield new
                    if done < size:
                        raise aiohttp.ClientPayloadError(f"ended at byte {done} of {size}")
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                tries += 1
                await self._again(f"GET {name}", repr(error), tries)

    async def delete(self, name: str) -> None:
        """See `BodyStore`."""
        await self.ask("DELETE", name)

    async def ask(
        self,
        method: str,
        name: str,
        query: Mapping[str, str] | None = None,
        body: bytes = b"",
        settles: Callable[[_Answer], bool] | None = None,
    ) -> _Answer:
        """One request whose answer is small. That there is no such body is an answer; no such bucket is not.

        `settles`: whether an answer is one (None: as its status says); what is none, and might be at the next try,
        is asked for again.
        """
        settled = settles or (
            lambda read: read.status < 300 or (read.status == 404 and method in ("HEAD", "DELETE"))
        )
        tries = 0
        while True:
            try:
                async with self._open(method, name, {}, query, body) as answer:
                    read = _Answer(answer.status, answer.headers, await answer.read())
                if settled(read):
                    return read
                why = f"status {read.status} {read.body[:200]!r}"
                if 300 <= read.status < 500 and read.status not in (408, 429):
                    raise BrokerDown(f"bucket {self._bucket.name}: {method} {name}: {why}")
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                why = repr(error)
            tries += 1
            await self._again(f"{method} {name}", why, tries)

    async def _again(self, what: str, why: str, tries: int) -> None:
        if tries >= _TRIES:
            raise BrokerDown(f"bucket {self._bucket.name}: {what}: {why}")
        _log.warning("bucket asked again", what=what, why=why)
        await asyncio.sleep(_FIRST_WAIT_S * 2 ** (tries - 1))

    def _open(
        self,
        method: str,
        name: str,
        headers: Mapping[str, str],
        query: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> _Request:
        return _Request(self, method, self._url(name, query), dict(headers), body)

    def _url(self, name: str, query: Mapping[str, str] | None) -> str:
        endpoint, _, rest = name.partition(".")
        found = f"{self._bucket.url}/{quote(f'bodies/{endpoint}/{rest}', safe=_SAFE)}"
        if query is not None:
            found += "?" + "&".join(f"{key}={quote(value, safe='-_.~')}" for key, value in query.items())
        return found

    async def send(
        self, method: str, url: str, headers: dict[str, str], body: bytes
    ) -> aiohttp.ClientResponse:
        """One signed request."""
        # Credentials that expire are renewed here, by requests that block.
        frozen = await asyncio.to_thread(self._credentials.get_frozen_credentials)
        signed = _signed(frozen, self._bucket.region, method, url, headers, body)
        # As it was signed: aiohttp would write some characters another way.
        literal = URL(url, encoded=True)
        return await self._session.request(method, literal, headers=signed, data=body, allow_redirects=False)


class _Request:
    """`async with`: a request is sent, and its answer let go of at the end."""

    def __init__(self, bodies: S3Bodies, method: str, url: str, headers: dict[str, str], body: bytes) -> None:
        self._asked = (method, url, headers, body)
        self._bodies = bodies
        self._answer: aiohttp.ClientResponse | None = None

    async def __aenter__(self) -> aiohttp.ClientResponse:
        self._answer = await self._bodies.send(*self._asked)
        return self._answer

    async def __aexit__(self, *_: object) -> None:
        if self._answer is not None:
            # A body that was not read to its end cannot be skipped: it may be gigabytes.
            self._answer.release() if self._answer.content.at_eof() else self._answer.close()


class _Writer:
    """Small bodies in one request, others in parts."""

    def __init__(self, bodies: S3Bodies, name: str) -> None:
        self._bodies = bodies
        self.name = name
        self._buffer = bytearray()
        self._upload: str | None = None
        self._parts: list[str] = []
        self._size = 0

    async def write(self, data: bytes) -> None:
        self._size += len(data)
        self._buffer += data
        while len(self._buffer) >= _PART_BYTES:
            part = bytes(self._buffer[:_PART_BYTES])
            del self._buffer[:_PART_BYTES]
            await self._store(part)

    async def finish(self) -> None:
        rest = bytes(self._buffer)
        self._buffer.clear()
        if self._upload is None:
            await self._bodies.ask("PUT", self.name, None, rest)
            return
        if rest:
            await self._store(rest)
        parts = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{escape(tag)}</ETag></Part>"
            for number, tag in enumerate(self._parts, 1)
        )
        whole = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
        answer = await self._bodies.ask("POST", self.name, {"uploadId": self._upload}, whole, _upload_ended)
        if answer.status == 404 and not await self._is_there():
            raise BrokerDown(f"body {self.name} was not put together: {answer.body[:200]!r}")
        self._upload = None

    async def abandon(self) -> None:
        self._buffer.clear()
        if self._upload is not None:
            await self._bodies.ask("DELETE", self.name, {"uploadId": self._upload})
            self._upload = None

    async def _is_there(self) -> bool:
        """Whether all of it is stored. Names are new: what is there is of this upload, whose end was asked for twice
        since the first answer was lost. (By its size: with a key of KMS, no ETag can be foretold.)"""
        try:
            return await self._bodies.size(self.name) == self._size
        except BodyMissing:
            return False

    async def _store(self, part: bytes) -> None:
        if self._upload is None:
            begun = await self._bodies.ask("POST", self.name, {"uploads": ""})
            found = _UPLOAD_ID.search(begun.body.decode("utf-8", "replace"))
            if found is None:
                raise BrokerDown(f"body {self.name}: the bucket began no upload: {begun.body[:200]!r}")
            self._upload = found[1]
        query = {"partNumber": str(len(self._parts) + 1), "uploadId": self._upload}
        answer = await self._bodies.ask("PUT", self.name, query, part)
        self._parts.append(answer.headers["etag"])


def _signed(
    credentials: ReadOnlyCredentials,
    region: str,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
) -> dict[str, str]:
    digest = hashlib.sha256(body).hexdigest()
    request = AWSRequest(method, url, headers={**headers, "x-amz-content-sha256": digest}, data=body)
    S3SigV4Auth(credentials, "s3", region).add_auth(request)
    return dict(request.headers.items())


def _span(answer: aiohttp.ClientResponse, start: int) -> tuple[int, int]:
    """At which byte of the body the answer begins, and how many the body has. Raises ClientPayloadError for another
    part than the one from `start` on."""
    if answer.status == 200:
        if answer.content_length is None:
            raise aiohttp.ClientPayloadError("a body without a length")
        return 0, answer.content_length
    if answer.status != 206:
        raise aiohttp.ClientPayloadError(f"status {answer.status}")
    told = answer.headers.get("content-range")
    found = _SPAN.fullmatch(told or "")
    if found is None or int(found[1]) != start:
        raise aiohttp.ClientPayloadError(f"asked for bytes from {start} on, told {told!r}")
    return start, int(found[2])


def _upload_ended(answer: _Answer) -> bool:
    """S3 tells failures of an upload's end with status 200, once it has begun to answer."""
    return answer.status == 404 or (answer.status == 200 and _PUT_TOGETHER in answer.body)


def _missing(name: str) -> BodyMissing:
    return BodyMissing(f"body {name} is not in the store (bodies are kept 24 hours)")
