"""The probe against a real registry in token mode, and a service that signs its tokens as public registries' do."""

from __future__ import annotations

import base64
import datetime
import json
import threading
import time
import urllib.parse
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from bench.ports import free_port
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from registries import Image, push, running

from holdfast_sandbox import builds
from holdfast_sandbox.paths import default_paths
from holdfast_sandbox.progress import Progress
from pulumi_holdfast.plan.feasibility import Failure
from pulumi_holdfast.probe import registry
from pulumi_holdfast.probe.registry import Login

ISSUER, SERVICE = "tokens.acme.example", "registry.acme.example"
LOGIN = Login("puller", "hush-registry-77aa")
STRANGER = Login("stranger", "hush-stranger-31bc")
PRIVATE, PUBLIC = "acme/chat", "public/chat"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass
class TokenService:
    """Signs what its users may do; `asked` are the scopes that it was asked for, with the user's name."""

    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))
    asked: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, ISSUER)])
        now = datetime.datetime.now(datetime.UTC)
        self.certificate = (
            x509.CertificateBuilder(name, name, self.key.public_key(), 1)
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self.key, hashes.SHA256())
        )

    def token(self, repository: str, actions: Sequence[str]) -> str:
        """A signed token for some actions on one repository."""
        now = int(time.time())
        certificate = base64.b64encode(self.certificate.public_bytes(Encoding.DER)).decode()
        head = {"typ": "JWT", "alg": "RS256", "x5c": [certificate]}
        access = [{"type": "repository", "name": repository, "actions": list(actions)}] if actions else []
        lifetime = {"iat": now, "nbf": now - 10, "exp": now + 300, "jti": uuid.uuid4().hex}
        claims = {"iss": ISSUER, "sub": "", "aud": SERVICE, "access": access, **lifetime}
        signed = ".".join(_base64url(json.dumps(part).encode()) for part in (head, claims))
        signature = self.key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_base64url(signature)}"

    def answer(self, query: str, authorization: str) -> dict[str, str] | None:
        """What a request for a token gets; None: a wrong password."""
        users = {"": "", LOGIN.basic: LOGIN.username, STRANGER.basic: STRANGER.username}
        if authorization not in users:
            return None
        asked = dict(urllib.parse.parse_qsl(query))
        self.asked.append((users[authorization], asked["scope"]))
        _, repository, _ = asked["scope"].split(":")
        may = asked["service"] == SERVICE and (repository == PUBLIC or authorization == LOGIN.basic)
        return {"token": self.token(repository, ["pull"] if may else [])}


@dataclass(frozen=True)
class Guarded:
    """A registry in token mode with the same image in a private and in a public repository."""

    image: Image
    tokens: TokenService


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """The registry's real binary, which knows no password and trusts the service's certificate."""
    folder, tokens = tmp_path_factory.mktemp("registry"), TokenService()
    (folder / "tokens.pem").write_bytes(tokens.certificate.public_bytes(Encoding.PEM))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = tokens.answer(
                urllib.parse.urlsplit(self.path).query, self.headers.get("Authorization", "")
            )
            body = json.dumps(found).encode() if found else b""
            self.send_response(200 if found else 401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    realm = f"http://127.0.0.1:{server.server_address[1]}/token"
    binary = builds.ensure(default_paths().cache, Progress(), ["registry"])["registry"].binaries["registry"]
    host = f"127.0.0.1:{free_port()}"
    trust = f'realm: "{realm}", service: {SERVICE}, issuer: {ISSUER}, rootcertbundle: {folder / "tokens.pem"}'
    (folder / "registry.yaml").write_text(
        f"""version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {folder / "data"}}}}}
http: {{addr: "{host}"}}
auth: {{token: {{{trust}}}}}
"""
    )
    try:
        with running([binary, "serve", folder / "registry.yaml"], f"http://{host}/v2/"):
            pushed = [_pushed(host, repository, tokens) for repository in (PRIVATE, PUBLIC)]
            yield Guarded(pushed[0], tokens)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _pushed(host: str, repository: str, tokens: TokenService) -> Image:
    return push(host, repository, f"Bearer {tokens.token(repository, ['pull', 'push'])}")


def test_a_private_image_is_found_with_a_token_for_its_repository_and_for_pulling_alone(
    guarded: Guarded,
) -> None:
    guarded.tokens.asked.clear()
    found = registry.image(f"{guarded.image.registry}/{PRIVATE}:1", LOGIN)
    assert (found.digest, found.bytes, found.failure) == (guarded.image.digest, guarded.image.size, None)
    assert guarded.tokens.asked == [("puller", f"repository:{PRIVATE}:pull")]


def test_one_token_serves_an_index_and_the_manifest_behind_it(guarded: Guarded) -> None:
    guarded.tokens.asked.clear()
    found = registry.image(f"{guarded.image.registry}/{PRIVATE}:multi", LOGIN)
    assert (found.digest, found.bytes) == (guarded.image.index, guarded.image.size)
    assert len(guarded.tokens.asked) == 1


def test_a_public_image_is_found_with_a_token_that_nobodys_password_asks_for(guarded: Guarded) -> None:
    guarded.tokens.asked.clear()
    assert registry.image(f"{guarded.image.registry}/{PUBLIC}:1").digest == guarded.image.digest
    assert guarded.tokens.asked == [("", f"repository:{PUBLIC}:pull")]


@pytest.mark.parametrize(
    ("reference", "login", "failure"),
    [
        (f"{PRIVATE}:2", LOGIN, Failure.NOT_FOUND),
        (f"{PRIVATE}:1", None, Failure.DENIED),
        (f"{PRIVATE}:1", Login("puller", "hunter2"), Failure.DENIED),
        (f"{PRIVATE}:1", STRANGER, Failure.DENIED),
    ],
)
def test_no_image_no_password_a_wrong_one_and_no_right_to_it_are_told_apart(
    guarded: Guarded, reference: str, login: Login | None, failure: Failure
) -> None:
    found = registry.image(f"{guarded.image.registry}/{reference}", login)
    assert (found.digest, found.failure) == (None, failure)
