"""The private registry: a real one, with a password, on the loopback."""

from __future__ import annotations

import base64
import json
import secrets
import urllib.request
from pathlib import Path
from typing import Final

import bcrypt

from holdfast_sandbox import private, processes
from holdfast_sandbox.paths import Paths

HOST: Final = "registry.holdfast.local:5000"
"""As image references say it; the node maps it to the listener."""
LISTENER: Final = "127.0.0.1:5000"
USER: Final = "holdfast"


def password(paths: Paths) -> str:
    """The registry's password, made at first use."""
    return secret(paths, "registry-password")


def secret(paths: Paths, name: str) -> str:
    """A random secret of this sandbox, made at first use and kept in a file of mode 600."""
    return private.once(paths.secrets / name, lambda: secrets.token_urlsafe(24))


def auth_file(paths: Paths) -> Path:
    """Credentials in the form that image tools read, so that none appears in a command line."""
    file = paths.secrets / "registry-auth.json"
    text = base64.b64encode(f"{USER}:{password(paths)}".encode()).decode()
    private.write(file, json.dumps({"auths": {name: {"auth": text} for name in (HOST, LISTENER)}}))
    return file


def start(paths: Paths) -> None:
    """Start the registry and wait until it asks for a password."""
    folder = paths.var / "registry"
    folder.mkdir(parents=True, exist_ok=True)
    htpasswd = paths.secrets / "htpasswd"
    secret_text = password(paths)
    known = htpasswd.is_file() and bcrypt.checkpw(
        secret_text.encode(), htpasswd.read_text().strip().partition(":")[2].encode()
    )
    if not known:
        hashed = bcrypt.hashpw(secret_text.encode(), bcrypt.gensalt(5)).decode()
        private.write(htpasswd, f"{USER}:{hashed}\n")
    configuration = paths.etc / "registry.yaml"
    configuration.parent.mkdir(parents=True, exist_ok=True)
    configuration.write_text(
        f"""version: 0.1
log: {{level: warn, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: {folder}}}
  delete: {{enabled: true}}
http: {{addr: "{LISTENER}"}}
auth:
  htpasswd: {{realm: holdfast-sandbox, path: {htpasswd}}}
"""
    )
    processes.start(
        paths, "registry", [paths.bin / "registry", "serve", configuration], files=[configuration, htpasswd]
    )
    processes.wait_until("the registry does not answer", _answers, 20, paths, "registry")


def _answers() -> bool:
    try:
        urllib.request.urlopen(f"http://{LISTENER}/v2/", timeout=2)
    except urllib.error.HTTPError as error:
        return error.code == 401
    except OSError:
        return False
    return False
