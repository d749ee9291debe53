"""Where settings come from, what bodies look like, and media in and out."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

import holdfast_client
from holdfast_client import Media
from holdfast_client._body import encode
from holdfast_client._config import resolve
from holdfast_client._retry import retry_after_s

PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A config file with everything in it."""
    path = tmp_path / "holdfast.toml"
    path.write_text('url = "https://file.test"\ntoken = "file-token"\n[tokens]\nocr = "ocr-token"\n')
    return path


def test_an_argument_wins_over_the_environment_and_that_over_the_file(config: Path) -> None:
    environment = {"HOLDFAST_CONFIG": str(config)}
    assert resolve(environment=environment).url == "https://file.test"
    environment |= {"HOLDFAST_URL": "https://env.test", "HOLDFAST_TOKEN": "env-token"}
    assert resolve(environment=environment).url == "https://env.test"
    assert resolve(environment=environment).token == "env-token"
    given = resolve("https://arg.test/", "arg-token", environment)
    assert (given.url, given.token) == ("https://arg.test", "arg-token")


def test_an_endpoint_may_have_a_token_of_its_own_in_the_file(config: Path) -> None:
    settings = resolve(environment={"HOLDFAST_CONFIG": str(config)})
    assert settings.token_for("ocr") == "ocr-token"
    assert settings.token_for("chat") == "file-token"
    assert settings.token_for(None) == "file-token"


def test_a_token_that_was_given_is_sent_to_every_endpoint(config: Path) -> None:
    settings = resolve(None, "mine", {"HOLDFAST_CONFIG": str(config)})
    assert settings.token_for("ocr") == "mine"


def test_tokens_of_the_file_are_for_the_gateway_that_the_file_names(config: Path) -> None:
    """A token went to whatever gateway was named beside the file."""
    environment = {"HOLDFAST_CONFIG": str(config)}
    for same in ("https://file.test/", "https://FILE.test:443"):
        assert resolve(same, environment=environment).token_for("ocr") == "ocr-token"
    for other in ("https://other.test", "http://file.test", "https://file.test:8443"):
        settings = resolve(other, environment=environment)
        assert (settings.token, settings.token_for("ocr")) == (None, None)
    config.write_text('token = "file-token"\n')
    assert resolve("https://other.test", environment=environment).token == "file-token"


def test_a_token_may_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("hf_a_b\n")
    environment = {"HOLDFAST_URL": "http://x", "HOLDFAST_TOKEN_FILE": str(path), "HOLDFAST_CONFIG": "/none"}
    assert resolve(environment=environment).token == "hf_a_b"


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, r'no gateway URL: pass url=, set HOLDFAST_URL, or write url = "https://…" to /none'),
        ({"HOLDFAST_URL": "gateway:80"}, "must begin with http:// or https:// and a host"),
        ({"HOLDFAST_URL": "http://gateway:80800"}, "'http://gateway:80800': it must begin with http://"),
        ({"HOLDFAST_URL": "http://u:p@h/"}, "has a query, fragment or user name"),
        (
            {"HOLDFAST_URL": "http://h", "HOLDFAST_TOKEN_FILE": "/no/such"},
            "/no/such cannot be read: No such file",
        ),
    ],
)
def test_wrong_settings_say_what_to_do(environment: dict[str, str], message: str) -> None:
    with pytest.raises(holdfast_client.ConfigurationError, match=message):
        resolve(environment={"HOLDFAST_CONFIG": "/none", **environment})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("url = ", "is not TOML"),
        ("url = 3", "url not understood"),
        ("[tokens]\nocr = 1", "tokens not understood"),
        ('urls = "x"', "urls not understood"),
    ],
)
def test_a_wrong_config_file_is_named(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(holdfast_client.ConfigurationError, match=message) as caught:
        resolve(environment={"HOLDFAST_CONFIG": str(path)})
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", ["", "two words", "a\nb"])
def test_a_file_that_is_no_token_is_not_repeated(content: str, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(content)
    environment = {"HOLDFAST_URL": "http://x", "HOLDFAST_TOKEN_FILE": str(path), "HOLDFAST_CONFIG": "/none"}
    with pytest.raises(holdfast_client.ConfigurationError) as caught:
        resolve(environment=environment)
    assert str(caught.value) == f"token file {path} does not hold exactly one token: write the token alone"


def test_data_is_sent_as_json_with_media_as_data_uris() -> None:
    body = encode({"image": Media(b"x", "image/png"), "n": [1, None, "ü"]})
    assert body.content_type == "application/json"
    assert json.loads(body.content) == {"image": "data:image/png;base64,eA==", "n": [1, None, "ü"]}


def test_bytes_and_media_are_sent_as_they_are() -> None:
    assert encode(b"raw").content_type == "application/octet-stream"
    sent = encode(holdfast_client.image(PNG))
    assert (sent.content, sent.content_type) == (PNG, "image/png")


def test_nothing_is_no_body_and_the_json_null_can_be_sent_as_bytes() -> None:
    assert encode(None).content_type is None


def test_files_and_fields_make_a_form(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    body = encode({"lang": "en", "n": 2}, files={"image": path})
    assert body.content_type
    assert body.content_type.startswith("multipart/form-data; boundary=")
    assert b'name="image"; filename="a.png"\r\nContent-Type: image/png' in body.content
    assert b'name="lang"\r\n\r\nen\r\n' in body.content
    assert b'name="n"\r\n\r\n2\r\n' in body.content
    assert encode(form={"a": "b"}).content == b"a=b"


def test_what_cannot_be_sent_says_what_to_wrap_it_in() -> None:
    unsendable: Any = {"f": Path("x")}
    with pytest.raises(
        TypeError, match=r"PosixPath cannot be sent as JSON: .*wrap files and bytes in image\(\)"
    ):
        encode(unsendable)
    with pytest.raises(ValueError, match="goes with files only as a mapping"):
        encode([1], files={"a": b""})
    with pytest.raises(ValueError, match="Out of range float"):
        encode(float("nan"))


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"RIFF1234WEBPVP8 ", "image/webp"),
        (b"RIFF1234WAVEfmt ", "audio/wav"),
        (b"ID3\x03", "audio/mpeg"),
        (b"\x00\x00\x00\x18ftypisom", "video/mp4"),
        (b"\x1aE\xdf\xa3", "video/webm"),
        (b"%PDF-1.7", "application/pdf"),
        (b"", "application/octet-stream"),
    ],
)
def test_bytes_are_recognised_by_how_they_begin(data: bytes, media_type: str) -> None:
    assert holdfast_client.file(data).content_type == media_type


def test_a_file_keeps_its_name_and_type(tmp_path: Path) -> None:
    path = tmp_path / "speech.wav"
    path.write_bytes(b"RIFF1234WAVE")
    medium = holdfast_client.audio(path)
    assert (medium.filename, medium.content_type) == ("speech.wav", "audio/x-wav")
    assert holdfast_client.audio(str(path)) == medium


def test_the_wrong_helper_and_a_missing_file_say_so(tmp_path: Path) -> None:
    with pytest.raises(
        holdfast_client.MediaError, match="the bytes given: image/png, not audio: use the helper"
    ):
        holdfast_client.audio(PNG)
    with pytest.raises(holdfast_client.MediaError, match=r"nope\.png cannot be read: No such file"):
        holdfast_client.image(tmp_path / "nope.png")
    with pytest.raises(holdfast_client.MediaError, match="a int is no source of media"):
        holdfast_client.file(3)


def test_a_data_uri_is_read_and_written() -> None:
    medium = holdfast_client.image(f"data:image/png;base64,{base64.b64encode(PNG).decode()}")
    assert medium.data == PNG
    assert holdfast_client.file(medium.data_uri) == medium
    assert holdfast_client.file("data:,a%20b").data == b"a b"
    with pytest.raises(holdfast_client.MediaError, match="base64 is broken"):
        holdfast_client.file("data:image/png;base64,?")


def test_a_url_is_fetched_without_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        missing = request.url.path == "/missing.png"
        return httpx2.Response(404 if missing else 200, headers={"content-type": "image/png"}, content=PNG)

    http = httpx2.Client(transport=httpx2.MockTransport(answer))
    monkeypatch.setattr(httpx2, "stream", lambda *words, **how: http.stream(*words, **{**how}))
    medium = holdfast_client.image("https://pictures.test/a.png?x=1")
    assert (medium.data, medium.filename, medium.content_type) == (PNG, "a.png", "image/png")
    assert "authorization" not in seen[0].headers
    with pytest.raises(holdfast_client.MediaError, match="answered 404: give a URL that can be read"):
        holdfast_client.image("https://pictures.test/missing.png")


def test_a_pil_image_is_sent_as_png() -> None:
    class Image:  # what is recognised of Pillow's class: its name and module
        def save(self, buffer: Any, format: str) -> None:
            assert format == "PNG"
            buffer.write(PNG)

    Image.__module__ = "PIL.Image"
    medium = holdfast_client.image(Image())
    assert (medium.data, medium.content_type) == (PNG, "image/png")
    given: Any = {"image": Image()}
    assert json.loads(encode(given).content)["image"] == medium.data_uri
    whole: Any = Image()
    assert encode(whole).content == PNG


def test_an_answer_is_saved_under_the_name_it_brings(tmp_path: Path) -> None:
    headers = {"content-type": "image/png", "content-disposition": 'attachment; filename="../cat.png"'}
    answer = holdfast_client.Answer(200, headers, PNG)
    assert answer.media().save(tmp_path) == tmp_path / "cat.png"
    assert answer.save(tmp_path / "b.png").read_bytes() == PNG
    assert (
        holdfast_client.Answer(200, {"content-type": "image/png"}, PNG).media().save(tmp_path).name
        == "answer.png"
    )


def test_notebooks_show_pictures_and_sound() -> None:
    assert '<img src="data:image/png' in Media(PNG, "image/png")._repr_mimebundle_()["text/html"]
    assert "<audio controls" in Media(b"x", "audio/wav")._repr_mimebundle_()["text/html"]
    assert "text/html" not in Media(b"x")._repr_mimebundle_()


def test_text_of_an_answer_follows_its_character_set() -> None:
    answer = holdfast_client.Answer(200, {"content-type": "text/plain; charset=latin-1"}, b"\xfc")
    assert answer.text == "ü"
    assert holdfast_client.Answer(200, {"content-type": "text/plain; charset=nope"}, b"a").text == "a"
    assert holdfast_client.Answer(200, {}, "ü".encode()).text == "ü"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Thu, 01 Jan 1970 00:01:40 GMT"}, 90.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:01 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_retry_after_in_all_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers, now=10.0) == seconds


def test_times_are_read_as_numbers_or_text() -> None:
    status = holdfast_client.JobStatus.parse(
        {"id": "a", "status": "running", "created_at": "1970-01-01T00:00:10Z", "started_at": 11}
    )
    assert (status.state, status.created_at, status.started_at) == (
        holdfast_client.JobState.RUNNING,
        10.0,
        11.0,
    )
    with pytest.raises(ValueError, match="lacks 'status'"):
        holdfast_client.JobStatus.parse({"id": "a"})


@pytest.mark.parametrize("token", ["hf_secret\n", "hf_secret\r", "hf_secret more", "hf_secrét"])
def test_a_token_that_no_header_can_carry_is_refused_without_showing_it(token: str, tmp_path: Path) -> None:
    config = tmp_path / "holdfast.toml"
    config.write_text(f"[tokens]\nocr = {json.dumps(token)}\n")
    for environment in (
        {"HOLDFAST_TOKEN": token, "HOLDFAST_CONFIG": "/none"},
        {"HOLDFAST_CONFIG": str(config)},
    ):
        with pytest.raises(holdfast_client.ConfigurationError, match="write the token alone") as caught:
            resolve("http://gateway.test", environment=environment)
        assert "secr" not in str(caught.value)
    with pytest.raises(holdfast_client.ConfigurationError, match="write the token alone"):
        holdfast_client.Client("http://gateway.test").with_options(token=token)
