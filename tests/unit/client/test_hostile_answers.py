"""What a model, a proxy or a stranger's file may send, and settings with a password in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

import holdfast_client
from holdfast_client import Client, Media
from holdfast_client._config import resolve
from holdfast_client._errors import from_answer as error_of
from holdfast_client._media import from_answer
from holdfast_client._retry import retry_after_s

Make = Callable[..., Client]


def test_the_type_of_an_answer_adds_nothing_to_a_notebooks_page() -> None:
    for content_type in ('image/x" onerror="alert(1)', "image/png'><script>alert(1)</script>", "audio/<b>"):
        medium = from_answer(b"\x89PNG\r\n\x1a\n", {"content-type": content_type})
        assert medium.content_type == "image/png", "what is no media type is looked for in the bytes"
        html = Media(b"x", content_type)._repr_mimebundle_()["text/html"]
        assert html.count('"') == 2
        assert html.count("<") == (2 if content_type.startswith("audio") else 1)


@pytest.mark.parametrize(
    "kind", ["image/png\r\nx-evil: 1", "image/p ng", "image", 'image/png"', "a/b/c", "é/png"]
)
def test_a_data_uri_of_no_media_type_is_refused(kind: str) -> None:
    with pytest.raises(holdfast_client.MediaError, match=r"a data: URI of type .*, which is no media type"):
        holdfast_client.file(f"data:{kind};base64,YQ==")


def test_a_data_uri_with_letters_that_base64_has_not_is_refused_as_a_medium() -> None:
    with pytest.raises(holdfast_client.MediaError, match="a data: URI whose base64 is broken"):
        holdfast_client.file("data:image/png;base64,é")


def test_an_address_that_is_none_is_refused_as_a_medium() -> None:
    with pytest.raises(holdfast_client.APIConnectionError, match="cannot be fetched: Invalid"):
        holdfast_client.file("http://x\x00y/")


@pytest.mark.parametrize(
    "url",
    [
        "http://:hush@gateway.test",
        "http://me:hush@gateway.test",
        "ftp://me:hush@gateway.test",
        "me:hush@gateway.test",
    ],
)
def test_a_gateway_url_with_a_password_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(holdfast_client.ConfigurationError) as found:
        resolve(url, environment={"HOLDFAST_CONFIG": "/none"})
    assert "hush" not in str(found.value)


def test_a_gateway_url_that_cannot_be_read_is_a_wrong_setting() -> None:
    with pytest.raises(
        holdfast_client.ConfigurationError, match=r"it must begin with http:// or https:// and a host"
    ):
        resolve("http://[::1", environment={"HOLDFAST_CONFIG": "/none"})


def test_a_date_beyond_all_years_asks_for_no_wait() -> None:
    assert retry_after_s({"retry-after": "1 Jan 99999999999999999999 00:00:00 GMT"}, 0) is None


def test_an_error_page_nested_without_end_is_still_an_error_of_its_status() -> None:
    body = b"[" * 200_000
    found = error_of(500, {"content-type": "application/json"}, body)
    assert isinstance(found, holdfast_client.InternalServerError)


@pytest.mark.parametrize(
    "answer",
    [
        [],
        {"id": "1"},
        {"id": "1", "status": "RESTING"},
        7,
        "x",
        {"id": 1, "status": "QUEUED", "attempt": "many"},
    ],
)
def test_what_is_no_answer_about_a_request_is_an_error_of_ours(
    client: Make, gateway: Any, answer: Any
) -> None:
    gateway.script.append(httpx2.Response(200, json=answer))
    with pytest.raises(holdfast_client.APIError, match=r"the gateway's answer .* cannot be read"):
        client().job("1").status()


@pytest.mark.parametrize("answer", [[], {}, {"name": ""}])
def test_what_is_no_description_is_an_error_of_ours(client: Make, gateway: Any, answer: Any) -> None:
    gateway.script.append(httpx2.Response(200, json=answer))
    with pytest.raises(holdfast_client.APIError, match=r"the gateway's answer .* cannot be read"):
        client().endpoint("echo")


class _Open(httpx2.SyncByteStream):
    """A body that says when it was let go of."""

    closed = False

    def __iter__(self) -> Any:
        yield b"moved"

    def close(self) -> None:
        self.closed = True


def test_a_refused_redirect_leaves_no_connection_open(client: Make, gateway: Any) -> None:
    body = _Open()
    gateway.script.append(httpx2.Response(302, headers={"location": "https://elsewhere.test"}, stream=body))
    moved = pytest.raises(holdfast_client.APIError, match=r"points to https://elsewhere\.test")
    with moved, client().stream("echo", {"n": 1}):
        pass
    assert body.closed
