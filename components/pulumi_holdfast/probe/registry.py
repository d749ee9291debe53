"""What a registry says of an image: HTTP API v2, with token or basic authentication. Reads manifests only."""

from __future__ import annotations

import base64
import hashlib
import http.client
import ipaddress
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pulumi_holdfast.plan.feasibility import Failure, ImageAnswer
from pulumi_holdfast.spec.endpoint import registry_of

TIMEOUT_S: Final = 8.0
MAX_MANIFEST_BYTES: Final = 4 * 1024 * 1024
"""What registries accept at most (OCI distribution spec)."""
_INDEX: Final = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_ACCEPT: Final = ", ".join(
    (
        *_INDEX,
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
_CHALLENGE: Final = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Login:
    """A username and password; never shown."""

    username: str
    password: str = field(repr=False)

    @property
    def basic(self) -> str:
        """As an Authorization header."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Credentials follow nobody: a manifest is where it was asked for, or it is not there."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


_OPENER: Final = urllib.request.build_opener(_NoRedirect)


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


def image(reference: str, login: Login | None = None) -> ImageAnswer:
    """The digest and size of an image, or why there is none. Never raises for what a registry does."""
    registry = registry_of(reference)
    repository, wanted = _parts(reference, registry)
    session = _Session(_base(registry), repository, login)
    try:
        answer = session.manifest(wanted)
        if answer.status == 404:
            return ImageAnswer(failure=Failure.NOT_FOUND)
        if answer.status in (401, 403):
            return ImageAnswer(failure=Failure.DENIED)
        if answer.status != 200:
            return _unknown(f"{registry} answered {answer.status}")
        digest = "sha256:" + hashlib.sha256(answer.body).hexdigest()
        return ImageAnswer(digest=digest, bytes=_size(session, answer))
    except (OSError, http.client.HTTPException, ValueError, urllib.error.URLError) as error:
        reason = getattr(error, "reason", None) or error
        return _unknown(f"{registry} cannot be asked ({type(reason).__name__})")


def _unknown(detail: str) -> ImageAnswer:
    return ImageAnswer(failure=Failure.UNKNOWN, detail=detail)


def _parts(reference: str, registry: str) -> tuple[str, str]:
    """Repository, and tag or digest."""
    rest = reference.removeprefix(f"{registry}/")
    rest, at, digest = rest.partition("@")
    slash = rest.rfind("/")
    name, colon, tag = rest[slash + 1 :].partition(":")
    repository = rest[: slash + 1] + name
    if registry == "docker.io" and "/" not in repository:
        repository = f"library/{repository}"
    return repository, digest if at else tag if colon else "latest"


def _base(registry: str) -> str:
    """Registries speak TLS; one on this machine need not."""
    host = "registry-1.docker.io" if registry == "docker.io" else registry
    return f"{'http' if _is_loopback(host) else 'https'}://{host}"


def _is_loopback(host: str) -> bool:
    name = urllib.parse.urlsplit(f"//{host}").hostname or ""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


class _Session:
    """Requests to one repository."""

    def __init__(self, base: str, repository: str, login: Login | None) -> None:
        self._base = base
        self._repository = repository
        self._login = login
        self._authorization = ""

    def manifest(self, wanted: str) -> _Answer:
        url = f"{self._base}/v2/{self._repository}/manifests/{wanted}"
        answer = _get(url, self._authorization)
        if answer.status == 401 and not self._authorization:
            self._authorization = self._authorized(answer.headers.get("www-authenticate", ""))
            if self._authorization:
                answer = _get(url, self._authorization)
        return answer

    def _authorized(self, challenge: str) -> str:
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "basic":
            return self._login.basic if self._login else ""
        given = dict(_CHALLENGE.findall(rest))
        realm = urllib.parse.urlsplit(given.get("realm", ""))
        if scheme.lower() != "bearer" or not (
            realm.scheme == "https" or (realm.scheme == "http" and _is_loopback(realm.netloc))
        ):
            return ""  # a password is never sent in the clear
        query = {"scope": given.get("scope") or f"repository:{self._repository}:pull"}
        if "service" in given:
            query["service"] = given["service"]
        answer = _get(
            f"{given['realm']}?{urllib.parse.urlencode(query)}", self._login.basic if self._login else ""
        )
        if answer.status != 200:
            return ""
        told = json.loads(answer.body)
        token = told.get("token") or told.get("access_token")
        return f"Bearer {token}" if token else ""


def _get(url: str, authorization: str) -> _Answer:
    request = urllib.request.Request(url, headers={"Accept": f"{_ACCEPT}, application/json;q=0.5"})
    if authorization:
        request.add_unredirected_header("Authorization", authorization)
    try:
        with _OPENER.open(request, timeout=TIMEOUT_S) as found:
            body = found.read(MAX_MANIFEST_BYTES + 1)
            status, headers = found.status, found.headers
    except urllib.error.HTTPError as error:
        with error:
            status, headers, body = error.code, error.headers, b""
    if len(body) > MAX_MANIFEST_BYTES:
        raise ValueError("the answer is larger than a manifest may be")
    return _Answer(status, {key.lower(): value for key, value in headers.items()}, body)


def _size(session: _Session, answer: _Answer) -> int | None:
    """Compressed layers for linux/amd64."""
    manifest = json.loads(answer.body)
    if manifest.get("mediaType") in _INDEX or "manifests" in manifest:
        fitting = [one for one in manifest["manifests"] if _fits(one.get("platform") or {})]
        if not fitting:
            return None
        answer = session.manifest(fitting[0]["digest"])
        if answer.status != 200:
            return None
        manifest = json.loads(answer.body)
    sizes = [layer.get("size", 0) for layer in manifest.get("layers") or ()]
    return sum(sizes) if sizes else None


def _fits(platform: Mapping[str, Any]) -> bool:
    return platform.get("os") == "linux" and platform.get("architecture") == "amd64"
