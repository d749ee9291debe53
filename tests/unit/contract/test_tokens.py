from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast_contract import tokens


def test_a_new_token_opens_what_declares_its_hash() -> None:
    token = tokens.new_token()
    assert tokens.opens(token, [tokens.parse_declared(tokens.declare(token))])


def test_another_token_does_not_open_it() -> None:
    assert not tokens.opens(tokens.new_token(), [tokens.hash_token(tokens.new_token())])


def test_what_is_declared_does_not_contain_the_secret() -> None:
    token = tokens.new_token("ci01")
    assert token.rsplit("_", 1)[1] not in tokens.declare(token)
    assert tokens.token_id(token) == "ci01"


def test_declaring_a_token_itself_is_refused_without_repeating_it() -> None:
    token = tokens.new_token()
    with pytest.raises(ValueError, match="is a token itself, not its hash") as error:
        tokens.parse_declared(token)
    assert token not in str(error.value)


@pytest.mark.parametrize("bad", ["", "A", "abc", "Upper", "x" * 17, "has_underscore"])
def test_a_token_id_of_another_shape_is_refused(bad: str) -> None:
    if bad == "":
        assert tokens.new_token(bad).startswith("hf_")  # empty: a random one
        return
    with pytest.raises(ValueError, match="4 to 16 lower-case letters and digits"):
        tokens.new_token(bad)


@given(st.text())
def test_no_text_makes_the_comparison_fail(text: str) -> None:
    assert not tokens.opens(text, [tokens.hash_token(tokens.new_token())])
    assert tokens.token_id(text) is None or text.startswith("hf_")
