"""Property values on the wire: what is secret stays secret, what is unknown stays unknown."""

from __future__ import annotations

import datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from holdfast_sandbox.plugins.aws.wire import UNKNOWN, decode, encode, has_unknown

PLAIN: Any = st.recursive(
    st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(min_size=1), PLAIN, max_size=5))
def test_plain_values_come_back_as_they_were(values: dict[str, Any]) -> None:
    assert decode(encode(values)).plain == values


@given(st.dictionaries(st.text(min_size=1), PLAIN, min_size=1, max_size=5))
def test_every_secret_comes_back_marked(values: dict[str, Any]) -> None:
    back = decode(encode(values, set(values)))
    assert back.plain == values
    assert back.secret == set(values)


def test_a_secret_deep_inside_marks_its_property() -> None:
    message = encode({"outer": {}, "other": 1})
    inner = encode({"password": "x"}, {"password"})
    message.fields["outer"].struct_value.fields["list"].list_value.values.add().struct_value.CopyFrom(inner)
    back = decode(message)
    assert back.plain["outer"] == {"list": [{"password": "x"}]}
    assert back.secret == {"outer"}


def test_unknown_values_are_found_at_every_depth() -> None:
    back = decode(encode({"a": [{"b": UNKNOWN}], "c": 1}))
    assert back.plain["a"][0]["b"] is UNKNOWN
    assert has_unknown(back.plain["a"])
    assert not has_unknown(back.plain["c"])


def test_missing_values_are_left_out_and_dates_become_text() -> None:
    made = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
    assert decode(encode({"a": None, "b": made})).plain == {"b": "2026-01-02T00:00:00+00:00"}


def test_whole_numbers_are_whole_again() -> None:
    back = decode(encode({"port": 443.0, "share": 0.5})).plain
    assert back == {"port": 443, "share": 0.5}
    assert isinstance(back["port"], int)
