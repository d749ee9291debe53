"""OpenAI's own Python client, unchanged, against an endpoint whose container speaks that interface."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest

SERVER = Path(__file__).resolve().parents[2] / "support" / "openai_standin.py"
ARGV = (sys.executable, str(SERVER))
QUESTION: list[Any] = [{"role": "user", "content": "one two three"}]


@pytest.fixture
async def client(plane: Any, dataplane: Any) -> AsyncIterator[openai.AsyncOpenAI]:
    """The official client with the endpoint's URL and token, and nothing else changed."""
    plane.document("chat", concurrency=4)
    gateway = await plane.gateway()
    async with openai.AsyncOpenAI(base_url=f"{gateway.endpoint('chat')}v1", api_key=dataplane.TOKEN) as made:
        yield made


async def test_the_first_request_waits_for_a_replica_and_is_answered(
    plane: Any, client: openai.AsyncOpenAI
) -> None:
    asked = asyncio.ensure_future(client.chat.completions.create(model="parrot", messages=QUESTION))
    await plane.until_depth(1, 0, "chat")
    await plane.replica("chat", argv=ARGV)
    answer = await asyncio.wait_for(asked, 20)
    assert answer.choices[0].message.content == "one two three"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 2


async def test_a_streamed_answer_comes_word_by_word(plane: Any, client: openai.AsyncOpenAI) -> None:
    await plane.replica("chat", argv=ARGV, WORD_INTERVAL_S="0.3")
    stream = await client.chat.completions.create(model="parrot", messages=QUESTION, stream=True)
    words, times = [], []
    async for event in stream:
        if event.choices[0].delta.content:
            words.append(event.choices[0].delta.content)
            times.append(time.monotonic())
    assert words == ["one ", "two ", "three "]
    assert times[-1] - times[0] > 0.4, "they came all at once"


async def test_leaving_a_stream_frees_the_replica(plane: Any, client: openai.AsyncOpenAI) -> None:
    await plane.replica("chat", argv=ARGV, WORD_INTERVAL_S="0.2")
    many: list[Any] = [{"role": "user", "content": "word " * 500}]
    stream = await client.chat.completions.create(model="parrot", messages=many, stream=True)
    async for _ in stream:
        break
    await stream.close()
    await plane.until_depth(0, 0, "chat")


async def test_embeddings_speech_pictures_and_the_list_of_models(
    plane: Any, client: openai.AsyncOpenAI
) -> None:
    await plane.replica("chat", argv=ARGV)
    found = await client.embeddings.create(model="parrot", input=["ab", "abcd"])
    assert [one.embedding for one in found.data] == [[2.0, 0.5], [4.0, 0.5]]
    heard = await client.audio.transcriptions.create(model="parrot", file=("a.wav", b"RIFF"))
    assert heard.text == "a.wav: 4 bytes, parrot"
    drawn = await client.images.generate(model="parrot", prompt="hi", n=2)
    assert drawn.data is not None
    assert [one.b64_json for one in drawn.data] == ["aGk=", "aGk="]
    assert [model.id async for model in client.models.list()] == ["parrot"]


async def test_the_models_errors_and_the_gateways_are_the_clients_typed_errors(
    plane: Any, client: openai.AsyncOpenAI
) -> None:
    await plane.replica("chat", argv=ARGV)
    with pytest.raises(openai.BadRequestError, match="does not exist") as wrong:
        await client.chat.completions.create(model="owl", messages=QUESTION)
    assert wrong.value.code == "model_not_found"
    with pytest.raises(openai.AuthenticationError, match="holdfast token new"):
        await client.with_options(api_key="hf_wrong").models.list()
    elsewhere = client.with_options(base_url=str(client.base_url).replace("/e/chat/", "/e/none/"))
    with pytest.raises(openai.NotFoundError, match="there is no endpoint 'none'") as unknown:
        await elsewhere.models.list()
    assert unknown.value.code == "unknown-endpoint"


async def test_the_client_of_threads_works_as_well(plane: Any, client: openai.AsyncOpenAI) -> None:
    await plane.replica("chat", argv=ARGV)
    with openai.OpenAI(base_url=str(client.base_url), api_key=client.api_key) as threads:
        answer = await asyncio.to_thread(threads.chat.completions.create, model="parrot", messages=QUESTION)
    assert answer.choices[0].message.content == "one two three"
