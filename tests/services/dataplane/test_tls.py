"""TLS ended in a running gateway, through rotations of its certificate."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp
import pytest
from certificates import Mounted, Pair, serial_of, trusting
from dataplane import TOKEN
from waiting import until

from holdfast_contract import metrics, names

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

    from dataplane import Gateway, Plane

HEALTH = b"GET /healthz HTTP/1.1\r\nhost: gateway\r\n\r\n"


def environment(mounted: Mounted) -> dict[str, str]:
    return {
        names.ENV_TLS_CERTIFICATE_FILE: str(mounted.certificate),
        names.ENV_TLS_KEY_FILE: str(mounted.key),
    }


class Connection:
    """One connection that stays open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, gateway: Gateway, context: ssl.SSLContext | None) -> Connection:
        return cls(*await asyncio.open_connection("127.0.0.1", urlsplit(gateway.url).port, ssl=context))

    @property
    def serial(self) -> int:
        return serial_of(self._writer.get_extra_info("ssl_object"))

    async def healthy(self) -> bool:
        """Whether a request is answered with 200."""
        self._writer.write(HEALTH)
        head = await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), 10)
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await self._reader.readexactly(int(length.split(b":")[1]))
        return head.startswith(b"HTTP/1.1 200 ")

    async def rest(self) -> bytes:
        """All that comes until the other side closes."""
        self._writer.write(HEALTH)
        return await asyncio.wait_for(self._reader.read(), 10)

    def close(self) -> None:
        self._writer.close()


async def expiry(plane: Plane, gateway: Gateway) -> float:
    """As the metrics say it."""
    async with plane.http.get(f"{gateway.internal_url}/metrics") as page:
        lines = (await page.text()).splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{metrics.CERTIFICATE_EXPIRY} "))


async def test_callers_reach_a_model_by_tls_and_plain_http_is_refused(plane: Plane, tmp_path: Path) -> None:
    pair = Pair.make()
    plane.document()
    gateway = await plane.gateway(**environment(Mounted(tmp_path / "tls", pair)))
    await plane.replica()
    async with plane.post(gateway.endpoint("demo"), ssl=trusting(pair)) as answer:
        assert answer.status == 200
        assert await answer.read()
    assert await expiry(plane, gateway) == pair.expires_at
    plain = await Connection.open(gateway, None)
    try:
        assert not (await plain.rest()).startswith(b"HTTP/")
    except ConnectionResetError:
        pass  # just as well refused
    finally:
        plain.close()


async def test_a_rotation_under_load_loses_no_request_and_no_connection(plane: Plane, tmp_path: Path) -> None:
    first, second = Pair.make(), Pair.make(days=30)
    both = trusting(first, second)
    mounted = Mounted(tmp_path / "tls", first)
    plane.document()
    gateway = await plane.gateway(**environment(mounted))
    await plane.replica()
    old = await Connection.open(gateway, both)
    assert await old.healthy()
    assert old.serial == first.serial
    statuses: list[int] = []
    rotated = asyncio.Event()

    async def call(force_close: bool) -> None:
        connector = aiohttp.TCPConnector(ssl=both, force_close=force_close)
        async with aiohttp.ClientSession(
            connector=connector, headers={"authorization": f"Bearer {TOKEN}"}
        ) as http:
            while not rotated.is_set():
                async with http.post(gateway.endpoint("demo"), data=b"x" * 1000) as answer:
                    await answer.read()
                    statuses.append(answer.status)

    async def renewed() -> bool:
        new = await Connection.open(gateway, both)
        try:
            return new.serial == second.serial
        finally:
            new.close()

    async with asyncio.TaskGroup() as tasks:
        for force_close in (False, True) * 3:
            tasks.create_task(call(force_close))
        await plane.until_true(lambda: len(statuses) >= 20, "there is load")
        before = len(statuses)
        mounted.replace(second.certificate, second.key)
        await until(renewed, "a new connection shows the new certificate")
        after = len(statuses)
        await plane.until_true(lambda: len(statuses) >= after + 20, "load goes on")
        rotated.set()
    assert after > before
    assert set(statuses) == {200}
    assert await old.healthy(), "the connection from before the rotation is still open"
    old.close()
    assert await expiry(plane, gateway) == second.expires_at


async def test_a_broken_rotation_is_logged_and_the_certificate_before_it_goes_on(
    plane: Plane, tmp_path: Path
) -> None:
    pair, other = Pair.make(), Pair.make()
    mounted = Mounted(tmp_path / "tls", pair)
    gateway = await plane.gateway(**environment(mounted))
    mounted.replace(other.certificate, pair.key)
    told = '"event":"the new certificate cannot be used: the one before it goes on"'
    await plane.until_true(lambda: told in gateway.log.read_text(), "it is logged")
    new = await Connection.open(gateway, trusting(pair))
    assert new.serial == pair.serial
    assert await new.healthy()
    new.close()
    assert await expiry(plane, gateway) == pair.expires_at


@pytest.mark.parametrize(
    ("certificate", "remedy"),
    [
        (None, "mount the Secret of type kubernetes.io/tls there"),
        (b"none", "give a certificate chain in PEM"),
    ],
    ids=["missing", "broken"],
)
def test_a_gateway_without_a_usable_certificate_does_not_start(
    tmp_path: Path, certificate: bytes | None, remedy: str
) -> None:
    mounted = Mounted(tmp_path / "tls", Pair.make())
    if certificate is None:
        mounted.certificate.unlink()
    else:
        mounted.replace(certificate, Pair.make().key)
    ended = subprocess.run(
        [sys.executable, "-m", "holdfast_services.gateway"],
        env=environment(mounted),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert str(mounted.certificate) in ended.stderr
    assert remedy in ended.stderr
    assert "Traceback" not in ended.stderr
