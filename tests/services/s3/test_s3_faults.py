"""A bucket that answers as S3 may answer, and seldom does."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer

from holdfast_contract import names
from holdfast_services import s3
from holdfast_services.bodies import BodyMissing
from holdfast_services.connection import BrokerDown
from holdfast_services.s3 import S3Bodies, S3Bucket

NAME = names.body_name("chat", "01a20fc0-7158-7e5d-a5b7-385c782a1aaa")
MIB = 1024 * 1024
BODY = bytes(range(256)) * 1024
CUT = 100_000
PUT_TOGETHER = "<CompleteMultipartUploadResult><ETag>e-2</ETag></CompleteMultipartUploadResult>"

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "_FIRST_WAIT_S", 0.001)


@asynccontextmanager
async def bucket(handler: Handler) -> AsyncIterator[S3Bodies]:
    """Bodies in a bucket that answers as the handler does."""
    async with RawTestServer(handler) as server:
        bodies = await S3Bodies.connect(S3Bucket("b", "us-east-1", str(server.make_url("")).rstrip("/")))
        try:
            yield bodies
        finally:
            await bodies.close()


class Reads:
    """GETs: the first breaks off after CUT bytes; what those after it are answered, the test says."""

    def __init__(self, later: Callable[[], web.Response]) -> None:
        self.ranges: list[str | None] = []
        self._later = later

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        self.ranges.append(request.headers.get("range"))
        if len(self.ranges) > 1:
            return self._later()
        answer = web.StreamResponse(headers={"content-length": str(len(BODY))})
        await answer.prepare(request)
        await answer.write(BODY[:CUT])
        assert request.transport is not None
        request.transport.close()
        return answer


async def read(bodies: S3Bodies, came: bytearray | None = None) -> bytes:
    """The body; `came`: where its pieces are seen, should it break off."""
    came = bytearray() if came is None else came
    async for piece in bodies.read(NAME):
        came += piece
    return bytes(came)


async def test_a_bucket_that_knows_no_ranges_sends_the_body_anew_and_nothing_comes_twice() -> None:
    reads = Reads(lambda: web.Response(body=BODY))
    async with bucket(reads) as bodies:
        assert await read(bodies) == BODY
    assert len(reads.ranges) == 2
    assert reads.ranges[0] is None
    assert re.fullmatch(r"bytes=[1-9]\d*-", reads.ranges[1] or "")


def _part(content_range: str | None) -> Callable[[], web.Response]:
    headers = {} if content_range is None else {"content-range": content_range}
    return lambda: web.Response(status=206, body=BODY[:1000], headers=headers)


@pytest.mark.parametrize(
    ("later", "told"),
    [
        (_part(f"bytes 0-999/{len(BODY)}"), "'bytes 0-999/262144'"),
        (_part("bytes */262144"), r"'bytes \*/262144'"),
        (_part(None), "None"),
        (lambda: web.Response(body=BODY[:-1]), "262143 bytes, before it had 262144"),
        (lambda: web.Response(status=416), "status 416"),
        (lambda: web.Response(body=b"", headers={"content-length": "0"}), "0 bytes, before it had 262144"),
    ],
    ids=["elsewhere", "nowhere", "unsaid", "another body", "refused", "emptied"],
)
async def test_another_part_than_the_one_asked_for_is_never_passed_on(
    later: Callable[[], web.Response], told: str
) -> None:
    reads, came = Reads(later), bytearray()
    async with bucket(reads) as bodies:
        with pytest.raises(BrokerDown, match=rf"bucket b: GET {re.escape(NAME)}: .*{told}"):
            await read(bodies, came)
    assert len(reads.ranges) == 4
    assert BODY.startswith(came)


async def test_a_bucket_that_sends_nothing_more_is_not_asked_for_ever() -> None:
    def later() -> web.Response:
        start = int((reads.ranges[-1] or "").removeprefix("bytes=").removesuffix("-"))
        return web.Response(status=206, headers={"content-range": f"bytes {start}-262143/262144"})

    reads = Reads(later)
    async with bucket(reads) as bodies:
        with pytest.raises(BrokerDown, match=r"ended at byte [1-9]\d* of 262144"):
            await read(bodies)


async def test_a_body_removed_in_the_middle_of_a_read_is_missing() -> None:
    async with bucket(Reads(lambda: web.Response(status=404))) as bodies:
        with pytest.raises(BodyMissing, match="is not in the store"):
            await read(bodies)


async def test_a_body_whose_length_is_not_told_is_refused() -> None:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        answer = web.StreamResponse()
        answer.enable_chunked_encoding()
        await answer.prepare(request)
        await answer.write(BODY)
        return answer

    async with bucket(handler) as bodies:
        with pytest.raises(BrokerDown, match="without a length"):
            await read(bodies)


class Uploads:
    """An upload in parts whose end is answered as the test says: one answer after another, the last for ever."""

    def __init__(self, *ends: Callable[[], web.Response] | None, size: int | None = None) -> None:
        """`ends`: None closes the connection without an answer. `size`: of the object that is there by then."""
        self.asked: list[str] = []
        self._ends: Iterator[Callable[[], web.Response] | None] = iter(ends)
        self._size = size

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        async for _ in request.content.iter_any():
            pass
        if request.method == "PUT":
            return web.Response(headers={"etag": '"e"'})
        if request.method == "POST" and "uploads" in request.query:
            return web.Response(text="<UploadId>u</UploadId>")
        self.asked.append(request.method)
        if request.method == "HEAD":
            found = {} if self._size is None else {"content-length": str(self._size)}
            return web.Response(status=404 if self._size is None else 200, headers=found)
        end = next(self._ends)
        if end is None:
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        return end()


def _end(text: str, status: int = 200) -> Callable[[], web.Response]:
    return lambda: web.Response(status=status, text=text)


NO_SUCH_UPLOAD = _end("<Error><Code>NoSuchUpload</Code></Error>", 404)
INTERNAL = _end('<?xml version="1.0"?>\n\n  <Error><Code>InternalError</Code></Error>')


async def finish(uploads: Uploads) -> None:
    async with bucket(uploads) as bodies:
        writer = bodies.writer(NAME)
        await writer.write(b"x" * (9 * MIB))
        await writer.finish()


async def test_an_upload_whose_last_answer_was_lost_is_finished_where_the_body_is_there() -> None:
    uploads = Uploads(None, NO_SUCH_UPLOAD, size=9 * MIB)
    await finish(uploads)
    assert uploads.asked == ["POST", "POST", "HEAD"]


@pytest.mark.parametrize("size", [None, 0, 9 * MIB - 1])
async def test_an_upload_that_is_gone_is_not_finished_where_the_body_is_not_there_whole(
    size: int | None,
) -> None:
    uploads = Uploads(NO_SUCH_UPLOAD, size=size)
    with pytest.raises(BrokerDown, match=rf"body {re.escape(NAME)} was not put together: .*NoSuchUpload"):
        await finish(uploads)


async def test_a_failure_told_with_status_200_is_tried_again() -> None:
    uploads = Uploads(INTERNAL, _end(""), _end(PUT_TOGETHER))
    await finish(uploads)
    assert uploads.asked == ["POST", "POST", "POST"]


async def test_failures_told_with_status_200_are_a_failure_after_four_tries() -> None:
    uploads = Uploads(*[INTERNAL] * 4)
    with pytest.raises(BrokerDown, match=rf"bucket b: POST {re.escape(NAME)}: status 200 .*InternalError"):
        await finish(uploads)
    assert uploads.asked == ["POST"] * 4
