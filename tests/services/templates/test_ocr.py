"""The text recognition template with its real model."""

from __future__ import annotations

import base64
import io
import json
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import psutil
import pytest
from PIL import Image

# A first run installs the template's packages.
pytestmark = pytest.mark.timeout(300)

FOLDER = Path(__file__).resolve().parents[3] / "templates" / "ocr"
RECEIPT = (FOLDER / "examples" / "receipt.png").read_bytes()
TOTAL = "TOTAL EUR 16.50"


@pytest.fixture
def server(template_server: Callable[[str], Any]) -> Any:
    return template_server("ocr")


def _post(server: Any, body: bytes, kind: str, query: str = "") -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(f"{server.url}/ocr{query}", body, {"Content-Type": kind}, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def _json(server: Any, content: Any) -> tuple[int, dict[str, Any]]:
    return _post(server, json.dumps(content).encode(), "application/json")


def _form(server: Any, parts: dict[str, bytes]) -> tuple[int, dict[str, Any]]:
    body = b""
    for name, value in parts.items():
        file = b'; filename="a.png"\r\nContent-Type: image/png' if name == "image" else b""
        body += b'--edge\r\nContent-Disposition: form-data; name="' + name.encode() + b'"' + file
        body += b"\r\n\r\n" + value + b"\r\n"
    return _post(server, body + b"--edge--\r\n", "multipart/form-data; boundary=edge")


def _damaged_metadata() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "PNG", exif=b"garbage garbage")
    return out.getvalue()


def test_it_reads_every_line_of_the_receipt(server: Any) -> None:
    status, answer = _post(server, RECEIPT, "image/png")
    assert status == 200
    recorded = json.loads((FOLDER / "examples" / "receipt.answer.json").read_text())
    assert answer["text"] == recorded["text"]
    assert TOTAL in answer["text"]
    assert min(line["score"] for line in answer["lines"]) > 0.9


def test_the_answer_follows_the_schema_and_boxes_lie_within_the_image(server: Any) -> None:
    _, answer = _post(server, RECEIPT, "image/png")
    jsonschema.validate(answer, json.loads((FOLDER / "output.schema.json").read_text()))
    assert (answer["width"], answer["height"]) == (540, 642)
    for line in answer["lines"]:
        assert all(0 <= x <= answer["width"] and 0 <= y <= answer["height"] for x, y in line["box"])


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"], ids=["base64", "data URI"])
def test_the_image_may_come_as_json(server: Any, prefix: str) -> None:
    status, answer = _json(server, {"image": prefix + base64.b64encode(RECEIPT).decode()})
    assert status == 200
    assert TOTAL in answer["text"]


def test_the_image_may_come_as_a_forms_file(server: Any) -> None:
    status, answer = _form(server, {"image": RECEIPT, "min_score": b"0.2"})
    assert status == 200
    assert TOTAL in answer["text"]


def test_min_score_leaves_out_what_the_model_is_less_sure_of(server: Any) -> None:
    _, everything = _post(server, RECEIPT, "image/png", "?min_score=0")
    _, sure = _post(server, RECEIPT, "image/png", "?min_score=0.999")
    assert 0 < len(sure["lines"]) < len(everything["lines"])
    assert all(line["score"] >= 0.999 for line in sure["lines"])


def test_an_image_without_text_gives_no_lines(server: Any) -> None:
    status, answer = _post(server, _png(64, 64), "image/png")
    assert (status, answer["lines"], answer["text"]) == (200, [], "")


@pytest.mark.parametrize(
    ("body", "kind", "status", "detail"),
    [
        (b"not an image", "image/png", 422, "the image cannot be read (UnidentifiedImageError): send PNG"),
        (RECEIPT[:2000], "image/png", 422, "the image cannot be read (OSError): send PNG"),
        (_damaged_metadata(), "image/png", 422, "the image cannot be read (SyntaxError): send PNG"),
        (b"", "image/png", 422, "the image is empty: send its bytes"),
        (
            b"a=b",
            "application/x-www-form-urlencoded",
            415,
            "content-type is application/x-www-form-urlencoded",
        ),
        (b"{", "application/json", 400, "the body is not JSON: "),
        (b"[]", "application/json", 422, "the body is not an object: "),
        (b"{}", "application/json", 422, "image is missing: give a data URI or base64"),
        (b'{"image": 1}', "application/json", 422, "image is not text: give a data URI or base64"),
        (b'{"image": "?"}', "application/json", 422, "image is not valid base64: encode the file's bytes"),
        (b'{"image": "data:image/png,x"}', "application/json", 422, "image is a data URI without base64: "),
        (b'{"image": "https://a.test/b"}', "application/json", 422, "image is a link: this server fetches"),
        (b'{"image": "AA==", "x": 1}', "application/json", 422, "x is not a field: there are image and min"),
        (
            b'{"image": "AA==", "min_score": 2}',
            "application/json",
            422,
            "min_score is 2, not a number from 0",
        ),
        (b"no boundary", "multipart/form-data", 400, "the form cannot be read: "),
    ],
)
def test_what_is_wrong_is_said(server: Any, body: bytes, kind: str, status: int, detail: str) -> None:
    answered, problem = _post(server, body, kind)
    assert (answered, problem["status"]) == (status, status)
    assert problem["detail"].startswith(detail)


def test_a_small_file_that_unfolds_to_gigabytes_is_refused_before_it_is_decoded(server: Any) -> None:
    status, problem = _post(server, _png(30_000, 30_000), "image/png")
    assert (status, problem["detail"]) == (413, "image has 900.0 megapixels, above 25: scale it down")


@pytest.mark.parametrize("send", ["image/png", "form"])
def test_a_body_over_the_limit_is_refused_while_it_is_read(server: Any, send: str) -> None:
    large = bytes(64 * 1024 * 1024)
    status, problem = _form(server, {"image": large}) if send == "form" else _post(server, large, send)
    assert (status, problem["detail"]) == (413, "the body is over 28 MiB: send a smaller image")


def test_openapi_describes_what_is_served_with_the_templates_schemas(server: Any) -> None:
    with urllib.request.urlopen(f"{server.url}/openapi.json", timeout=5) as answer:
        document = json.load(answer)
    assert set(document["paths"]) == {"/ocr", "/healthcheck"}
    taken = document["paths"]["/ocr"]["post"]["requestBody"]["content"]
    assert set(taken) == {"application/json", "image/*", "multipart/form-data"}
    assert taken["application/json"]["schema"] == json.loads((FOLDER / "input.schema.json").read_text())


def test_the_runtime_reports_nothing_and_opens_no_connection(server: Any) -> None:
    process = psutil.Process(server.pid)
    assert _post(server, RECEIPT, "image/png")[0] == 200
    remote = [c.raddr for c in process.net_connections() if c.raddr and not c.raddr.ip.startswith("127.")]
    assert remote == []
    assert "telemetry" not in server.log.read_text()


def _png(width: int, height: int) -> bytes:
    """A white grey-scale PNG; its size in bytes hardly depends on its size in pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return len(data).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([1, 0, 0, 0, 0])
    row = b"\0" + b"\xff" * ((width + 7) // 8)
    packer = zlib.compressobj(1)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
