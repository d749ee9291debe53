"""Identities at the broker: the formats, and rights that end at one's own endpoint whatever it is called."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import assume, given
from hypothesis import strategies as st

from holdfast_contract import names
from holdfast_contract.document import NAME_PATTERN
from pulumi_holdfast.plan import identities

SECRET = "a secret of at least 24 characters"
endpoints = st.from_regex(NAME_PATTERN, fullmatch=True)
secrets = st.text(min_size=24, max_size=60)


def allows(pattern: str, subject: str) -> bool:
    """NATS's rule: `*` is one word, `>` one or more at the end."""
    wanted, given = pattern.split("."), subject.split(".")
    for place, word in enumerate(wanted):
        if word == ">":
            return len(given) > place
        if place >= len(given) or word not in ("*", given[place]):
            return False
    return len(wanted) == len(given)


def rights(endpoint: str) -> list[str]:
    """What a worker may publish and hear, with its name put in as NATS does."""
    worker = identities.PERMISSIONS[identities.WORKER]
    return [text.replace("{{name()}}", endpoint) for text in (*worker["pub"], *worker["sub"])]


def uses(endpoint: str) -> list[str]:
    """What a worker of an endpoint publishes and hears."""
    queue, record = names.stream_name(endpoint), f"$KV.requests.{endpoint}.01a2-b3"
    body = f"{endpoint}.{'0' * 32}"
    return [
        f"$JS.API.CONSUMER.MSG.NEXT.{queue}.w",
        f"$JS.ACK.{queue}.w.1.2.3.4.5",
        record,
        f"{record}.end",
        f"$JS.API.DIRECT.GET.KV_requests.{record}.end",
        f"$O.bodies.C.{body}.0",
        f"$O.bodies.M.{body}",
        f"$JS.API.DIRECT.GET.OBJ_bodies.$O.bodies.C.{body}.0",
        f"$JS.API.DIRECT.GET.OBJ_bodies.$O.bodies.M.{body}",
        names.done_subject(endpoint, "01a2-b3"),
        names.webhook_subject(endpoint, "01a2-b3"),
        names.cancel_subject(endpoint, "*"),
        f"{names.inbox_prefix('worker', endpoint)}.abc.1",
    ]


@given(endpoints)
def test_a_worker_may_do_its_work(endpoint: str) -> None:
    refused = [one for one in uses(endpoint) if not any(allows(right, one) for right in rights(endpoint))]
    assert refused == []


@given(endpoints, endpoints)
def test_a_worker_may_do_nothing_of_another_endpoint(mine: str, other: str) -> None:
    assume(mine != other)
    assert [one for one in uses(other) if any(allows(right, one) for right in rights(mine))] == []


@given(endpoints)
def test_no_right_of_a_worker_has_a_wildcard_before_its_name(endpoint: str) -> None:
    for right in rights(endpoint):
        words = right.split(".")
        named = next(place for place, word in enumerate(words) if endpoint in word)
        assert not {"*", ">"} & set(words[:named]), right


@given(secrets, endpoints)
def test_the_same_secret_makes_the_same_credentials_and_another_makes_others(secret: str, name: str) -> None:
    key = identities.worker_key(secret)
    assert identities.credentials(key, name) == identities.credentials(key, name)
    assert identities.credentials(identities.worker_key(secret + "x"), name) != identities.credentials(
        key, name
    )
    assert secret not in identities.credentials(key, name)


@given(secrets)
def test_a_signing_key_is_read_back_from_its_seed(secret: str) -> None:
    key = identities.signing_key(secret, identities.WORKER)
    assert identities.read_seed(key.seed) == key


@pytest.mark.parametrize("text", ["", "SUAB", "x" * 58, identities.worker_key(SECRET)[:-1] + "A"])
def test_what_is_no_signing_key_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(
        ValueError, match="not a signing key of the broker: take the shared stack's output"
    ) as told:
        identities.credentials(text, "chat")
    assert not text or text not in str(told.value)


def test_a_key_says_nothing_of_its_secret_half() -> None:
    key = identities.signing_key(SECRET, identities.WORKER)
    assert key.seed not in repr(key)
    assert str(key.raw) not in repr(key)


def test_a_statement_is_signed_by_its_parts_key_and_claims_no_right_itself() -> None:
    key = identities.signing_key(SECRET, identities.WORKER)
    text = identities.credentials(key.seed, "chat").split("\n")[1]
    claims = _verified(text)
    assert claims["iss"] == key.public
    assert claims["name"] == "chat"
    assert claims["nats"] == {"type": "user", "issuer_account": identities.ACCOUNT, "version": 2}


def test_the_account_outlives_its_secret_or_the_queues_would_be_lost() -> None:
    before, after = (identities.accounts(f"{SECRET} {turn}") for turn in "ab")
    assert before != after
    assert f"{identities.ACCOUNT}: " in before
    assert f"{identities.ACCOUNT}: " in after


def test_the_previous_secrets_keys_are_admitted_beside_the_new_ones() -> None:
    text = identities.accounts("the new secret of many characters", SECRET)
    statement = text.split(f'{identities.ACCOUNT}: "')[1].split('"')[0]
    keys = {scope["key"]: scope["role"] for scope in _verified(statement)["nats"]["signing_keys"]}
    assert keys[identities.signing_key(SECRET, "worker").public] == "worker"
    assert sorted(keys.values()) == sorted([*identities.PARTS, *identities.PARTS])


def test_nobody_can_be_admitted_to_the_system_account() -> None:
    text = identities.accounts(SECRET)
    statement = text.split(f'{identities.SYSTEM_ACCOUNT}: "')[1].split('"')[0]
    assert "signing_keys" not in _verified(statement)["nats"]


def _verified(statement: str) -> dict[str, Any]:
    """The claims of a statement, once its signature is found good."""
    head, body, signature = statement.split(".")
    claims: dict[str, Any] = json.loads(_bytes(body))
    issuer = base64.b32decode(claims["iss"] + "=" * (-len(claims["iss"]) % 8))
    Ed25519PublicKey.from_public_bytes(issuer[1:-2]).verify(_bytes(signature), f"{head}.{body}".encode())
    return claims


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
