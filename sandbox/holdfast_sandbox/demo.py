"""The main job, from nothing to an answer: `make up`.

Every step is a command that one could type oneself, shown as it is run: the platform comes up, two stacks are
declared with plain `pulumi up`, and the first request to an endpoint with no replica is held, wakes it through
KEDA and is answered by a real model. Run a second time, it changes nothing and asks again.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final

from holdfast_contract import names, tokens
from holdfast_sandbox import aws, lifecycle, private, registry, stacksettings
from holdfast_sandbox.coldstart import Watch
from holdfast_sandbox.errors import SandboxError
from holdfast_sandbox.kubectl import Kubectl
from holdfast_sandbox.paths import CHECKOUT, Paths, default_paths
from holdfast_sandbox.progress import Progress
from holdfast_sandbox.stacksettings import ENDPOINTS_STACK, SHARED_STACK

ENDPOINT: Final = "receipts"
ROUTE: Final = "/ocr"
PICTURE: Final = CHECKOUT / "templates" / "ocr" / "examples" / "receipt.png"
ANSWER_TIMEOUT_S: Final = 300
"""The example's startup budget and then some: longer means that something is wrong."""
WATCH_CONNECTS_S: Final = 1.0
"""The watch itself needs a moment: what it sees of a pod before it is connected would be timed too late."""
SETTLED_S: Final = 15
"""A quick model answers before the kubelet has said that its replica is ready."""


def run() -> None:
    """Bring everything up and show the first answer. Raises SandboxError where a step fails."""
    began = time.monotonic()
    paths = default_paths()
    _title("The platform: Kubernetes, KEDA, a registry and an AWS stand-in on this machine")
    lifecycle.up(paths, Progress())
    token = caller_token(paths)
    environment = lifecycle.environment(paths)
    _title("The shared stack: queue, gateway, scaler")
    declare_shared(paths, environment)
    _title(f"The endpoint stack: `{ENDPOINT}`, a clone of the template `ocr`")
    declare_endpoints(environment, token)
    _title(f"The first request to `{ENDPOINT}`")
    url = f"{lifecycle.GATEWAY_URL}{names.PATH_ENDPOINT}/{ENDPOINT}{ROUTE}"
    prove(paths, url, token)
    _title("What to try next")
    print(_next_steps(paths, url))
    print(f"\nAll of it took {time.monotonic() - began:.0f} s.")


def shared_configuration(paths: Paths) -> dict[str, str]:
    """The shared stack's settings in a sandbox; `brokerSecret` comes besides, as it is secret."""
    images: dict[str, str] = json.loads((paths.state / "images.json").read_text())
    return {
        "holdfast:baseUrl": lifecycle.GATEWAY_URL,
        "holdfast:ingress": "node-port",
        "holdfast:servicesImage": images["holdfast/services"],
        "holdfast:registrySecret": aws.REGISTRY_SECRET,
        "holdfast:templateRegistry": f"{registry.HOST}/holdfast",
        "holdfast:templateRegistrySecret": aws.REGISTRY_SECRET,
        "holdfast:queueServers": "1",
        "holdfast:queueHostPath": str(paths.var / "nats"),
    }


def endpoints_configuration(token: str) -> dict[str, str]:
    """The endpoint stack's settings in a sandbox."""
    return {"holdfast:tokens": json.dumps([tokens.declare(token)])}


def caller_token(paths: Paths) -> str:
    """The token that opens the examples; made at first use and kept in a file of mode 600."""
    return private.once(paths.secrets / "caller-token", lambda: tokens.new_token("sandbox")).strip()


def prove(paths: Paths, url: str, token: str) -> None:
    """Send the picture, and show each phase from the held request to the answer."""
    kubectl = Kubectl(paths)
    request = urllib.request.Request(
        url,
        data=PICTURE.read_bytes(),
        method="POST",
        headers={"Authorization": f"Bearer {token}", "Content-Type": "image/png"},
    )
    _wait_for_gateway()
    replicas = kubectl.text(
        "-n", names.ENDPOINTS_NAMESPACE, "get", "deploy", ENDPOINT, "-o", "jsonpath={.spec.replicas}"
    )
    print(f"  replicas before: {replicas or 0}", flush=True)
    with Watch(kubectl, names.ENDPOINTS_NAMESPACE, ENDPOINT) as watch:
        time.sleep(WATCH_CONNECTS_S)
        watch.begin()
        answer, headers = _send(request)
        watch.mark("answered")
        watch.mark_accepted(headers[names.HEADER_REQUEST_ID])
        watch.settle(SETTLED_S)
    print(watch.table())
    waited, worked = headers.get(names.HEADER_QUEUE_SECONDS), headers.get(names.HEADER_MODEL_SECONDS)
    print(f"  held {waited} s, then {worked} s in the model on replica {headers.get(names.HEADER_REPLICA)}")
    print("  the answer:")
    for line in answer.get("text", "").splitlines()[:12]:
        print(f"    | {line}")
    if watch.unseen():
        raise SandboxError(
            f"`{ENDPOINT}` answered, but {SETTLED_S} s later its replica was not seen to be "
            f"{', '.join(watch.unseen())}: `kubectl -n {names.ENDPOINTS_NAMESPACE} get pods` shows what there is"
        )


def _send(request: urllib.request.Request) -> tuple[dict[str, Any], dict[str, str]]:
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_TIMEOUT_S) as answer:
            return json.loads(answer.read()), {k.lower(): v for k, v in answer.headers.items()}
    except urllib.error.HTTPError as error:
        raise SandboxError(f"the endpoint answered {error.code}: {error.read().decode()[:2000]}") from None
    except OSError as error:
        raise SandboxError(f"the gateway cannot be reached at {request.full_url}: {error}") from None


def _wait_for_gateway() -> None:
    """The document of a new endpoint reaches the gateway within about a second."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{lifecycle.GATEWAY_URL}/healthz", timeout=2):
                return
        except OSError:
            time.sleep(0.3)
    raise SandboxError(
        f"the gateway does not answer at {lifecycle.GATEWAY_URL}: "
        "`kubectl -n holdfast-system get pods` shows what is wrong"
    )


def declare_shared(paths: Paths, environment: dict[str, str]) -> None:
    """Settings of the shared stack, then `pulumi up`."""
    _select(environment, SHARED_STACK, shared_configuration(paths))
    _pulumi(
        environment,
        *("config", "set", "--secret", "--stack", SHARED_STACK, "holdfast:brokerSecret"),
        quiet=True,
        stdin=registry.secret(paths, "broker-secret"),
    )
    _pulumi(environment, "up", "--stack", SHARED_STACK, "--yes", "--suppress-progress")


def declare_endpoints(environment: dict[str, str], token: str) -> None:
    """Settings of the endpoint stack, then `pulumi up`."""
    _select(environment, ENDPOINTS_STACK, endpoints_configuration(token))
    _pulumi(environment, "up", "--stack", ENDPOINTS_STACK, "--yes", "--suppress-progress")


def _select(environment: dict[str, str], stack: str, configuration: dict[str, str]) -> None:
    backend = Path(environment["PULUMI_BACKEND_URL"].removeprefix("file://"))
    if not stacksettings.is_in(backend, stack):
        # Settings of an earlier sandbox, whose passphrase is gone with it.
        stacksettings.file(stack).unlink(missing_ok=True)
    _pulumi(environment, "stack", "select", "--create", stack, quiet=True)
    pairs = [word for key, value in configuration.items() for word in ("--plaintext", f"{key}={value}")]
    _pulumi(environment, "config", "set-all", "--stack", stack, *pairs, quiet=True)


def _pulumi(environment: dict[str, str], *words: str, quiet: bool = False, stdin: str | None = None) -> None:
    shown = "config set-all …" if words[:2] == ("config", "set-all") else shlex.join(words)
    print(f"  $ pulumi {shown}", flush=True)
    done = subprocess.run(
        ["pulumi", *([] if sys.stdout.isatty() and not quiet else ["--non-interactive"]), *words],
        cwd=CHECKOUT,
        env=os.environ | environment,
        input=stdin,
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.STDOUT if quiet else None,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        output = f":\n{done.stdout}" if quiet else "; its message stands above"
        raise SandboxError(f"`pulumi {shown}` failed{output}")


def _title(text: str) -> None:
    bold, plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
    print(f"\n{bold}{text}{plain}", flush=True)


def _next_steps(paths: Paths, url: str) -> str:
    command = Path(sys.executable).with_name("holdfast")
    with contextlib.suppress(ValueError):
        command = command.relative_to(CHECKOUT)
    return f"""  eval "$({command} sandbox env)"              # pulumi, kubectl and holdfast talk to this platform
  holdfast ls                                        # what exists, with its replicas
  curl -H "Authorization: Bearer $(cat {paths.secrets}/caller-token)" \\
       -H "Content-Type: image/png" --data-binary @{PICTURE.relative_to(CHECKOUT)} {url}
  $EDITOR stacks/endpoints.py && pulumi preview -s {ENDPOINTS_STACK}     # add an endpoint: see only its resources
  make down                                          # stop everything and forget it; what was built stays"""
