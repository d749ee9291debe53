"""Who may do what at the broker: keys, and the signed statements that NATS believes (its JWT mode).

One account holds all queues. Three keys may admit users to it, one for each part, and NATS itself ties each key to
what its users may do: whoever holds the workers' key can make workers and nothing else. Adding an endpoint is
signing a statement; the broker learns of it when the worker connects, so nothing is changed or restarted there.

Everything follows from one secret, so that the same program makes the same objects. The formats are NATS's own:
nkeys (https://github.com/nats-io/nkeys) and JWT v2 (https://github.com/nats-io/jwt).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from holdfast_contract import names, tokens

_SEED: Final = 18 << 3
_OPERATOR: Final = 14 << 3
_ACCOUNT: Final = 0
_USER: Final = 20 << 3
"""First bytes of nkeys: they make the first letter S, O, A or U."""

GATEWAY: Final = "gateway"
SCALER: Final = "scaler"
WORKER: Final = "worker"
PARTS: Final = (GATEWAY, SCALER, WORKER)

_API: Final = "$JS.API"
_RECORDS: Final = f"$KV.{names.BUCKET_REQUESTS}"
_ACTIVITY: Final = f"KV_{names.BUCKET_ACTIVITY}"
_BODIES: Final = f"$O.{names.BUCKET_BODIES}"
_ONE: Final = "{{name()}}"
"""NATS puts the name of the user here: a worker's is its endpoint's."""

PERMISSIONS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    GATEWAY: {"pub": (">",), "sub": (">",)},
    SCALER: {
        "pub": (
            f"{_API}.INFO",
            f"{_API}.STREAM.LIST",
            f"{_API}.STREAM.INFO.*",
            f"{_API}.CONSUMER.INFO.*.{names.CONSUMER}",
            f"{_API}.STREAM.MSG.GET.{_ACTIVITY}",
            f"{_API}.DIRECT.GET.{_ACTIVITY}",
            f"{_API}.DIRECT.GET.{_ACTIVITY}.>",
        ),
        "sub": (names.wake_subject("*"), f"{names.inbox_prefix(SCALER)}.>"),
    },
    WORKER: {
        "pub": (
            f"{_API}.CONSUMER.MSG.NEXT.{names.stream_name(_ONE)}.{names.CONSUMER}",
            f"$JS.ACK.{names.stream_name(_ONE)}.{names.CONSUMER}.>",
            f"{_RECORDS}.{_ONE}.>",
            f"{_API}.DIRECT.GET.KV_{names.BUCKET_REQUESTS}.{_RECORDS}.{_ONE}.>",
            f"{_BODIES}.C.{_ONE}.>",
            f"{_BODIES}.M.{_ONE}.>",
            f"{_API}.DIRECT.GET.OBJ_{names.BUCKET_BODIES}.{_BODIES}.C.{_ONE}.>",
            f"{_API}.DIRECT.GET.OBJ_{names.BUCKET_BODIES}.{_BODIES}.M.{_ONE}.>",
            names.done_subject(_ONE, "*"),
            names.webhook_subject(_ONE, "*"),
        ),
        "sub": (names.cancel_subject(_ONE, "*"), f"{names.inbox_prefix(WORKER, _ONE)}.>"),
    },
}
"""What each part may publish and subscribe to; everything else is refused. The gateway makes the streams, so it
may do anything within the account. A worker takes requests of its own queue and settles them, writes and reads its
own endpoint's records and bodies, and hears its own withdrawals. No part reaches the system account."""

_UNLIMITED: Final = {"subs": -1, "data": -1, "payload": -1}


@dataclass(frozen=True, slots=True)
class Key:
    """An nkey pair. Its secret half stands in no text of this object."""

    raw: bytes = field(repr=False)
    """32 bytes."""
    kind: int

    @property
    def public(self) -> str:
        """The public half, as NATS writes it."""
        return encoded(self.kind, self._private().public_key().public_bytes_raw())

    @property
    def seed(self) -> str:
        """The secret half, as NATS writes it."""
        return _text(bytes([_SEED | self.kind >> 5, (self.kind & 31) << 3]) + self.raw)

    def sign(self, data: bytes) -> bytes:
        """64 bytes."""
        return self._private().sign(data)

    def _private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.raw)


def encoded(kind: int, raw: bytes) -> str:
    """A public key as NATS writes it: kind, key, checksum, in base 32."""
    return _text(bytes([kind]) + raw)


def account_id(name: str) -> str:
    """The name by which NATS knows an account, and under which its queues lie on disk.

    It is a public key whose secret half nobody has: nothing can be signed with it, and it stays the same when all
    secrets change, or the queues would be lost.
    """
    return encoded(_ACCOUNT, hashlib.sha256(f"holdfast broker account {name}".encode()).digest())


def signing_key(secret: str, part: str) -> Key:
    """The key that admits users of one part."""
    return Key(_derived(secret, f"signing key {part}"), _ACCOUNT)


def worker_key(secret: str) -> str:
    """What endpoint stacks sign their workers with."""
    return signing_key(secret, WORKER).seed


def bodies_root(key: str) -> str:
    """What all endpoints' keys to bodies in a bucket are made from. `key`: the seed of the workers' key, which
    gateways are not given: they have this."""
    return hmac.new(key.encode(), b"holdfast bodies", hashlib.sha256).hexdigest()


def bodies_roots(secrets: Sequence[str | None]) -> str:
    """The gateway's file: a line for each secret that is good, the present one first."""
    return "\n".join(bodies_root(worker_key(secret)) for secret in secrets if secret)


def body_key(key: str, endpoint: str) -> str:
    """The key of one endpoint's workers to bodies in a bucket. `key`: the seed of the workers' key."""
    return tokens.body_key(bodies_root(key), endpoint)


def operator(secret: str) -> str:
    """The statement of who vouches for the accounts: the server's `operator`."""
    key = Key(_derived(secret, "operator"), _OPERATOR)
    return _signed(key, key.public, "holdfast", {"type": "operator", "system_account": SYSTEM_ACCOUNT})


def accounts(secret: str, previous: str | None = None) -> str:
    """The server's `resolver_preload`. With `previous`, what was signed under that secret is good as well."""
    key = Key(_derived(secret, "operator"), _OPERATOR)
    admitting = [signing_key(one, part) for one in (secret, previous) if one for part in PARTS]
    scopes = [
        {"kind": "user_scope", "key": admits.public, "role": part, "template": _template(part)}
        for admits, part in zip(admitting, [*PARTS, *PARTS], strict=False)
    ]
    limits = {**_UNLIMITED, "imports": -1, "exports": -1, "wildcards": True, "conn": -1, "leaf": 0}
    storage = {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}
    held = {"type": "account", "limits": {**limits, **storage}, "signing_keys": scopes}
    system = {"type": "account", "limits": limits}
    told = {
        ACCOUNT: _signed(key, ACCOUNT, "holdfast", held),
        SYSTEM_ACCOUNT: _signed(key, SYSTEM_ACCOUNT, "system", system),
    }
    return "{ " + ", ".join(f'{account}: "{statement}"' for account, statement in told.items()) + " }"


def credentials(key: str, name: str) -> str:
    """A user's credentials file. `key`: the seed of its part's signing key; `name`: the part, or a worker's
    endpoint. Raises ValueError where the key is none."""
    signer = read_seed(key)
    user = Key(_derived(signer.seed, f"user {name}"), _USER)
    statement = _signed(signer, user.public, name, {"type": "user", "issuer_account": ACCOUNT})
    return (
        f"-----BEGIN NATS USER JWT-----\n{statement}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
    )


def read_seed(text: str) -> Key:
    """A signing key from its seed. Raises ValueError, which does not repeat the text."""
    try:
        raw = base64.b32decode(text + "=" * (-len(text) % 8))
    except ValueError:
        raw = b""
    if len(raw) != 36 or raw[0] & 0xF8 != _SEED or _checksum(raw[:-2]) != raw[-2:]:
        raise ValueError("not a signing key of the broker: take the shared stack's output platform_key")
    return Key(raw[2:-2], (raw[0] & 7) << 5 | raw[1] >> 3)


def _template(part: str) -> dict[str, Any]:
    allowed = PERMISSIONS[part]
    return {**{what: {"allow": list(subjects)} for what, subjects in allowed.items()}, **_UNLIMITED}


def _signed(key: Key, subject: str, name: str, claims: Mapping[str, Any]) -> str:
    # No time of issue: the same statement must come out of every preview.
    body: dict[str, Any] = {
        "iss": key.public,
        "name": name,
        "sub": subject,
        "nats": {**claims, "version": 2},
    }
    body["jti"] = base64.b32encode(hashlib.sha256(_json(body)).digest()).decode().rstrip("=")
    head = _url64(_json({"typ": "JWT", "alg": "ed25519-nkey"}))
    signed = f"{head}.{_url64(_json(body))}"
    return f"{signed}.{_url64(key.sign(signed.encode()))}"


def _derived(secret: str, purpose: str) -> bytes:
    return hmac.new(secret.encode(), f"holdfast broker {purpose}".encode(), hashlib.sha256).digest()


def _json(value: Mapping[str, Any] | Sequence[Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _url64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _text(data: bytes) -> str:
    return base64.b32encode(data + _checksum(data)).decode().rstrip("=")


def _checksum(data: bytes) -> bytes:
    """CRC-16/XMODEM, low byte first."""
    value = 0
    for byte in data:
        value ^= byte << 8
        for _ in range(8):
            value = (value << 1 ^ 0x1021 if value & 0x8000 else value << 1) & 0xFFFF
    return value.to_bytes(2, "little")


ACCOUNT: Final = account_id("holdfast")
SYSTEM_ACCOUNT: Final = account_id("system")
"""NATS's own affairs. It has no signing key, so nobody can log in to it."""
