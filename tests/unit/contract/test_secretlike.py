"""What counts as a secret in plain text."""

from __future__ import annotations

import pytest

from holdfast_contract.secretlike import holds_secret, looks_secret


@pytest.mark.parametrize(
    "text",
    [
        "postgres://ada:hunter2@db.example/x",
        "redis://:hunter2@cache.example:6379/0",
        "key=AKIA" + "A" * 16,
        "-----BEGIN RSA PRIVATE " + "KEY-----",
    ],
)
def test_a_known_form_of_secret_is_seen_inside_a_text(text: str) -> None:
    assert holds_secret(text)


@pytest.mark.parametrize(
    "text", ["https://db.example:5432/x", "https://ada@git.example/x", "http://a/b:c@d", "hello", ""]
)
def test_an_address_without_a_password_is_none(text: str) -> None:
    assert not holds_secret(text)


@pytest.mark.parametrize(
    ("name", "value", "looks"),
    [
        ("DB_PASSWORD", "hunter2", True),
        ("DB_PASSWORD", "", False),
        ("GOOGLE_APPLICATION_CREDENTIALS", "/etc/gcp/key.json", False),
        ("MAX_TOKENS", "512", False),
        ("CACHE", "redis://:hunter2@cache.example", True),
    ],
)
def test_a_setting_looks_secret_by_its_name_or_its_value(name: str, value: str, looks: bool) -> None:
    assert looks_secret(name, value) is looks
