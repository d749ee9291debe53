"""Text embeddings over HTTP, as OpenAI's `/v1/embeddings`: texts in, vectors of length 1 out.

`POST /v1/embeddings` takes `input` (a text or a list), `dimensions` and `encoding_format`. `GET /v1/models` names
the model, `/healthcheck` answers 200 once it is loaded, `/openapi.json` describes it all. Errors have OpenAI's form.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

FOLDER = Path(__file__).resolve().parent
MODEL = "wordllama-l2-supercat-256"
DIMENSIONS = (64, 128, 256)
"""Lengths that the model was trained to be cut to."""
MAX_BODY_BYTES = 8 * 1024 * 1024
LINGER_S = 5.0
"""For the rest of a body that is too large: it is thrown away."""
MAX_TOKENS = 8192
"""Tokens of one text, as OpenAI's own limit."""
MAX_CHARACTERS = 32 * MAX_TOKENS
"""Far above what 8,192 tokens hold: refused without being cut into tokens, which takes memory."""
BATCH_TEXTS = 8
"""Texts in memory at once: 8 of the longest take 64 MiB."""
FIELDS = {"input", "model", "dimensions", "encoding_format", "user"}

Vectors = npt.NDArray[np.float32]
log = logging.getLogger("embeddings")


class Model(Protocol):
    """What makes vectors."""

    def count(self, texts: list[str]) -> list[int]:
        """Tokens of each text."""

    def embed(self, texts: list[str]) -> Vectors:
        """One row per text, of the model's full length."""


class BadInput(Exception):
    """The request cannot be answered as it is. The text and the name of the field go to the caller."""

    def __init__(self, status: int, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.status, self.field = status, field


@dataclass(frozen=True, slots=True)
class Job:
    """What a request asks for."""

    texts: list[str]
    dimensions: int
    as_base64: bool


def read_job(body: bytes, max_inputs: int) -> Job:
    """The request's fields. Raises BadInput naming the field."""
    try:
        content = json.loads(body)
    except ValueError as error:
        raise BadInput(400, f"the body is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise BadInput(400, 'the body is not an object: send {"input": "a text"}')
    if unknown := sorted(set(content) - FIELDS):
        raise BadInput(400, f"{unknown[0]} is not a field: there are {', '.join(sorted(FIELDS))}", unknown[0])
    dimensions = content.get("dimensions", DIMENSIONS[-1])
    if dimensions not in DIMENSIONS or isinstance(dimensions, bool):
        raise BadInput(400, f"dimensions is {dimensions!r}: use one of {DIMENSIONS}", "dimensions")
    encoding = content.get("encoding_format", "float")
    if encoding not in {"float", "base64"}:
        raise BadInput(400, f"encoding_format is {encoding!r}: use float or base64", "encoding_format")
    return Job(_texts(content.get("input"), max_inputs), dimensions, encoding == "base64")


def _texts(value: object, max_inputs: int) -> list[str]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts:
        raise BadInput(400, "input is missing: give a text, or a list of texts", "input")
    if len(texts) > max_inputs:
        raise BadInput(400, f"input has {len(texts)} texts, above {max_inputs}: send fewer at once", "input")
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise BadInput(400, f"input[{index}] is not a text: tokens are not taken, send the text", "input")
        if not text.strip():
            raise BadInput(400, f"input[{index}] is empty: leave it out", "input")
        if len(text) > MAX_CHARACTERS:
            raise BadInput(
                400, f"input[{index}] has {len(text)} characters, above {MAX_CHARACTERS}: split it", "input"
            )
        if not text.isascii() and any(0xD800 <= ord(character) <= 0xDFFF for character in text):
            raise BadInput(400, f"input[{index}] has half of a surrogate pair: send valid Unicode", "input")
    return texts


def answer(job: Job, model: Model) -> dict[str, Any]:
    """The answer to a request. Raises BadInput where a text is too long."""
    tokens: list[int] = []
    rows: list[Vectors] = []
    for start in range(0, len(job.texts), BATCH_TEXTS):
        batch = job.texts[start : start + BATCH_TEXTS]
        for index, count in enumerate(model.count(batch), start=start):
            if count > MAX_TOKENS:
                raise BadInput(
                    400, f"input[{index}] has {count} tokens, above {MAX_TOKENS}: split it", "input"
                )
            tokens.append(count)
        # Cut first, then to length 1: the other way round the vectors would be shorter than 1.
        cut = model.embed(batch)[:, : job.dimensions]
        rows.append((cut / np.linalg.norm(cut, axis=1, keepdims=True)).astype("<f4"))
    vectors = np.concatenate(rows)
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": base64.b64encode(row.tobytes()).decode() if job.as_base64 else row.tolist(),
        }
        for index, row in enumerate(vectors)
    ]
    usage = {"prompt_tokens": sum(tokens), "total_tokens": sum(tokens)}
    return {"object": "list", "data": data, "model": MODEL, "usage": usage}


def load_model() -> Model:
    """Load the weights that the package ships; nothing is fetched."""
    import wordllama

    # The package looks for its own tokenizer in another folder than the one that it ships it in (0.4.0.post1);
    # as "cache" its folder has the right layout.
    loaded = wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)

    class Loaded:
        def count(self, texts: list[str]) -> list[int]:
            return [sum(encoded.attention_mask) for encoded in loaded.tokenize(texts)]

        def embed(self, texts: list[str]) -> Vectors:
            return np.asarray(loaded.embed(texts, batch_size=BATCH_TEXTS), dtype=np.float32)

    return Loaded()


class Server:
    """The routes. `load` gives the model; it is called once, in a thread."""

    def __init__(self, load: Callable[[], Model], *, max_inputs: int = 2048) -> None:
        self._load, self._max_inputs = load, max_inputs
        self._model: Model | None = None
        self._failure: str | None = None

    def app(self) -> Starlette:
        """The ASGI application; it answers its health check with 503 until the model is loaded."""
        return Starlette(
            routes=[
                Route("/healthcheck", self._health),
                Route("/v1/embeddings", self._embeddings, methods=["POST"]),
                Route("/v1/models", _models),
                Route("/openapi.json", _openapi),
            ],
            lifespan=self._lifespan,
            middleware=[Middleware(BodyLimit)],
            exception_handlers={BadInput: _bad_input},
        )

    async def warm_up(self) -> None:
        """Load the model and embed a text."""
        began = time.monotonic()
        try:
            model = await asyncio.to_thread(self._load)
            await asyncio.to_thread(answer, Job(["ready"], DIMENSIONS[-1], False), model)
        except Exception as error:
            # Stays unhealthy, with the reason: the orchestrator restarts it and shows this text.
            self._failure = f"the model cannot be used: {error}"
            log.exception(self._failure)
            return
        self._model = model
        log.warning("ready after %.2f s", time.monotonic() - began)

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        loading = asyncio.create_task(self.warm_up())
        yield
        loading.cancel()

    async def _health(self, _: Request) -> Response:
        if self._model is None:
            detail = self._failure or "the model is being loaded"
            return JSONResponse({"ready": False, "detail": detail}, status_code=503)
        return JSONResponse({"ready": True})

    async def _embeddings(self, request: Request) -> Response:
        if self._model is None:
            raise BadInput(503, self._failure or "the model is being loaded: try again in some seconds")
        job = read_job(await request.body(), self._max_inputs)
        return JSONResponse(await asyncio.to_thread(answer, job, self._model))


class BodyLimit:
    """Middleware: a body over MAX_BODY_BYTES is refused while it is read, whatever length was declared."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count what is received."""
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > MAX_BODY_BYTES:
                # A connection closed before its rest was read would be reset, answer and all.
                with suppress(TimeoutError):
                    async with asyncio.timeout(LINGER_S):
                        while message.get("more_body", False):
                            message = await receive()
                raise BadInput(
                    413, f"the body is over {MAX_BODY_BYTES // 2**20} MiB: send fewer texts at once"
                )
            return message

        await self._app(scope, counted, send)


async def _bad_input(_: Request, error: Exception) -> Response:
    assert isinstance(error, BadInput)
    kind = "server_error" if error.status >= 500 else "invalid_request_error"
    content = {"message": str(error), "type": kind, "param": error.field, "code": None}
    return JSONResponse({"error": content}, status_code=error.status)


async def _models(_: Request) -> Response:
    model = {"id": MODEL, "object": "model", "created": 0, "owned_by": "wordllama"}
    return JSONResponse({"object": "list", "data": [model]})


async def _openapi(_: Request) -> Response:
    return JSONResponse(await asyncio.to_thread(openapi))


def openapi() -> dict[str, Any]:
    """The OpenAPI document, with the template's own schemas."""
    schemas = {side: json.loads((FOLDER / f"{side}.schema.json").read_text()) for side in ("input", "output")}

    def content(schema: dict[str, Any]) -> dict[str, Any]:
        return {"application/json": {"schema": schema}}

    problem = content({"type": "object", "properties": {"error": {"type": "object"}}})
    answers = {
        code: {"description": text, "content": problem}
        for code, text in (
            ("400", "A field is missing or wrong"),
            ("413", "The body is too large"),
            ("503", "The model is being loaded"),
        )
    }
    embed = {
        "operationId": "embeddings",
        "summary": "Turn texts into vectors",
        "requestBody": {"required": True, "content": content(schemas["input"])},
        "responses": {"200": {"description": "Vectors", "content": content(schemas["output"])}, **answers},
    }
    ready = {"200": {"description": "Ready"}, "503": {"description": "Not yet"}}
    models = {"200": {"description": "The one model"}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Text embeddings", "version": "1.0.0"},
        "paths": {
            "/v1/embeddings": {"post": embed},
            "/v1/models": {
                "get": {"operationId": "models", "summary": "Name the model", "responses": models}
            },
            "/healthcheck": {
                "get": {"operationId": "healthcheck", "summary": "200 once it is loaded", "responses": ready}
            },
        },
    }


def create() -> Starlette:
    """The application as the environment says: EMBEDDINGS_MAX_INPUTS."""
    return Server(load_model, max_inputs=int(os.environ.get("EMBEDDINGS_MAX_INPUTS") or 2048)).app()


def main() -> None:
    """Serve on PORT (8000), all addresses: the pod's network decides who reaches it."""
    import uvicorn

    uvicorn.run(
        create,
        factory=True,
        host=os.environ.get("HOST") or "0.0.0.0",
        port=int(os.environ.get("PORT") or 8000),
        log_level="warning",
        timeout_graceful_shutdown=60,
    )


if __name__ == "__main__":
    main()
