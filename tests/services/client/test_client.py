"""The Python client and the command against a real gateway, broker and worker."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import holdfast_client
from holdfast_client import Phase, Progress

HOLDFAST = Path(sys.executable).parent / "holdfast"
Connect = Callable[..., Any]


async def test_an_answer_of_a_replica_reaches_both_clients(plane: Any, connect: Connect) -> None:
    plane.document()
    gateway = await plane.gateway()
    replica = await plane.replica()
    body = {"text": "grüße", "image": holdfast_client.Media(b"x", "image/png")}
    answer = await connect(gateway.url).infer("demo", body, route="/echo")
    assert answer.json() == {"text": "grüße", "image": "data:image/png;base64,eA=="}
    assert answer.timings.replica == replica.name
    assert answer.timings.attempt == 1
    assert answer.request_id
    same = await asyncio.to_thread(connect(gateway.url, threads=True).infer, "demo", body, route="/echo")
    assert same.content == answer.content


async def test_a_request_is_held_until_a_replica_comes(plane: Any, connect: Connect) -> None:
    plane.document()
    gateway = await plane.gateway()
    asked = asyncio.create_task(connect(gateway.url).infer("demo", "hello", route="/echo"))
    await plane_waits(plane)
    await plane.replica()
    answer = await asyncio.wait_for(asked, 20)
    assert answer.json() == "hello"
    assert answer.timings.queue_s > 0.1


async def plane_waits(plane: Any, many: int = 1) -> None:
    """Until so many requests wait in the queue."""
    ends = time.monotonic() + 20
    while (await plane.depth())[0] < many:
        assert time.monotonic() < ends, "the request is not in the queue"
        await asyncio.sleep(0.02)


async def test_a_stream_comes_in_pieces_and_as_events(plane: Any, connect: Connect) -> None:
    plane.document()
    gateway = await plane.gateway()
    await plane.replica()
    client = connect(gateway.url)
    headers = {"x-stream-chunks": "3", "x-size": "10", "x-chunk-interval-ms": "20"}
    async with client.stream("demo", headers=headers) as stream:
        assert len(await stream.read()) == 30
    async with client.stream("demo", headers={**headers, "x-stream-kind": "sse"}) as stream:
        assert len([event async for event in stream.events()]) >= 3


async def test_a_stream_that_breaks_off_is_never_a_clean_end(plane: Any, connect: Connect) -> None:
    plane.document()
    gateway = await plane.gateway()
    await plane.replica()
    headers = {"x-stream-chunks": "4", "x-size": "10", "x-crash": "drop-mid"}
    async with connect(gateway.url).stream("demo", headers=headers) as stream:
        with pytest.raises(holdfast_client.StreamBrokenError):
            await stream.read()


async def test_leaving_a_stream_stops_the_work(plane: Any, connect: Connect) -> None:
    plane.document()
    gateway = await plane.gateway()
    await plane.replica()
    headers = {"x-stream-chunks": "1000", "x-size": "10", "x-chunk-interval-ms": "50"}
    async with connect(gateway.url).stream("demo", headers=headers) as stream:
        async for _ in stream.iter_bytes():
            break
    began = time.monotonic()
    while not await plane.empty():
        assert time.monotonic() < began + 5, "the replica works on for nobody"
        await asyncio.sleep(0.02)


async def test_refusals_are_typed_and_say_what_to_do(plane: Any, connect: Connect, dataplane: Any) -> None:
    plane.document()
    plane.document("other", tokens=(dataplane.tokens.hash_token(dataplane.OTHER_TOKEN),))
    plane.document("resting", state="paused")
    gateway = await plane.gateway(HOLDFAST_MAX_BODY_BYTES="1000")
    client = connect(gateway.url)
    with pytest.raises(holdfast_client.AuthenticationError, match="`holdfast token new` makes one"):
        await connect(gateway.url, None).infer("demo", 1)
    with pytest.raises(holdfast_client.PermissionDeniedError, match="does not open endpoint other"):
        await client.infer("other", 1)
    with pytest.raises(holdfast_client.NotFoundError, match="unknown-endpoint"):
        await client.infer("nope", 1)
    with pytest.raises(holdfast_client.RequestTooLargeError, match="1000 bytes at most"):
        await client.infer("demo", b"x" * 2000)
    with pytest.raises(holdfast_client.ServiceUnavailableError, match="endpoint resting is paused"):
        await client.infer("resting", 1)


async def test_the_models_own_error_is_not_repeated(plane: Any, connect: Connect) -> None:
    plane.document()
    gateway = await plane.gateway()
    replica = await plane.replica()
    with pytest.raises(holdfast_client.ServiceUnavailableError) as caught:
        await connect(gateway.url).infer("demo", 1, headers={"x-status": "503"})
    assert caught.value.from_model
    assert len(replica.begun()) == 1


async def test_a_full_queue_is_tried_again_until_there_is_room(plane: Any, connect: Connect) -> None:
    plane.document(max_replicas=1, max_queue=0)
    gateway = await plane.gateway()
    await plane.replica()
    told: list[Progress] = []
    client = connect(gateway.url, on_progress=told.append)
    busy = asyncio.create_task(client.infer("demo", 1, headers={"x-delay-ms": "1500"}))
    await until_running(plane)
    assert (await client.infer("demo", "second", route="/echo")).json() == "second"
    await busy
    assert any(one.phase is Phase.RETRYING and "queue-full" in one.detail for one in told)


async def until_running(plane: Any) -> None:
    """Until a replica works on a request."""
    ends = time.monotonic() + 20
    while (await plane.depth())[1] < 1:
        assert time.monotonic() < ends, "no replica took the request"
        await asyncio.sleep(0.02)


async def test_the_clients_timeout_takes_the_request_back(plane: Any, connect: Connect) -> None:
    plane.document()
    gateway = await plane.gateway()
    with pytest.raises((holdfast_client.APITimeoutError, holdfast_client.DeadlineError)):
        await connect(gateway.url).infer("demo", 1, timeout=0.5)
    ends = time.monotonic() + 10
    while not await plane.empty():
        assert time.monotonic() < ends, "nobody waits for it, and it is still queued"
        await asyncio.sleep(0.05)
    replica = await plane.replica()
    assert (await connect(gateway.url).infer("demo", "x", route="/echo")).json() == "x"
    assert len(replica.begun()) <= 1


@pytest.mark.parametrize("threads", [False, True])
async def test_a_trickling_answer_does_not_outlive_the_timeout(
    threads: bool, plane: Any, connect: Connect
) -> None:
    plane.document()
    gateway = await plane.gateway()
    await plane.replica()
    client = connect(gateway.url, threads=threads)
    how = {"headers": {"x-stream-chunks": "400", "x-size": "1", "x-chunk-interval-ms": "50"}, "timeout": 1.0}
    began = time.monotonic()
    call = asyncio.to_thread(client.infer, "demo", **how) if threads else client.infer("demo", **how)
    with pytest.raises(holdfast_client.APITimeoutError, match="within 1 s"):
        await call
    assert time.monotonic() - began < 4, "20 s of trickle were read to the end"


async def test_a_gateway_that_comes_back_answers_the_same_call(plane: Any, connect: Connect) -> None:
    plane.document()
    gateway = await plane.gateway()
    await plane.replica()
    gateway.kill()
    asked = asyncio.create_task(connect(gateway.url, max_retries=20).infer("demo", "x", route="/echo"))
    await asyncio.sleep(0)
    gateway.start()
    assert (await asyncio.wait_for(asked, 30)).json() == "x"


async def test_many_calls_at_once_are_all_answered(plane: Any, connect: Connect) -> None:
    plane.document(max_replicas=2)
    gateway = await plane.gateway()
    replicas = [await plane.replica(), await plane.replica()]
    client = connect(gateway.url)
    answers = await asyncio.gather(*(client.infer("demo", number, route="/echo") for number in range(300)))
    assert [answer.json() for answer in answers] == list(range(300))
    assert max(replica.peak() for replica in replicas) <= 1


async def test_the_list_and_the_description_are_read(plane: Any, connect: Connect) -> None:
    plane.document(description="says hello")
    gateway = await plane.gateway()
    client = connect(gateway.url)
    assert [one.name for one in await client.endpoints()] == ["demo"]
    demo = await client.endpoint("demo")
    assert (demo.description, demo.state, demo.visibility) == ("says hello", "active", "private")
    assert (demo.waiting, demo.running, demo.max_replicas) == (0, 0, 4)
    assert demo.url == f"{gateway.url}/e/demo"
    assert await client.health()
    assert not await connect("http://127.0.0.1:9", max_retries=0).health()


async def test_the_command_asks_lists_and_fails_by_exit_code(
    plane: Any, dataplane: Any, tmp_path: Path
) -> None:
    plane.document()
    gateway = await plane.gateway()
    await plane.replica()
    token = tmp_path / "token"
    token.write_text(dataplane.TOKEN)

    async def holdfast(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "HOLDFAST_URL": gateway.url,
            "HOLDFAST_CONFIG": "/none",
            "PATH": "/usr/bin:/bin",
            **variables,
        }
        return await asyncio.to_thread(
            subprocess.run, [HOLDFAST, *words], env=environment, capture_output=True, text=True, timeout=30
        )

    listed = await holdfast("ls", "--json", "--token-file", str(token))
    assert [one["name"] for one in json.loads(listed.stdout)] == ["demo"]
    asked = await holdfast(
        "infer", "demo", "echo", "-d", '{"a": 1}', "--timings", HOLDFAST_TOKEN_FILE=str(token)
    )
    assert (asked.stdout, asked.returncode) == ('{"a":1}', 0)
    assert "attempt 1" in asked.stderr
    refused = await holdfast("infer", "demo", "echo", HOLDFAST_TOKEN="hf_wrong")
    assert refused.returncode == 5
    assert "hf_wrong" not in refused.stderr
