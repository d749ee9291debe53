"""A stand-in for a server that speaks OpenAI's interface: `python openai_standin.py`, address from HOST and PORT.

It answers with what was asked, word by word, so that a test sees that nothing was lost. Errors have OpenAI's form.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import struct
import time
from typing import Any, Final

from aiohttp import web

MODEL: Final = "parrot"
INTERFACE: Final = {
    "openapi": "3.1.0",
    "info": {"title": "Parrot", "version": "1"},
    "servers": [{"url": "http://localhost:8000"}],
    "paths": {
        "/v1/chat/completions": {
            "post": {
                "summary": "The next message",
                "requestBody": {"content": {"application/json": {"schema": {"type": "object"}}}},
                "responses": {"200": {"description": "The next message"}},
            }
        },
        "/v1/embeddings": {
            "post": {
                "summary": "Vectors",
                "requestBody": {
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Texts"}}}
                },
                "responses": {"200": {"description": "One for each text"}},
            }
        },
    },
    "components": {
        "schemas": {
            "Texts": {
                "type": "object",
                "required": ["input"],
                "properties": {"input": {"type": "string", "title": "Text"}},
            }
        }
    },
}


def _error(message: str, code: str) -> web.Response:
    body = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}
    return web.json_response(body, status=400)


def _choice(**part: Any) -> dict[str, Any]:
    return {"index": 0, "finish_reason": None, "logprobs": None, **part}


def _head(kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": int(time.time()), "model": MODEL}


async def chat(request: web.Request) -> web.StreamResponse:
    """The last message again, streamed or whole."""
    asked = await request.json()
    if asked.get("model") != MODEL:
        return _error(f"The model `{asked.get('model')}` does not exist.", "model_not_found")
    text = str(asked["messages"][-1]["content"])
    if not asked.get("stream"):
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        message = {"role": "assistant", "content": text}
        choices = [_choice(message=message, finish_reason="stop")]
        return web.json_response({**_head("chat.completion"), "choices": choices, "usage": usage})
    answer = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await answer.prepare(request)
    for word in text.split(" "):
        part = {**_head("chat.completion.chunk"), "choices": [_choice(delta={"content": f"{word} "})]}
        await answer.write(f"data: {json.dumps(part)}\n\n".encode())
        await asyncio.sleep(float(os.environ.get("WORD_INTERVAL_S", "0")))
    ended = {**_head("chat.completion.chunk"), "choices": [_choice(delta={}, finish_reason="stop")]}
    await answer.write(f"data: {json.dumps(ended)}\n\ndata: [DONE]\n\n".encode())
    await answer.write_eof()
    return answer


async def embeddings(request: web.Request) -> web.Response:
    """Each text's length as its vector."""
    asked = await request.json()
    texts = [asked["input"]] if isinstance(asked["input"], str) else asked["input"]
    as_text = asked.get("encoding_format") == "base64"  # what the official client asks for by default

    def vector(text: str) -> Any:
        raw = struct.pack("<2f", len(text), 0.5)
        return base64.b64encode(raw).decode() if as_text else [float(len(text)), 0.5]

    data = [{"object": "embedding", "index": i, "embedding": vector(text)} for i, text in enumerate(texts)]
    usage = {"prompt_tokens": 1, "total_tokens": 1}
    return web.json_response({"object": "list", "data": data, "model": MODEL, "usage": usage})


async def transcriptions(request: web.Request) -> web.Response:
    """What was received of the form."""
    form = await request.post()
    file = form["file"]
    assert isinstance(file, web.FileField)
    return web.json_response({"text": f"{file.filename}: {len(file.file.read())} bytes, {form['model']}"})


async def images(request: web.Request) -> web.Response:
    """The description as the picture's bytes."""
    asked = await request.json()
    data = [{"b64_json": base64.b64encode(asked["prompt"].encode()).decode()}] * asked.get("n", 1)
    return web.json_response({"created": int(time.time()), "data": data})


async def models(_: web.Request) -> web.Response:
    """The one model."""
    one = {"id": MODEL, "object": "model", "created": 1, "owned_by": "tests"}
    return web.json_response({"object": "list", "data": [one]})


async def interface(_: web.Request) -> web.Response:
    """What this serves."""
    return web.json_response(INTERFACE)


async def healthcheck(_: web.Request) -> web.Response:
    """Always well."""
    return web.Response()


def main() -> None:
    """Serve until killed."""
    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat)
    app.router.add_post("/v1/embeddings", embeddings)
    app.router.add_post("/v1/audio/transcriptions", transcriptions)
    app.router.add_post("/v1/images/generations", images)
    app.router.add_get("/v1/models", models)
    app.router.add_get("/openapi.json", interface)
    app.router.add_get("/healthcheck", healthcheck)
    web.run_app(app, host=os.environ["HOST"], port=int(os.environ["PORT"]), print=None)


if __name__ == "__main__":
    main()
