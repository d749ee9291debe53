"""What nobody sends by mistake: every input is answered as a problem, and none reaches the answer's head."""

from __future__ import annotations

import base64
import io
from typing import Any

import pytest
from PIL import Image

from holdfast_runtime import File, Service


class Echo(Service):
    """Gives back what it got."""

    def infer(self, count: int = 0) -> int:
        return count

    def same(self, file: File) -> File:
        return file

    def named(self, name: str) -> File:
        return File(b"x", "text/plain", name)

    def size(self, picture: Image.Image) -> list[int]:
        return list(picture.size)


def _png(**kwargs: Any) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "PNG", **kwargs)
    return out.getvalue()


async def test_half_a_character_in_the_input_is_told_like_any_other_wrong_value(serve: Any) -> None:
    got = await (await serve(Echo)).ask("/infer", count="\ud800")
    assert got.status == 422
    assert [error["path"] for error in got.json["errors"]] == ["count"]


async def test_a_forms_text_of_too_great_a_depth_is_text(serve: Any) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    got = await (await serve(Echo)).ask("/infer", b"count=" + b"[" * 100_000, headers=form)
    assert got.status == 422
    assert [error["path"] for error in got.json["errors"]] == ["count"]


@pytest.mark.parametrize("kind", ["text/plain\r\nset-cookie: a=b", "text", "text/plain\u2028", "a b/c"])
async def test_a_data_uri_of_no_media_type_is_refused(serve: Any, kind: str) -> None:
    got = await (await serve(Echo)).ask("/same", file=f"data:{kind};base64,AAAA")
    assert got.status == 422
    (error,) = got.json["errors"]
    assert (error["rule"], error["remedy"]) == (
        "a data URI of no media type",
        "write data:<type>;base64,<data>",
    )


@pytest.mark.parametrize("kind", ["image/svg+xml", "text/plain;charset=utf-8", "application/vnd.x-1.y"])
async def test_a_data_uris_media_type_is_kept(serve: Any, kind: str) -> None:
    got = await (await serve(Echo)).ask("/same", file=f"data:{kind};base64,AAAA")
    assert (got.status, got.headers["content-type"].replace(" ", "")) == (
        200,
        kind if ";" in kind or not kind.startswith("text/") else f"{kind};charset=utf-8",
    )


async def test_a_files_name_stays_within_its_header(serve: Any) -> None:
    got = await (await serve(Echo)).ask("/named", name='a"\r\nset-cookie: b\x00\\.txt')
    assert got.status == 200
    assert got.headers["content-disposition"] == 'attachment; filename="a___set-cookie: b__.txt"'
    assert "set-cookie" not in got.headers


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(_png(exif=b"garbage garbage"), id="metadata that is none"),
        pytest.param(_png()[:8] + b"\0\0\0\1IHDR\0" + _png()[33:], id="a head cut short"),
    ],
)
async def test_a_damaged_picture_is_the_callers_mistake(serve: Any, data: bytes) -> None:
    got = await (await serve(Echo)).ask("/size", picture=base64.b64encode(data).decode())
    assert got.status == 422
    assert got.json["errors"][0]["remedy"] == "send a PNG, JPEG, WebP, GIF, BMP or TIFF"


async def test_a_picture_above_the_limit_is_told_so(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast_runtime.media.MAX_IMAGE_PIXELS", 50)
    got = await (await serve(Echo)).ask("/size", picture=base64.b64encode(_png()).decode())
    assert got.json["errors"][0]["remedy"] == "scale it down"
