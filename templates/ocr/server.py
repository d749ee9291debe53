"""Text recognition over HTTP: an image in, its lines of text out.

`POST /ocr` takes the image as it is (`image/*`), as JSON (`{"image": "<data URI or base64>"}`) or as a form
with a file named `image`. `/healthcheck` answers 200 once the model has read a first image. `/openapi.json`
describes it.
One inference runs at a time: more at once would only share the same processor threads.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import io
import json
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps
from recognition import Recognise, as_text, load_model
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartParser
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

FOLDER = Path(__file__).resolve().parent
MAX_BODY_BYTES = 28 * 1024 * 1024
"""An image of 20 MiB as base64, and some room."""
LINGER_S = 5.0
"""For the rest of a body that is too large: it is thrown away."""
MAX_IMAGE_BYTES = 20 * 1024 * 1024
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
DEFAULT_MIN_SCORE = 0.5
TAKES = "image/png (or jpeg, webp, bmp, tiff, gif), application/json, multipart/form-data"

log = logging.getLogger("ocr")


class BadInput(Exception):
    """The request cannot be answered as it is. `status` and the text go to the caller."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


@dataclass(frozen=True, slots=True)
class Job:
    """What a request asks for."""

    image: bytes
    min_score: float


async def read_job(request: Request) -> Job:
    """The image and the options of a request, whichever way they came. Raises BadInput."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        return _from_json(await request.body())
    if kind == "multipart/form-data":
        return await _from_form(request)
    if kind.startswith("image/") or kind == "application/octet-stream":
        return Job(await request.body(), _min_score(request.query_params.get("min_score")))
    raise BadInput(415, f"content-type is {kind or 'missing'}: send one of {TAKES}")


def _from_json(body: bytes) -> Job:
    try:
        content = json.loads(body)
    except ValueError as error:
        raise BadInput(400, f"the body is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise BadInput(422, 'the body is not an object: send {"image": "data:image/png;base64,…"}')
    if unknown := sorted(set(content) - {"image", "min_score"}):
        raise BadInput(422, f"{unknown[0]} is not a field: there are image and min_score")
    return Job(_decoded(content.get("image")), _min_score(content.get("min_score")))


async def _from_form(request: Request) -> Job:
    try:
        async with request.form(max_files=1, max_fields=4, max_part_size=MAX_BODY_BYTES) as form:
            part = form.get("image")
            score = form.get("min_score")
            image = await part.read() if isinstance(part, UploadFile) else _decoded(part)
    except HTTPException as error:
        raise BadInput(400, f"the form cannot be read: {error.detail}") from None
    return Job(image, _min_score(score))


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
                raise BadInput(413, f"the body is over {MAX_BODY_BYTES // 2**20} MiB: send a smaller image")
            return message

        await self._app(scope, counted, send)


def _decoded(value: object) -> bytes:
    if value is None or value == "":
        raise BadInput(422, "image is missing: give a data URI or base64, or a form's file of that name")
    if not isinstance(value, str):
        raise BadInput(422, "image is not text: give a data URI or base64")
    if value.startswith(("http://", "https://")):
        raise BadInput(422, "image is a link: this server fetches nothing; send the image itself")
    if value.startswith("data:"):
        head, comma, value = value.partition(",")
        if not comma or not head.endswith(";base64"):
            raise BadInput(422, "image is a data URI without base64: use data:image/png;base64,…")
    try:
        return base64.b64decode("".join(value.split()), validate=True)
    except (binascii.Error, ValueError):
        raise BadInput(422, "image is not valid base64: encode the file's bytes") from None


def _min_score(value: object) -> float:
    if value is None or value == "":
        return DEFAULT_MIN_SCORE
    try:
        score = float(value) if isinstance(value, (str, int, float)) else -1.0
    except ValueError:
        score = -1.0
    if not 0 <= score <= 1:
        raise BadInput(422, f"min_score is {value!r}, not a number from 0 to 1")
    return score


def open_image(data: bytes, max_megapixels: float) -> Image.Image:
    """Decode to RGB, turned upright as its metadata says. Raises BadInput where it is none, or too large."""
    if not data:
        raise BadInput(422, "the image is empty: send its bytes")
    if len(data) > MAX_IMAGE_BYTES:
        raise BadInput(413, f"image is over {MAX_IMAGE_BYTES // 2**20} MiB: send a smaller one")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        megapixels = image.width * image.height / 1e6
        # Before decoding: a small file can unfold to gigabytes.
        if megapixels > max_megapixels:
            raise BadInput(
                413, f"image has {megapixels:.1f} megapixels, above {max_megapixels:g}: scale it down"
            )
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
    except BadInput:
        raise
    except Exception as error:  # a damaged file makes the library fail in as many ways as it has formats
        raise BadInput(
            422, f"the image cannot be read ({type(error).__name__}): send {', '.join(FORMATS)}"
        ) from None
    if image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info:
        # Transparent counts as paper.
        rgba = image.convert("RGBA")
        paper = Image.new("RGBA", rgba.size, "white")
        paper.alpha_composite(rgba)
        return paper.convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


class Server:
    """The routes. `load` gives the function that reads an image; it is called once, in a thread."""

    def __init__(self, load: Callable[[], Recognise], *, max_megapixels: float = 25) -> None:
        self._load = load
        self._max_megapixels = max_megapixels
        self._recognise: Recognise | None = None
        self._failure: str | None = None
        self._turn = asyncio.Lock()

    def app(self) -> Starlette:
        """The ASGI application; the model is loaded while it already answers its health check with 503."""
        routes = [
            Route("/healthcheck", self._health),
            Route("/ocr", self._ocr, methods=["POST"]),
            Route("/openapi.json", _openapi),
        ]
        # The limit is ours, with its own error; Pillow's would come first and say less.
        Image.MAX_IMAGE_PIXELS = None
        # A form's file stays in memory: the container's root file system may be read-only.
        MultiPartParser.spool_max_size = MAX_BODY_BYTES
        return Starlette(
            routes=routes,
            lifespan=self._lifespan,
            middleware=[Middleware(BodyLimit)],
            exception_handlers={BadInput: _bad_input},
        )

    async def warm_up(self) -> None:
        """Load the model and read the example, so that the first request is as fast as the next."""
        began = time.monotonic()
        try:
            recognise = await asyncio.to_thread(self._load)
            example = await asyncio.to_thread((FOLDER / "examples" / "receipt.png").read_bytes)
            lines = await asyncio.to_thread(recognise, open_image(example, self._max_megapixels))
            if not lines:
                raise RuntimeError("it reads nothing in the example")
        except Exception as error:
            # Stays unhealthy, with the reason: the orchestrator restarts it and shows this text.
            self._failure = f"the model cannot be used: {error}"
            log.exception(self._failure)
            return
        self._recognise = recognise
        log.warning("ready after %.2f s", time.monotonic() - began)

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        loading = asyncio.create_task(self.warm_up())
        yield
        loading.cancel()

    async def _health(self, _: Request) -> Response:
        if self._recognise is None:
            return JSONResponse(
                {"ready": False, "detail": self._failure or "the model is being loaded"}, status_code=503
            )
        return JSONResponse({"ready": True})

    async def _ocr(self, request: Request) -> Response:
        if self._recognise is None:
            raise BadInput(503, self._failure or "the model is being loaded: try again in some seconds")
        job = await read_job(request)
        image = await asyncio.to_thread(open_image, job.image, self._max_megapixels)
        async with self._turn:
            began = time.monotonic()
            lines = await asyncio.to_thread(self._recognise, image)
            elapsed_s = time.monotonic() - began
        kept = [line for line in lines if line.score >= job.min_score]
        return JSONResponse(
            {
                "text": as_text(kept),
                "lines": [
                    {
                        "text": line.text,
                        "score": round(line.score, 4),
                        "box": [[round(x, 1), round(y, 1)] for x, y in line.box],
                    }
                    for line in kept
                ],
                "width": image.width,
                "height": image.height,
                "elapsed_ms": round(elapsed_s * 1000, 1),
            }
        )


async def _bad_input(_: Request, error: Exception) -> Response:
    assert isinstance(error, BadInput)
    return JSONResponse({"status": error.status, "detail": str(error)}, status_code=error.status)


async def _openapi(_: Request) -> Response:
    return JSONResponse(await asyncio.to_thread(openapi))


def openapi() -> dict[str, Any]:
    """The OpenAPI document, with the template's own schemas."""
    schemas = {side: json.loads((FOLDER / f"{side}.schema.json").read_text()) for side in ("input", "output")}
    picture = {"schema": {"type": "string", "format": "binary"}}
    problem = {
        "type": "object",
        "properties": {"status": {"type": "integer"}, "detail": {"type": "string"}},
    }
    answers = {
        code: {"description": text, "content": {"application/json": {"schema": problem}}}
        for code, text in (
            ("400", "The body cannot be read"),
            ("413", "The image is too large"),
            ("415", "The content type is not taken"),
            ("422", "A field is missing or wrong"),
            ("503", "The model is being loaded"),
        )
    }
    good = {"description": "What was read", "content": {"application/json": {"schema": schemas["output"]}}}
    form = {
        "type": "object",
        "required": ["image"],
        "properties": {"image": picture["schema"], "min_score": schemas["input"]["properties"]["min_score"]},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Text recognition", "version": "1.0.0"},
        "paths": {
            "/ocr": {
                "post": {
                    "operationId": "ocr",
                    "summary": "Read the text in an image",
                    "parameters": [
                        {
                            "name": "min_score",
                            "in": "query",
                            "description": "Where the body is the image itself.",
                            "schema": schemas["input"]["properties"]["min_score"],
                        }
                    ],
                    "requestBody": {
                        "required": True,
                        "content": {
                            "application/json": {"schema": schemas["input"]},
                            "image/*": picture,
                            "multipart/form-data": {"schema": form},
                        },
                    },
                    "responses": {"200": good, **answers},
                }
            },
            "/healthcheck": {
                "get": {
                    "operationId": "healthcheck",
                    "summary": "200 once the model is loaded",
                    "responses": {"200": {"description": "Ready"}, "503": {"description": "Not yet"}},
                }
            },
        },
    }


def create() -> Starlette:
    """The application as the environment says: OCR_THREADS, OCR_MAX_MEGAPIXELS."""
    threads = int(os.environ.get("OCR_THREADS") or 1)
    megapixels = float(os.environ.get("OCR_MAX_MEGAPIXELS") or 25)
    return Server(lambda: load_model(threads), max_megapixels=megapixels).app()


def main() -> None:
    """Serve on PORT (8000), all addresses: the pod's network decides who reaches it."""
    import uvicorn

    uvicorn.run(
        create,
        factory=True,
        host=os.environ.get("HOST") or "0.0.0.0",
        port=int(os.environ.get("PORT") or 8000),
        log_level="warning",
        timeout_graceful_shutdown=120,
    )


if __name__ == "__main__":
    main()
