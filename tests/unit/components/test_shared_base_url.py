"""A gateway's URL that another resource gives is checked like one that is written."""

from __future__ import annotations

from typing import Any

import pulumi
import pytest
from component_programs import shared

from pulumi_holdfast import testing


def _told(url: Any, **args: Any) -> list[str]:
    with pytest.raises(ValueError, match='shared stack "holdfast" has') as caught:
        testing.record(shared(base_url=lambda: pulumi.Output.from_input(url), **args))
    return [line.strip() for line in str(caught.value).splitlines() if line.startswith("  base_url")]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (
            "gpu.example",
            'base_url is "gpu.example", not a URL: start it with https:// (http:// for a sandbox)',
        ),
        ("https://a/", 'base_url is "https://a/", a URL that ends with /: leave the last / out'),
        (None, "base_url is missing, required: declare the gateway's URL as callers see it"),
    ],
)
def test_a_wrong_url_is_told_once_it_is_known(url: str | None, expected: str) -> None:
    assert _told(url) == [expected]


def test_plain_http_beside_a_certificate_is_told_once_it_is_known() -> None:
    assert _told("http://gpu.example", gateway={"tls_secret": "gpu-tls"}) == [
        'base_url is "http://gpu.example", plain HTTP beside gateway.tls_secret: '
        "start it with https://, or leave tls_secret out"
    ]


def test_a_url_that_is_known_later_is_what_endpoint_stacks_read() -> None:
    made = testing.record(shared(base_url=lambda: pulumi.Output.from_input("https://later.example")))
    assert made.exports["platform"]["base_url"] == "https://later.example"
