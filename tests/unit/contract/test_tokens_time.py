"""That comparing a token takes the same time whichever differs, by how it is done."""

from __future__ import annotations

import hmac

import pytest

from holdfast_contract import tokens

TOKENS = [tokens.new_token(f"aaa{n}") for n in range(5)]
DECLARED = [tokens.hash_token(token) for token in TOKENS]


@pytest.mark.parametrize("token", [TOKENS[0], TOKENS[2], TOKENS[4], tokens.new_token(), "", "hf_aaa0_"])
def test_every_declared_hash_is_compared_whole_whether_or_not_one_was_found(
    token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[int, int]] = []
    real = hmac.compare_digest

    def counting(one: str, other: str) -> bool:
        compared.append((len(one), len(other)))
        return real(one, other)

    monkeypatch.setattr(tokens.hmac, "compare_digest", counting)
    assert tokens.opens(token, DECLARED) is (token in TOKENS)
    assert compared == [(64, 64)] * len(DECLARED), "SHA-256 against SHA-256, all of them"
