"""Large bodies in a bucket: the gateway alone knows it, workers go by way of the gateway."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from holdfast_contract import names, tokens
from holdfast_services.gateway.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from dataplane import Gateway, Plane

BUCKET, REGION, ROOT = "holdfast-bodies", "us-east-1", "the-key-of-all-keys"


@dataclass
class Bucket:
    """A gateway whose bodies lie in a bucket, and what a worker needs to reach them."""

    gateway: Gateway
    url: str

    def worker_env(self, endpoint: str) -> dict[str, str]:
        key = self.gateway.log.parent / f"{endpoint}.key"
        key.write_text(tokens.body_key(ROOT, endpoint))
        return {names.ENV_BODIES_URL: self.gateway.internal_url, names.ENV_BODIES_KEY: str(key)}

    def keys(self) -> list[str]:
        client = boto3.client("s3", endpoint_url=self.url, region_name=REGION)
        return [found["Key"] for found in client.list_objects_v2(Bucket=BUCKET).get("Contents", ())]


@pytest.fixture
async def bucket(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    url = await plane.moto()
    boto3.client("s3", endpoint_url=url, region_name=REGION).create_bucket(Bucket=BUCKET)
    root = plane.folder / "bodies.key"
    root.write_text(f"a-newer-key\n{ROOT}\n")  # as while it is being replaced
    plane.document()
    gateway = await plane.gateway(
        **{
            names.ENV_BODIES_BUCKET: BUCKET,
            names.ENV_BODIES_KEY: str(root),
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL_S3": url,
        }
    )
    return Bucket(gateway, url)


async def ended(plane: Plane, gateway: Gateway, request_id: str) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {plane.token}"}
    async with plane.http.get(f"{gateway.url}/requests/{request_id}?wait=30", headers=headers) as answer:
        told: dict[str, Any] = json.loads(await answer.read())
        return told


async def test_a_large_request_and_its_stored_result_go_through_the_bucket(
    plane: Plane, bucket: Bucket
) -> None:
    gateway = bucket.gateway
    body = os.urandom(9 * 1024 * 1024)
    headers = {"authorization": f"Bearer {plane.token}", "prefer": "respond-async"}
    async with plane.http.post(gateway.endpoint("demo", "/echo"), data=body, headers=headers) as answer:
        assert answer.status == 202
        request_id = answer.headers["x-request-id"]
    (kept,) = bucket.keys()
    assert kept.startswith(f"bodies/demo/{request_id}.")
    # The replica has nothing of AWS's: what it needs comes by way of the gateway.
    await plane.replica(worker_env=bucket.worker_env("demo") | {"AWS_ACCESS_KEY_ID": ""})
    assert (await ended(plane, gateway, request_id))["status"] == "SUCCEEDED"
    async with plane.http.get(f"{gateway.url}/requests/{request_id}/result", headers=headers) as answer:
        assert hashlib.sha256(await answer.read()).digest() == hashlib.sha256(body).digest()
    await plane.until_true(lambda: len(bucket.keys()) == 1, "the request's body is removed")
    assert bucket.keys() == [f"bodies/demo/{request_id}.result-1"]
    info = await plane.broker.jetstream.stream_info(f"OBJ_{names.BUCKET_BODIES}")
    assert info.state.messages == 0


async def test_a_worker_gets_no_body_of_another_endpoint(plane: Plane, bucket: Bucket) -> None:
    at = bucket.gateway.internal_url + names.PATH_BODIES
    mine = {"authorization": f"Bearer {tokens.body_key(ROOT, 'demo')}"}
    async with plane.http.put(f"{at}/demo.1.result-1", data=b"mine", headers=mine) as answer:
        assert answer.status == 204
    async with plane.http.get(f"{at}/demo.1.result-1", headers=mine) as answer:
        assert (answer.status, await answer.read()) == (200, b"mine")
    refused = {}
    for name in ("other.1.result-1", "demo2.1.x", "demo", "demo.", ".demo.1", "demo.1%2F..%2Fother", ""):
        for method in ("GET", "HEAD", "PUT", "DELETE"):
            async with plane.http.request(method, f"{at}/{name}", headers=mine, data=b"x") as answer:
                refused[name, method] = answer.status
    assert set(refused.values()) == {403}
    for headers in ({}, {"authorization": "Bearer "}, {"authorization": f"Bearer {ROOT}"}):
        async with plane.http.get(f"{at}/demo.1.result-1", headers=headers) as answer:
            assert answer.status == 403
    assert bucket.keys() == ["bodies/demo/1.result-1"]


async def test_an_upload_that_breaks_off_leaves_nothing(plane: Plane, bucket: Bucket) -> None:
    mine = {"authorization": f"Bearer {tokens.body_key(ROOT, 'demo')}"}
    begun = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b"x" * 1024 * 1024
        begun.set()
        await asyncio.Event().wait()

    at = f"{bucket.gateway.internal_url}{names.PATH_BODIES}/demo.1.result-1"
    sending = asyncio.create_task(plane.http.put(at, data=endless(), headers=mine).__aenter__())
    await begun.wait()
    client = boto3.client("s3", endpoint_url=bucket.url, region_name=REGION)

    def uploads() -> int:
        return len(client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", ()))

    await plane.until_true(lambda: uploads() == 1, "the upload has begun")
    sending.cancel()
    await plane.until_true(lambda: uploads() == 0, "the upload was given up")
    assert bucket.keys() == []


async def test_a_bucket_that_fails_is_503_and_nothing_is_accepted(plane: Plane, bucket: Bucket) -> None:
    client = boto3.client("s3", endpoint_url=bucket.url, region_name=REGION)
    client.delete_bucket(Bucket=BUCKET)
    headers = {"authorization": f"Bearer {plane.token}", "prefer": "respond-async"}
    async with plane.http.post(
        bucket.gateway.endpoint("demo"), data=b"x" * 300_000, headers=headers
    ) as answer:
        assert answer.status == 503
        assert "the body could not be stored" in await answer.text()
    assert await plane.empty()


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        ("AWS_REGION", "HOLDFAST_BODIES_BUCKET is set without AWS_REGION: set it to the bucket's"),
        (names.ENV_BODIES_KEY, "HOLDFAST_BODIES_BUCKET is set without HOLDFAST_BODIES_KEY: set both"),
    ],
)
def test_half_a_bucket_is_told_at_once(plane: Plane, missing: str, told: str) -> None:
    key = plane.folder / "key"
    key.write_text("x")
    env = {names.ENV_BODIES_BUCKET: "b", names.ENV_BODIES_KEY: str(key), "AWS_REGION": REGION}
    with pytest.raises(ValueError, match=told):
        Settings.read({name: value for name, value in env.items() if name != missing})
