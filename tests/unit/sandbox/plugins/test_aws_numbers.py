"""When a text and a number mean the same to AWS."""

from __future__ import annotations

import pytest

from holdfast_sandbox.plugins.aws.differences import same


@pytest.mark.parametrize(("left", "right"), [("443", 443), ("-1", -1), ("0", 0), (443.0, "443")])
def test_a_port_is_the_same_as_text_and_as_a_number(left: object, right: object) -> None:
    assert same(left, right)


@pytest.mark.parametrize(
    ("left", "right"), [("0042", "42"), ("--1", "-1"), ("²", "2"), ("-", ""), ("1" * 16, int("1" * 16) + 1)]
)
def test_what_only_looks_like_a_number_is_text(left: object, right: object) -> None:
    assert not same(left, right)
