"""The whole platform in the sandbox: the shared stack as `make up` declares it, and endpoint stacks of a test's own."""

from __future__ import annotations

import concurrent.futures
import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from authoring import PROGRAM, PROJECT, STACK_CODE, Author
from pulumi_project import Project, Pulumi, new_project

from holdfast_contract import names, tokens
from holdfast_sandbox import aws, demo, images
from holdfast_sandbox.progress import Progress

HEAD = """
import pulumi
import pulumi_holdfast as holdfast

platform = holdfast.Platform.from_stack("organization/holdfast/sandbox-shared", tokens=[TOKEN])
STANDIN = {
    "platform": platform,
    "image": IMAGE,
    "registry_credentials": {"secret": "sandbox/registry"},
    "hardware": {"cpu": 0.05, "memory_mib": 64},
}
"""


@dataclass(frozen=True)
class Answer:
    """What the gateway answered, and how long it took."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Platform:
    """The shared stack, up."""

    sandbox: Any
    standin: str
    """Reference of the model stand-in's image in the private registry."""
    template: str
    token: str = field(default_factory=lambda: tokens.new_token("test"))

    def call(
        self,
        endpoint: str,
        route: str = "/run",
        *,
        token: str | None = None,
        timeout_s: float = 100,
        content: bytes = b"{}",
        **headers: str,
    ) -> Answer:
        """POST to an endpoint's route, as its caller."""
        began = time.monotonic()
        with httpx2.Client(timeout=timeout_s) as client:
            answer = client.post(
                f"{self.sandbox.gateway_url}/e/{endpoint}{route}",
                content=content,
                headers={
                    "authorization": f"Bearer {token or self.token}",
                    "content-type": "application/json",
                    **{name.replace("_", "-"): value for name, value in headers.items()},
                },
            )
        return Answer(answer.status_code, dict(answer.headers), answer.content, time.monotonic() - began)

    def page(self, path: str, *, token: str | None = None, gateway_url: str | None = None) -> Answer:
        """GET one of the gateway's own pages; without a token unless one is given. `gateway_url`: of one gateway."""
        began = time.monotonic()
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        answer = httpx2.get(f"{gateway_url or self.sandbox.gateway_url}{path}", headers=headers, timeout=20)
        return Answer(answer.status_code, dict(answer.headers), answer.content, time.monotonic() - began)

    def command(self, *words: str) -> str:
        """What a command prints in a terminal of a caller's; fails the test with its output where it fails."""
        token = f"HOLDFAST_TOKEN={self.token}"
        return str(self.sandbox.command("env", token, *words).stdout)

    def calls(self, count: int, endpoint: str, route: str = "/run", **options: Any) -> list[Answer]:
        """The same, `count` times at once."""
        with concurrent.futures.ThreadPoolExecutor(count) as threads:
            sent = [threads.submit(self.call, endpoint, route, **options) for _ in range(count)]
            return [one.result() for one in sent]

    def pods(self, endpoint: str) -> list[dict[str, Any]]:
        """The endpoint's replicas that are not on their way out."""
        found = self.sandbox.kubectl.get(
            "pods", "-n", names.ENDPOINTS_NAMESPACE, "-l", f"{names.LABEL_ENDPOINT}={endpoint}"
        )["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def objects(self, label: str) -> list[str]:
        """Every object in the endpoints' namespace with that label, as kind/name; events aside."""
        kinds = (
            "configmaps,deployments,externalsecrets,networkpolicies,pods,poddisruptionbudgets,"
            "replicasets,scaledobjects,secrets,services,horizontalpodautoscalers"
        )
        shown = self.sandbox.kubectl.text(
            "get", kinds, "-n", names.ENDPOINTS_NAMESPACE, "-l", label, "-o", "name"
        )
        return sorted(shown.split())


def eventually(what: str, check: Callable[[], Any], *, timeout_s: float, interval_s: float = 0.5) -> Any:
    """Wait until `check` gives something true, and return it. Fails naming `what`."""
    deadline = time.monotonic() + timeout_s
    while not (found := check()):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {timeout_s:.0f} s: {what}")
        time.sleep(interval_s)
    return found


@pytest.fixture(scope="session")
def wait() -> Callable[..., Any]:
    """`eventually`, for tests."""
    return eventually


@pytest.fixture(scope="session")
def platform(sandbox: Any) -> Platform:
    """The shared stack, declared as `make up` declares it; left as it is afterwards."""
    progress = Progress()
    made = images.ensure_project_images(sandbox.paths, progress)
    standin = images.ensure_test_images(sandbox.paths, progress)["holdfast/standin"]
    demo.declare_shared(sandbox.paths, dict(sandbox.environment))
    found = Platform(sandbox=sandbox, standin=standin, template=made["holdfast/ocr"])
    eventually(
        "the gateway answers",
        lambda: _status(f"{sandbox.gateway_url}/healthz") == 200,
        timeout_s=60,
    )
    return found


def _status(url: str) -> int:
    try:
        return httpx2.get(url, timeout=2).status_code
    except httpx2.HTTPError:
        return 0


@dataclass
class EndpointStack:
    """An endpoint stack of a test's own."""

    platform: Platform
    project: Project
    prefix: str
    """Names of its endpoints begin with it, so that tests stay out of each other's way."""

    def name(self, short: str) -> str:
        """An endpoint's whole name."""
        return f"{self.prefix}-{short}"

    def declare(self, **endpoints: dict[str, Any]) -> None:
        """Write the program: by short name, the arguments besides those of STANDIN. Does not run it."""
        lines = [HEAD.replace("TOKEN", repr(tokens.declare(self.platform.token)))]
        lines[0] = lines[0].replace("IMAGE", repr(self.platform.standin))
        lines += [
            f"holdfast.Endpoint({self.name(short)!r}, {{**STANDIN, **{args!r}}})"
            for short, args in endpoints.items()
        ]
        lines.append('pulumi.export("endpoints", dict(platform.endpoints))')
        (self.project.folder / "__main__.py").write_text("\n".join(lines) + "\n")


@pytest.fixture
def stack(platform: Platform, tmp_path: Path) -> Iterator[EndpointStack]:
    """An endpoint stack; destroyed at the end, and nothing of it may be left."""
    environment = dict(platform.sandbox.environment)
    project = new_project(tmp_path / "endpoints", Pulumi(environment), stack=f"test-{uuid.uuid4().hex[:6]}")
    # As this project's own Pulumi.yaml sets it: a document is changed in place.
    project.run("config", "set", "kubernetes:enableConfigMapMutable", "true")
    made = EndpointStack(platform, project, f"t{uuid.uuid4().hex[:5]}")
    try:
        yield made
    finally:
        project.run("destroy", "--yes", "--skip-preview", timeout_s=200)
        project.run("stack", "rm", "--yes", "--force")


@pytest.fixture
def secret(platform: Platform) -> Callable[[str, dict[str, str]], str]:
    """Puts a secret into Secrets Manager; returns its name."""

    def put(name: str, value: dict[str, str]) -> str:
        aws.put_secret(name, value)
        return name

    return put


@pytest.fixture
def author(platform: Any, tmp_path: Path) -> Iterator[Author]:
    """The author's project; its stack is destroyed at the end."""
    project = new_project(tmp_path / "own", Pulumi(dict(platform.sandbox.environment)), stack="sandbox")
    (project.folder / "Pulumi.yaml").write_text(PROJECT)
    stacks = project.folder / "stacks"
    stacks.mkdir()
    (stacks / "endpoints.py").write_text(STACK_CODE)
    (stacks / "__main__.py").write_text(PROGRAM.replace("TOKEN", repr(tokens.declare(platform.token))))
    project.run("config", "set", "kubernetes:enableConfigMapMutable", "true")
    try:
        yield Author(project, platform.sandbox, platform.token)
    finally:
        project.run("destroy", "--yes", "--skip-preview", timeout_s=200)
        project.run("stack", "rm", "--yes", "--force")
