"""What a part shows the broker: a credentials file in NATS's own format, as the components make it.

nats-py reads such files only with a second library for keys; signing one challenge is a line here.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from holdfast_contract import names

__all__ = ["Login", "read_secret"]

_JWT: Final = re.compile(r"BEGIN NATS USER JWT-+\s+(\S+)\s+-")
_SEED: Final = re.compile(r"BEGIN USER NKEY SEED-+\s+(\S+)\s+-")


@dataclass(frozen=True, slots=True)
class Login:
    """How to log in: by credentials, by user and password, or (nothing given) not at all."""

    credentials: Path | None = None
    """Read again at every connection, so that a renewed file is used."""
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Login:
        """What the environment says. Raises ValueError where the credentials file cannot be used."""
        path = environ.get(names.ENV_NATS_CREDENTIALS)
        login = cls(
            Path(path) if path else None,
            environ.get(names.ENV_NATS_USER),
            environ.get(names.ENV_NATS_PASSWORD),
        )
        if login.credentials is not None:
            _read(login.credentials)
        return login

    def options(self) -> dict[str, Any]:
        """Arguments for nats-py's `connect`."""
        path = self.credentials
        if path is None:
            return {"user": self.user, "password": self.password}

        def statement() -> bytearray:
            return bytearray(_read(path)[0].encode())

        def signature(challenge: str) -> bytes:
            return base64.b64encode(_read(path)[1].sign(challenge.encode()))

        return {"user_jwt_cb": statement, "signature_cb": signature}


def read_secret(environ: Mapping[str, str], variable: str) -> str:
    """What stands in the file that a variable names; empty where it is unset. Raises ValueError naming the file."""
    path = environ.get(variable)
    if not path:
        return ""
    try:
        return Path(path).read_text().strip()
    except OSError as error:
        raise ValueError(f"{variable}={path} cannot be read: {error.strerror}") from error


def _read(path: Path) -> tuple[str, Ed25519PrivateKey]:
    """The statement and the key of a credentials file. Raises ValueError naming the file, never its content."""
    try:
        text = path.read_text()
    except OSError as error:
        raise ValueError(f"{names.ENV_NATS_CREDENTIALS}={path} cannot be read: {error.strerror}") from error
    statement, seed = _JWT.search(text), _SEED.search(text)
    if statement is None or seed is None:
        raise ValueError(f"{names.ENV_NATS_CREDENTIALS}={path} is no credentials file of the broker")
    try:
        raw = base64.b32decode(seed[1] + "=" * (-len(seed[1]) % 8))
        return statement[1], Ed25519PrivateKey.from_private_bytes(raw[2:-2])
    except ValueError as error:
        raise ValueError(f"{names.ENV_NATS_CREDENTIALS}={path} has a broken key") from error
