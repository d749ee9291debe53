"""Bodies in a bucket, over the wire."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from holdfast_contract import names
from holdfast_services import s3
from holdfast_services.bodies import BodyMissing
from holdfast_services.connection import BrokerDown
from holdfast_services.s3 import S3Bodies, S3Bucket

if TYPE_CHECKING:
    from conftest import Moto

NAME = names.body_name("chat", "01a20fc0-7158-7e5d-a5b7-385c782a1aaa")
MIB = 1024 * 1024
BUCKET = "holdfast-bodies"


async def stored(bodies: S3Bodies, name: str, body: bytes, step: int = 300_000) -> None:
    writer = bodies.writer(name)
    for start in range(0, len(body), step):
        await writer.write(body[start : start + step])
    await writer.finish()


async def read(bodies: S3Bodies, name: str) -> bytes:
    return b"".join([piece async for piece in bodies.read(name)])


@pytest.mark.parametrize("size", [0, 1, 300_000, 8 * MIB, 8 * MIB + 1, 20 * MIB])
async def test_a_body_comes_back_as_it_was_written(bodies: S3Bodies, moto: Moto, size: int) -> None:
    body = os.urandom(size)
    await stored(bodies, NAME, body)
    assert await bodies.size(NAME) == size
    assert await read(bodies, NAME) == body
    assert moto.keys() == ["bodies/chat/01a20fc0-7158-7e5d-a5b7-385c782a1aaa.request"]
    assert moto.uploads() == 0


async def test_a_body_is_not_there_before_it_is_finished(bodies: S3Bodies, moto: Moto) -> None:
    writer = bodies.writer(NAME)
    await writer.write(b"x" * (9 * MIB))
    with pytest.raises(BodyMissing, match="is not in the store"):
        await bodies.size(NAME)
    assert moto.uploads() == 1
    await writer.abandon()
    assert moto.uploads() == 0
    assert moto.keys() == []


async def test_a_removed_body_is_missing_and_removing_it_again_does_no_harm(bodies: S3Bodies) -> None:
    await stored(bodies, NAME, b"abc")
    await bodies.delete(NAME)
    await bodies.delete(NAME)
    with pytest.raises(BodyMissing, match="is not in the store"):
        await read(bodies, NAME)


@asynccontextmanager
async def cutting(moto: Moto, after: int) -> AsyncIterator[tuple[str, list[int]]]:
    """A way to the bucket that once breaks when so many bytes have come down it; and where it broke."""
    port = int(moto.url.rsplit(":", 1)[1])
    cuts: list[int] = []
    came = 0

    async def through(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool) -> None:
        nonlocal came
        while data := await reader.read(65536):
            came += len(data) if counted else 0
            if came > after and not cuts:
                cuts.append(came)
                break
            writer.write(data)
            await writer.drain()
        writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        ways = (through(reader, back, counted=False), through(there, writer, counted=True))
        await asyncio.gather(*ways, return_exceptions=True)

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", cuts
    finally:
        server.close()


async def test_a_read_that_broke_off_goes_on_at_the_same_byte(bodies: S3Bodies, moto: Moto) -> None:
    body = os.urandom(3 * MIB)
    await stored(bodies, NAME, body)
    async with cutting(moto, MIB) as (url, cuts):
        broken = await S3Bodies.connect(S3Bucket(BUCKET, "us-east-1", url))
        try:
            assert await read(broken, NAME) == body
        finally:
            await broken.close()
    assert len(cuts) == 1


async def test_a_bucket_that_is_gone_is_told_after_four_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "_FIRST_WAIT_S", 0.01)
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        bodies = await S3Bodies.connect(
            S3Bucket("b", "us-east-1", f"http://127.0.0.1:{taken.getsockname()[1]}")
        )
        try:
            with pytest.raises(BrokerDown, match=r"bucket b: HEAD chat\.01a2"):
                await bodies.size(NAME)
        finally:
            await bodies.close()


async def test_a_bucket_that_does_not_exist_is_no_missing_body(moto: Moto) -> None:
    other = await S3Bodies.connect(S3Bucket("nobodys", "us-east-1", moto.url))
    try:
        with pytest.raises(BrokerDown, match="nobodys"):
            await stored(other, NAME, b"abc")
    finally:
        await other.close()


def test_a_bucket_of_aws_is_found_by_its_region() -> None:
    assert S3Bucket("b", "eu-west-1").url == "https://b.s3.eu-west-1.amazonaws.com"
    assert S3Bucket("b", "cn-north-1").url == "https://b.s3.cn-north-1.amazonaws.com.cn"
    assert S3Bucket("b", "eu-west-1", "http://127.0.0.1:1/").url == "http://127.0.0.1:1/b"


async def test_without_credentials_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botocore.session.Session.get_credentials", lambda self: None)
    with pytest.raises(ValueError, match="give the gateway's service account a pod identity or a role"):
        await S3Bodies.connect(S3Bucket("b", "eu-west-1"))
