"""A service class as HTTP: arguments, answers, errors, streams."""

from __future__ import annotations

import base64
import io
from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal

import pytest
from PIL import Image
from pydantic import BaseModel, Field

from holdfast_contract import names
from holdfast_contract import problems as gateway_problems
from holdfast_runtime import Audio, File, InputError, Service, problems
from holdfast_runtime.routes import ServiceError, Streaming, routes_of
from holdfast_services.gateway.core.refusal import Refusal, problem_answer


class Box(BaseModel):
    width: int = Field(ge=1)
    height: int = Field(ge=1)


class Kitchen(Service):
    """Everything that a service can have."""

    max_body_bytes = 10_000

    def setup(self) -> None:
        self.greeting = "Hello"

    def infer(self, name: str, times: int = 1, tone: Literal["loud", "soft"] = "soft") -> str:
        """Greet somebody.

        As often as asked for.
        """
        return " ".join([f"{self.greeting}, {name}!"] * times)

    async def area(self, box: Box) -> dict[str, int]:
        return {"area": box.width * box.height}

    def flip(self, picture: Image.Image, upright: bool = False) -> Image.Image:
        return picture if upright else picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)

    def size(self, data: bytes, scale: float = 1) -> float:
        return len(data) * scale

    def described(self, file: File, note: str | None = None) -> dict[str, Any]:
        return {"type": file.content_type, "name": file.name, "bytes": len(file.data), "note": note}

    def speak(self, sound: Audio) -> Audio:
        return Audio(sound.data[::-1], "audio/flac", 'so"und.flac')

    def count(self, to: int) -> Iterator[dict[str, int]]:
        for number in range(to):
            if number == 3:
                raise RuntimeError("the secret is 42")
            yield {"number": number}

    async def words(self, text: str) -> AsyncIterator[str]:
        for word in text.split():
            yield word + " "

    def chunks(self, parts: int) -> Iterator[bytes]:
        for part in range(parts):
            if part == 2:
                raise RuntimeError("broken")
            yield bytes([part]) * 3

    def picky(self, n: int) -> None:
        if n < 0:
            raise InputError("n", "below 0", "send 0 or more", str(n))
        raise ValueError("the secret is 42")

    def _private(self) -> None:
        raise AssertionError


def picture(kind: str = "PNG") -> bytes:
    image = Image.new("RGB", (2, 1), "white")
    image.putpixel((0, 0), (0, 0, 0))
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


def form(*parts: tuple[str, str, bytes]) -> tuple[bytes, dict[str, str]]:
    body = b""
    for name, more, value in parts:
        body += (
            f'--x\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + value + b"\r\n"
        )
    return body + b"--x--\r\n", {"content-type": "multipart/form-data; boundary=x"}


async def test_infer_answers_at_its_name_and_at_the_root(serve: Any) -> None:
    served = await serve(Kitchen)
    for path in ("/", "/infer"):
        got = await served.ask(path, name="Ada", times=2)
        assert (got.status, got.body) == (200, b"Hello, Ada! Hello, Ada!")
        assert got.headers["content-type"].startswith("text/plain")


async def test_a_single_model_is_the_whole_body(serve: Any) -> None:
    got = await (await serve(Kitchen)).ask("/area", width=3, height=4)
    assert got.json == {"area": 12}


async def test_all_that_is_wrong_with_the_input_is_told_at_once(serve: Any) -> None:
    got = await (await serve(Kitchen)).ask("/infer", time=2, times="two", tone="shrill")
    assert got.status == 422
    assert got.headers["content-type"] == "application/problem+json"
    assert got.headers["x-should-retry"] == "false"
    assert {(error["path"], error["value"]) for error in got.json["errors"]} == {
        ("name", "missing"),
        ("time", "2"),
        ("times", '"two"'),
        ("tone", '"shrill"'),
    }
    assert got.json["detail"].startswith("4 problems: ")
    assert "time is 2, no parameter of this route: did you mean times?" in got.json["detail"]
    assert "name is missing, required: send it" in got.json["detail"]


async def test_a_problem_has_the_same_shape_as_the_gateways(serve: Any) -> None:
    got = await (await serve(Kitchen)).ask("/infer", headers={"x-request-id": "r1"})
    theirs = problem_answer(Refusal(gateway_problems.BAD_REQUEST, "x"), "r1")
    gateway = dict(theirs.headers)
    assert set(got.json) - {"errors"} == {"type", "title", "status", "detail", "remedy", "request_id"}
    assert all(f'"{key}"'.encode() in theirs.body for key in set(got.json) - {"errors"})
    assert got.json["type"] == "https://holdfast.dev/problems/bad-input"
    assert {"x-should-retry", "x-request-id"} <= set(got.headers) & {name.decode() for name in gateway}


def test_names_shared_with_the_platform_are_the_same_names() -> None:
    assert problems.HEADER_REQUEST_ID == names.HEADER_REQUEST_ID
    assert problems.HEADER_SHOULD_RETRY == names.HEADER_SHOULD_RETRY
    theirs = {kind.slug: kind.status for kind in gateway_problems.ALL}
    assert all(theirs.get(kind.slug, kind.status) == kind.status for kind in problems.ALL)


@pytest.mark.parametrize("way", ["form", "base64", "data-uri", "raw"])
async def test_a_picture_comes_as_a_form_as_base64_or_as_the_body(serve: Any, way: str) -> None:
    served = await serve(Kitchen)
    encoded = base64.b64encode(picture()).decode()
    if way == "form":
        body, headers = form(("picture", '; filename="a.png"', picture()), ("upright", "", b"true"))
        got = await served.ask("/flip", body, headers=headers)
    elif way == "raw":
        got = await served.ask(
            "/flip", picture(), headers={"content-type": "image/png"}, query="upright=true"
        )
    else:
        text = encoded if way == "base64" else f"data:image/png;base64,{encoded}"
        got = await served.ask("/flip", picture=text, upright=True)
    assert (got.status, got.headers["content-type"]) == (200, "image/png"), got.body
    assert Image.open(io.BytesIO(got.body)).convert("RGB").getpixel((0, 0)) == (0, 0, 0)


async def test_the_caller_chooses_the_pictures_format(serve: Any) -> None:
    headers = {"content-type": "image/png", "accept": "text/html, image/webp;q=0.8"}
    got = await (await serve(Kitchen)).ask("/flip", picture(), headers=headers)
    assert got.headers["content-type"] == "image/webp"
    assert Image.open(io.BytesIO(got.body)).format == "WEBP"


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ("http://example.com/a.png", "a link, which is never fetched"),
        ("data:image/png,abc", "a data URI without base64"),
        ("%%%", "not base64"),
        ("", "empty"),
        (base64.b64encode(b"GIF89a").decode(), "no picture that can be read"),
        (7, "not text"),
    ],
)
async def test_what_is_no_picture_is_refused_with_the_reason(serve: Any, sent: object, said: str) -> None:
    got = await (await serve(Kitchen)).ask("/flip", picture=sent)
    assert got.status == 422
    assert said in got.json["detail"]


async def test_bytes_files_and_sound_keep_their_type(serve: Any) -> None:
    served = await serve(Kitchen)
    octets = {"content-type": "application/octet-stream"}
    assert (await served.ask("/size", b"abcd", headers=octets, query="scale=0.5")).json == 2
    body, headers = form(
        ("file", '; filename="n.txt"\r\nContent-Type: text/plain', b"abc"), ("note", "", b"7")
    )
    assert (await served.ask("/described", body, headers=headers)).json == {
        "type": "text/plain",
        "name": "n.txt",
        "bytes": 3,
        "note": "7",
    }
    sound = await served.ask("/speak", b"abc", headers={"content-type": "audio/mpeg"})
    assert (sound.body, sound.headers["content-type"]) == (b"cba", "audio/flac")
    assert sound.headers["content-disposition"] == 'attachment; filename="so_und.flac"'
    wrong = await served.ask("/speak", sound="data:text/plain;base64,YWJj")
    assert "text/plain, not audio/*" in wrong.json["detail"]


async def test_a_generator_of_items_streams_events_and_ends_with_an_error_event_where_it_fails(
    serve: Any,
) -> None:
    served = await serve(Kitchen)
    got = await served.ask("/count", to=2)
    assert got.pieces[:2] == [b'data: {"number":0}\n\n', b'data: {"number":1}\n\n']
    assert got.headers["content-type"] == "text/event-stream"
    assert got.headers["cache-control"] == "no-cache"
    failed = await served.ask("/count", to=9)
    assert failed.pieces[-1].startswith(
        b'event: error\ndata: {"type": "https://holdfast.dev/problems/model-error"'
    )
    assert b"42" not in failed.body


async def test_a_generator_of_text_or_bytes_streams_chunks_and_has_no_clean_end_where_it_fails(
    serve: Any,
) -> None:
    served = await serve(Kitchen)
    words = await served.ask("/words", text="to be or")
    assert (words.pieces[:3], words.ended) == ([b"to ", b"be ", b"or "], True)
    broken = await served.ask("/chunks", parts=3)
    assert (broken.pieces, broken.ended) == ([b"\0\0\0", b"\1\1\1"], False)


async def test_code_that_fails_is_500_without_its_message_and_input_errors_are_422(serve: Any) -> None:
    served = await serve(Kitchen)
    failed = await served.ask("/picky", n=1)
    assert (failed.status, failed.json["detail"]) == (500, "/picky raised ValueError")
    wrong = await served.ask("/picky", n=-1)
    assert (wrong.status, wrong.json["detail"]) == (422, "1 problem: n is -1, below 0: send 0 or more")


async def test_malformed_large_and_foreign_bodies_are_refused(serve: Any) -> None:
    served = await serve(Kitchen)
    json_type = {"content-type": "application/json"}
    assert (await served.ask("/infer", b"{", headers=json_type)).status == 400
    assert (await served.ask("/infer", b"[" * 100_000, headers=json_type)).status in (400, 413)
    assert (await served.ask("/infer", b"[1]", headers=json_type)).status == 422
    assert (await served.ask("/infer", b"x" * 10_001, headers=json_type)).status == 413
    assert (await served.ask("/infer", b"x", headers={"content-type": "text/csv"})).status == 415
    body, headers = form(("name", '; filename="a"', b"x"))
    assert (await served.ask("/infer", body, headers=headers)).status == 422


async def test_a_type_without_a_body_is_no_input(serve: Any) -> None:
    octets = {"content-type": "application/octet-stream"}
    served = await serve(Kitchen)
    assert (await served.ask("/count", b"", headers=octets, query="to=1")).body == b'data: {"number":0}\n\n'
    assert "data is missing" in (await served.ask("/size", b"", headers=octets)).json["detail"]


async def test_unknown_routes_and_methods_are_problems_too_and_private_methods_are_no_routes(
    serve: Any,
) -> None:
    served = await serve(Kitchen)
    for path in ("/nowhere", "/_private", "/setup"):
        got = await served.ask(path)
        assert (got.status, got.headers["content-type"]) == (404, "application/problem+json")
    got = await served.get("/infer")
    assert (got.status, got.headers["allow"]) == (405, "POST")


async def test_openapi_says_what_every_route_takes_and_gives(serve: Any) -> None:
    document = (await (await serve(Kitchen)).get("/openapi.json")).json
    assert document["openapi"] == "3.1.0"
    assert document["info"]["description"] == "Everything that a service can have."
    infer = document["paths"]["/infer"]["post"]
    assert (infer["summary"], infer["description"]) == ("Greet somebody", "As often as asked for.")
    schema = infer["requestBody"]["content"]["application/json"]["schema"]
    assert schema["required"] == ["name"]
    assert schema["properties"]["tone"]["enum"] == ["loud", "soft"]
    flip = document["paths"]["/flip"]["post"]
    assert set(flip["requestBody"]["content"]) == {"application/json", "multipart/form-data", "image/*"}
    assert set(flip["responses"]["200"]["content"]) == {"image/png", "image/jpeg", "image/webp"}
    assert "text/event-stream" in document["paths"]["/count"]["post"]["responses"]["200"]["content"]
    ids = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(ids) == len(set(ids))


def test_a_class_is_refused_with_all_that_is_wrong_with_it() -> None:
    class Wrong(Service):
        concurrency = 0

        def infer(self, name, *more: str) -> str:  # type: ignore[no-untyped-def]
            return ""

        def stream(self) -> int:  # type: ignore[misc]
            yield 1

        def odd(self, one: socket_like) -> None: ...  # type: ignore[name-defined]  # noqa: F821

        def answerless(self):  # type: ignore[no-untyped-def]
            return ""

    with pytest.raises(ServiceError) as raised:
        routes_of(Wrong)
    text = str(raised.value)
    assert "Wrong.infer: parameter name has no annotation: write its type, such as `name: str`" in text
    assert "Wrong.stream: yields, but its answer is <class 'int'>: write `-> Iterator[…]`" in text
    assert "Wrong.odd: an annotation cannot be read" in text
    assert "Wrong.answerless: the answer has no annotation" in text
    assert "Wrong.concurrency is 0, below 1" in text


def test_a_class_without_infer_is_refused() -> None:
    class Empty(Service):
        pass

    with pytest.raises(ServiceError, match="Empty has no method `infer`"):
        routes_of(Empty)


def test_the_routes_of_a_class_say_how_they_stream() -> None:
    found = {route.name: route.streaming for route in routes_of(Kitchen)}
    assert next(iter(found)) == "infer"
    assert (found["count"], found["words"], found["chunks"]) == (
        Streaming.EVENTS,
        Streaming.TEXT,
        Streaming.BYTES,
    )
