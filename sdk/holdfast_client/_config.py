"""Where the gateway's URL and the token come from: argument, environment, config file, in this order."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from holdfast_client._errors import ConfigurationError

ENV_URL: Final = "HOLDFAST_URL"
ENV_TOKEN: Final = "HOLDFAST_TOKEN"
ENV_TOKEN_FILE: Final = "HOLDFAST_TOKEN_FILE"
ENV_CONFIG: Final = "HOLDFAST_CONFIG"
"""Path of the config file; default `~/.config/holdfast/config.toml` (or below XDG_CONFIG_HOME)."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a client needs to know. Tokens are left out of its printed form."""

    url: str
    """The gateway, without a trailing slash."""
    token: str | None = field(default=None, repr=False)
    """Sent to every endpoint that has no token of its own below; None: public endpoints only."""
    tokens: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Tokens by endpoint, from the config file; used where no token was given otherwise."""

    def __post_init__(self) -> None:
        """Raises ConfigurationError for a token that no header can carry: the error of whoever tries shows it."""
        for token in (self.token or "", *self.tokens.values()):
            if not (token.isascii() and token.isprintable()) or " " in token:
                raise ConfigurationError(
                    "a token has a space, a line end or another character that no token has: write the token alone"
                )

    def token_for(self, endpoint: str | None) -> str | None:
        """The token to send for an endpoint; None: no token is known."""
        return self.tokens.get(endpoint or "", self.token)


def config_path(environment: Mapping[str, str]) -> Path:
    """Where the config file is looked for."""
    if environment.get(ENV_CONFIG):
        return Path(environment[ENV_CONFIG])
    base = environment.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "holdfast" / "config.toml"


def resolve(
    url: str | None = None,
    token: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """Gather the settings. `environment`: variables, those of the process if None.

    Tokens of a config file that names a gateway are taken for that gateway alone.

    Raises ConfigurationError where no URL is found, or a named file cannot be read.

    >>> resolve("http://localhost:8080/", environment={"HOLDFAST_CONFIG": "/nowhere"})
    Settings(url='http://localhost:8080')
    """
    environment = os.environ if environment is None else environment
    file = _read_config(config_path(environment))
    found_url = url or environment.get(ENV_URL) or file.get("url")
    if not found_url:
        raise ConfigurationError(
            f'no gateway URL: pass url=, set {ENV_URL}, or write url = "https://…" '
            f"to {config_path(environment)}"
        )
    checked = _checked_url(str(found_url))
    given = token or environment.get(ENV_TOKEN) or _read_token(environment.get(ENV_TOKEN_FILE))
    if given:
        return Settings(checked, given)
    # The file's tokens are for the file's gateway: no other is told them.
    if "url" in file and _origin(_checked_url(file["url"])) != _origin(checked):
        return Settings(checked)
    return Settings(checked, file.get("token"), dict(file.get("tokens", {})))


def _origin(url: str) -> tuple[str, str | None, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme]


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # an address in brackets or a port that is none
        sound = False
    if not sound:
        shown = url.rpartition("@")[2]  # what stands before may be a password
        raise ConfigurationError(
            f"gateway URL is {shown!r}: it must begin with http:// or https:// and a host, and a port is 1 to 65535"
        )
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise ConfigurationError(
            "gateway URL has a query, fragment or user name: give scheme, host and path alone"
        )
    return url.rstrip("/")


def read_token_file(path: str | Path) -> str:
    """The token in a file, without surrounding space. Raises ConfigurationError where it cannot be read."""
    try:
        text = Path(path).expanduser().read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigurationError(f"token file {path} cannot be read: {reason}") from error
    if not text or len(text.split()) != 1:
        raise ConfigurationError(f"token file {path} does not hold exactly one token: write the token alone")
    return text


def _read_token(path: str | None) -> str | None:
    return read_token_file(path) if path else None


def _read_config(path: Path) -> dict[str, Any]:
    """The config file as a table; empty where there is none."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"config file {path} cannot be read: {error}") from error
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"config file {path} is not TOML: {error}") from error
    wrong = [key for key in ("url", "token") if not isinstance(table.get(key, ""), str)]
    tokens = table.get("tokens", {})
    if not isinstance(tokens, dict) or not all(isinstance(value, str) for value in tokens.values()):
        wrong.append("tokens")
    unknown = sorted(set(table) - {"url", "token", "tokens"})
    if wrong or unknown:
        raise ConfigurationError(
            f"config file {path}: {', '.join([*wrong, *unknown])} not understood; it takes url and token as text, "
            "and a table [tokens] of endpoint = token"
        )
    return table
