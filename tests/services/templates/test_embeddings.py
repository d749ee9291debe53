"""The text embeddings template with its real model."""

from __future__ import annotations

import base64
import json
import struct
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest

# A first run installs the template's packages.
pytestmark = pytest.mark.timeout(300)

FOLDER = Path(__file__).resolve().parents[3] / "templates" / "embeddings"
CAT, KITTEN, REVENUE = "The cat sits on the mat.", "A kitten rests on a rug.", "Revenue rose by ten percent."


@pytest.fixture
def server(template_server: Callable[[str], Any]) -> Any:
    return template_server("embeddings")


def _post(server: Any, body: bytes) -> tuple[int, dict[str, Any]]:
    kind = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{server.url}/v1/embeddings", body, kind, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def _vectors(server: Any, **content: Any) -> list[Any]:
    status, answer = _post(server, json.dumps(content).encode())
    assert status == 200, answer
    jsonschema.validate(answer, json.loads((FOLDER / "output.schema.json").read_text()))
    assert [one["index"] for one in answer["data"]] == list(range(len(answer["data"])))
    return [one["embedding"] for one in answer["data"]]


def _dot(left: Sequence[float], right: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(left, right, strict=True))


def test_texts_that_mean_the_same_are_nearer_than_others(server: Any) -> None:
    cat, kitten, revenue = _vectors(server, input=[CAT, KITTEN, REVENUE])
    assert _dot(cat, kitten) > _dot(cat, revenue) + 0.2


@pytest.mark.parametrize("dimensions", [64, 128, 256])
def test_vectors_have_length_one_at_every_number_of_dimensions(server: Any, dimensions: int) -> None:
    (vector,) = _vectors(server, input=CAT, dimensions=dimensions)
    assert len(vector) == dimensions
    assert _dot(vector, vector) == pytest.approx(1, abs=1e-5)


def test_base64_holds_the_same_numbers(server: Any) -> None:
    (plain,) = _vectors(server, input=CAT)
    (packed,) = _vectors(server, input=CAT, encoding_format="base64")
    assert struct.unpack("<256f", base64.b64decode(packed)) == pytest.approx(plain, abs=1e-7)


def test_a_texts_vector_does_not_depend_on_its_company(server: Any) -> None:
    (alone,) = _vectors(server, input=CAT)
    many = _vectors(server, input=[REVENUE * 50, *[KITTEN] * 20, CAT])
    assert many[-1] == pytest.approx(alone, abs=1e-6)


def test_usage_counts_the_tokens_of_all_texts_without_padding(server: Any) -> None:
    each = [
        _post(server, json.dumps({"input": text}).encode())[1]["usage"]["total_tokens"]
        for text in (CAT, REVENUE * 9)
    ]
    both = _post(server, json.dumps({"input": [CAT, REVENUE * 9]}).encode())[1]["usage"]["total_tokens"]
    assert both == sum(each)


@pytest.mark.parametrize(
    ("body", "status", "field", "message"),
    [
        (b"{", 400, None, "the body is not JSON: "),
        (b"[]", 400, None, "the body is not an object: "),
        (b"{}", 400, "input", "input is missing: give a text, or a list of texts"),
        (b'{"input": []}', 400, "input", "input is missing: give a text, or a list of texts"),
        (b'{"input": ["a", " "]}', 400, "input", "input[1] is empty: leave it out"),
        (b'{"input": [[1, 2]]}', 400, "input", "input[0] is not a text: tokens are not taken, send the text"),
        (rb'{"input": "\ud800"}', 400, "input", "input[0] has half of a surrogate pair: send valid Unicode"),
        (
            b'{"input": "a", "dimensions": 65}',
            400,
            "dimensions",
            "dimensions is 65: use one of (64, 128, 256)",
        ),
        (b'{"input": "a", "encoding_format": "x"}', 400, "encoding_format", "encoding_format is 'x': use"),
        (b'{"input": "a", "inputs": "b"}', 400, "inputs", "inputs is not a field: there are "),
        (
            json.dumps({"input": "word " * 9000}).encode(),
            400,
            "input",
            "input[0] has 9001 tokens, above 8192",
        ),
        (json.dumps({"input": "a" * 262145}).encode(), 400, "input", "input[0] has 262145 characters, above"),
        (
            json.dumps({"input": ["a"] * 2049}).encode(),
            400,
            "input",
            "input has 2049 texts, above 2048: send",
        ),
        (b" " * 32 * 2**20, 413, None, "the body is over 8 MiB: send fewer texts at once"),
    ],
)
def test_what_is_wrong_is_said_as_openai_does(
    server: Any, body: bytes, status: int, field: str | None, message: str
) -> None:
    answered, problem = _post(server, body)
    assert answered == status
    assert problem["error"]["type"] == "invalid_request_error"
    assert problem["error"]["param"] == field
    assert problem["error"]["message"].startswith(message)


def test_openapi_describes_what_is_served(server: Any) -> None:
    with urllib.request.urlopen(f"{server.url}/openapi.json", timeout=5) as answer:
        document = json.load(answer)
    assert set(document["paths"]) == {"/v1/embeddings", "/v1/models", "/healthcheck"}
    with urllib.request.urlopen(f"{server.url}/v1/models", timeout=5) as answer:
        assert [one["id"] for one in json.load(answer)["data"]] == ["wordllama-l2-supercat-256"]
