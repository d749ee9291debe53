"""The probe against a real registry with a password, a token service, and AWS's stand-in."""

from __future__ import annotations

import json
import sys
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import bcrypt
import boto3
import pytest
from bench.ports import free_port
from registries import Image, push, running

from holdfast_sandbox import builds
from holdfast_sandbox.paths import default_paths
from holdfast_sandbox.progress import Progress
from pulumi_holdfast.plan.feasibility import Failure, Questions, parse_answers
from pulumi_holdfast.probe import Prober, registry
from pulumi_holdfast.probe.ask import Recorder
from pulumi_holdfast.probe.aws import Aws
from pulumi_holdfast.probe.registry import Login

PASSWORD = "hush-registry-77aa"
LOGIN = Login("puller", PASSWORD)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """A registry of this test run's own, with a password and one image."""
    folder = tmp_path_factory.mktemp("registry")
    binary = builds.ensure(default_paths().cache, Progress(), ["registry"])["registry"].binaries["registry"]
    htpasswd = folder / "htpasswd"
    htpasswd.write_text(f"puller:{bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()}\n")
    host = f"127.0.0.1:{free_port()}"
    (folder / "registry.yaml").write_text(
        f"""version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {folder / "data"}}}}}
http: {{addr: "{host}"}}
auth: {{htpasswd: {{realm: test, path: {htpasswd}}}}}
"""
    )
    with running([binary, "serve", folder / "registry.yaml"], f"http://{host}/v2/"):
        yield push(host, "acme/chat", LOGIN.basic)


@pytest.fixture(scope="module")
def aws_url() -> Iterator[str]:
    """AWS's stand-in."""
    url = f"http://127.0.0.1:{free_port()}"
    server = Path(sys.executable).with_name("moto_server")
    with running([server, "-H", "127.0.0.1", "-p", url.rpartition(":")[2]], f"{url}/moto-api/data.json"):
        yield url


@pytest.fixture
def aws(aws_url: str) -> Aws:
    """The probe's AWS, on the stand-in, with some secrets."""

    def client(service: str, region: str) -> Any:
        return boto3.client(
            service,  # type: ignore[call-overload]
            endpoint_url=aws_url,
            region_name=region,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    urllib.request.urlopen(urllib.request.Request(f"{aws_url}/moto-api/reset", method="POST")).close()
    manager = client("secretsmanager", "us-east-1")
    basic = {"username": "puller", "password": PASSWORD}
    for name, value in (
        ("acme/basic", json.dumps(basic)),
        ("acme/wrong", json.dumps({**basic, "password": "hunter2"})),
        ("acme/plain", "hunter2"),
    ):
        manager.create_secret(Name=name, SecretString=value)
    manager.create_secret(Name="acme/binary", SecretBinary=b"\x00\x01")
    return Aws("us-east-1", client)


def test_an_image_is_found_with_its_digest_and_size(image: Image) -> None:
    found = registry.image(f"{image.registry}/acme/chat:1", LOGIN)
    assert (found.digest, found.bytes, found.failure) == (image.digest, image.size, None)


def test_an_image_is_found_by_its_digest(image: Image) -> None:
    found = registry.image(f"{image.registry}/acme/chat@{image.digest}", LOGIN)
    assert found.digest == image.digest


def test_an_image_for_several_platforms_has_the_size_that_a_node_pulls(image: Image) -> None:
    found = registry.image(f"{image.registry}/acme/chat:multi", LOGIN)
    assert (found.digest, found.bytes) == (image.index, image.size)


@pytest.mark.parametrize(
    ("reference", "login", "failure"),
    [
        ("acme/chat:2", LOGIN, Failure.NOT_FOUND),
        ("acme/chta:1", LOGIN, Failure.NOT_FOUND),
        ("acme/chat@sha256:" + "0" * 64, LOGIN, Failure.NOT_FOUND),
        ("acme/chat:1", None, Failure.DENIED),
        ("acme/chat:1", Login("puller", "hunter2"), Failure.DENIED),
    ],
)
def test_why_an_image_cannot_be_had_is_told_apart(
    image: Image, reference: str, login: Login | None, failure: Failure
) -> None:
    found = registry.image(f"{image.registry}/{reference}", login)
    assert (found.digest, found.failure) == (None, failure)
    assert "hunter2" not in repr(login)


def test_a_registry_that_does_not_answer_is_unknown_and_not_missing() -> None:
    host = f"127.0.0.1:{free_port()}"
    found = registry.image(f"{host}/acme/chat:1", LOGIN)
    assert found.failure is Failure.UNKNOWN
    assert found.detail == f"{host} cannot be asked (ConnectionRefusedError)"


@pytest.mark.parametrize(
    ("secret", "keys", "failure"),
    [
        ("acme/basic", ("password", "username"), None),
        ("acme/plain", None, None),
        ("acme/binary", None, Failure.MALFORMED),
        ("acme/nothing", None, Failure.NOT_FOUND),
    ],
)
def test_a_secret_is_known_by_its_keys_alone(
    aws: Aws, secret: str, keys: tuple[str, ...] | None, failure: Failure | None
) -> None:
    found = aws.secret(secret)
    assert (found.keys, found.failure) == (keys, failure)
    assert PASSWORD not in found.model_dump_json()


def test_a_docker_configuration_logs_in_as_the_node_would(aws: Aws, image: Image) -> None:
    auth = LOGIN.basic.removeprefix("Basic ")
    value = json.dumps({"auths": {image.registry: {"auth": auth}, "quay.io": {"auth": "eDp5"}}})
    aws._client("secretsmanager").create_secret(Name="acme/docker", SecretString=value)
    assert aws.secret("acme/docker").registries == (image.registry, "quay.io")
    reference = f"{image.registry}/acme/chat:1"
    assert registry.image(reference, aws.login("acme/docker", reference)).digest == image.digest


def test_zones_and_quotas_are_asked(aws: Aws) -> None:
    assert set(aws.zones("m5.large").zones) <= {f"us-east-1{letter}" for letter in "abcdef"}
    assert aws.zones("m5.large").zones
    assert aws.zones("z9.gigantic").zones == ()
    # The stand-in knows no quotas of EC2: a question without an answer.
    assert aws.quota("L-DB2E81BA").failure is Failure.UNKNOWN


def test_all_questions_of_an_endpoint_are_answered_once_and_recorded(
    aws: Aws, image: Image, tmp_path: Path
) -> None:
    prober, recorder = Prober(aws), Recorder(tmp_path / "answers.json")
    reference = f"{image.registry}/acme/chat:1"
    for credentials in ("acme/basic", "acme/wrong", "acme/nothing"):
        asked = Questions(
            image=reference, credentials=credentials, secrets=(credentials,), instance_types=("m5.large",)
        )
        recorder.add(prober.answers(asked))
        found = prober.answers(asked).images[reference]
        expected = {"acme/basic": None, "acme/wrong": Failure.DENIED, "acme/nothing": Failure.UNKNOWN}
        assert found.failure is expected[credentials]
    text = (tmp_path / "answers.json").read_text()
    kept = parse_answers(text, "answers.json")
    assert set(kept.secrets) == {"acme/basic", "acme/wrong", "acme/nothing"}
    assert PASSWORD not in text
    assert "hunter2" not in text


# --- token authentication -------------------------------------------------------------------------------------
class _TokenRegistry(BaseHTTPRequestHandler):
    """A registry that wants a token, and the service that gives it to those who know the password."""

    def do_GET(self) -> None:
        host = self.headers["Host"]
        authorization = self.headers.get("Authorization", "")
        if self.path.startswith("/token"):
            known = authorization == LOGIN.basic and "scope=repository%3Aacme%2Fchat%3Apull" in self.path
            self._answer(200 if known else 401, json.dumps({"token": "t0k3n"}).encode() if known else b"")
        elif authorization == "Bearer t0k3n":
            self._answer(200, b'{"schemaVersion": 2, "layers": [{"size": 7}, {"size": 8}]}')
        elif self.path.startswith("/v2/elsewhere/"):
            self._answer(401, b"", f'Bearer realm="http://registry.example/token",service="{host}"')
        elif self.path.startswith("/v2/moved/"):
            self._answer(307, b"", location="http://registry.example/")
        else:
            self._answer(401, b"", f'Bearer realm="http://{host}/token",service="{host}"')

    def _answer(self, status: int, body: bytes, challenge: str = "", location: str = "") -> None:
        self.send_response(status)
        if challenge:
            self.send_header("WWW-Authenticate", challenge)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def token_registry() -> Iterator[str]:
    """`host:port` of such a registry."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _TokenRegistry)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_token_is_fetched_with_the_password_and_used(token_registry: str) -> None:
    found = registry.image(f"{token_registry}/acme/chat:1", LOGIN)
    assert (found.failure, found.bytes) == (None, 15)
    assert registry.image(f"{token_registry}/acme/chat:1").failure is Failure.DENIED


def test_a_password_is_never_sent_in_the_clear_or_after_a_redirect(token_registry: str) -> None:
    assert registry.image(f"{token_registry}/elsewhere/chat:1", LOGIN).failure is Failure.DENIED
    assert registry.image(f"{token_registry}/moved/chat:1", LOGIN).failure is Failure.UNKNOWN
