"""Calls of one's own code that fail or hang, on a real cluster: the one is in the log under its request's id, for the
other the kubelet restarts the container, and nobody waits long."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from authoring import Author

from holdfast_contract import names

pytestmark = pytest.mark.timeout(400)

SERVICE = """import time
from pathlib import Path

from holdfast_runtime import Service


class Hello(Service):
    hung_after_s = 2

    def setup(self) -> None:
        self.began = time.time()

    def infer(self, hang_s: float = 0, once: bool = False) -> dict[str, float]:
        hung = Path("/tmp/hung")
        if not (once and hung.exists()):
            hung.touch()
            time.sleep(hang_s)
        return {"began": self.began}
"""
SCALING = {"timeout_s": 120, "startup_budget_s": 40, "max_request_s": 100}
KILLED = "Container model failed liveness probe, will be restarted"
PATIENCE_S = 4
"""What the caller of the call that hangs allows for it."""
RESTARTED_WITHIN_S = 90
"""From the call that hangs to an answer: the health check fails after 2 s, the kubelet looks every 10 s and believes
the third failure, and a container that hangs has 10 s to stop. The remainder is a machine that tests share."""


def test_a_failing_call_is_logged_and_a_hung_one_has_its_container_restarted_and_is_told_or_tried_again(
    author: Author, platform: Any, wait: Any
) -> None:
    author.run("holdfast init hello --stacks stacks/endpoints.py")
    (author.project.folder / "hello" / "service.py").write_text(SERVICE)
    stack_code = author.project.folder / "stacks" / "endpoints.py"
    before = '            "hardware":'
    text = stack_code.read_text()
    assert text.count(before) == 1
    text = text.replace(before, f'            "scaling": {SCALING!r},\n{before}')
    # The same code once more: an endpoint whose caller waits for as long as it takes.
    patient = text[text.index("    holdfast.Endpoint(") :].replace('"hello",', '"patient",', 1)
    stack_code.write_text(text + patient)
    author.run("pulumi up --yes --skip-preview -s sandbox")
    first = platform.call("hello", "/infer")
    assert first.status == 200, first.body
    (pod,) = platform.pods("hello")

    failed = platform.call("hello", "/infer", content=b'{"hang_s": -1}')
    assert failed.status == 500
    log = author.run("holdfast logs hello")
    assert failed.headers[names.HEADER_REQUEST_ID] in log
    assert "ValueError: sleep length must be non-negative" in log

    with ThreadPoolExecutor(1) as aside:
        waiting = aside.submit(platform.call, "patient", "/infer", content=b'{"hang_s": 3600, "once": true}')
        began = time.monotonic()
        hung = platform.call("hello", "/infer", content=b'{"hang_s": 3600}', x_deadline=str(PATIENCE_S))
        following = platform.call("hello", "/infer")
        answered_s = time.monotonic() - began
        retried = waiting.result()

    assert hung.status == 504, hung.body
    assert hung.json["type"].endswith("/deadline")
    assert hung.seconds < PATIENCE_S + 2
    assert following.status == 200, following.body
    assert following.json["began"] > first.json["began"]
    assert following.headers[names.HEADER_REPLICA] == first.headers[names.HEADER_REPLICA]
    print(
        f"\n  from a call that hangs to the next one's answer: {answered_s:.1f} s, its own: {retried.seconds:.1f} s"
    )
    assert max(answered_s, retried.seconds) < RESTARTED_WITHIN_S
    assert (retried.status, retried.headers[names.HEADER_ATTEMPT]) == (200, "2"), retried.body
    (after,) = platform.pods("hello")
    assert after["metadata"]["uid"] == pod["metadata"]["uid"]
    told = platform.page("/v1/endpoints/hello/events", token=platform.token).json["events"]
    assert (f"pod/{after['metadata']['name']}", KILLED) in {(one["object"], one["message"]) for one in told}
    assert KILLED in author.run("holdfast events hello")
    once = [{names.MODEL_CONTAINER: 1, names.WORKER_CONTAINER: 0}]
    for endpoint in ("hello", "patient"):
        wait(
            "the model's container was restarted once, and alone",
            lambda: [_restarts(one) for one in platform.pods(endpoint)] == once,  # noqa: B023
            timeout_s=10,
        )


def _restarts(pod: dict[str, Any]) -> dict[str, int]:
    """How often each container of a replica was started again."""
    status = pod["status"]
    return {
        one["name"]: one["restartCount"]
        for one in [*status.get("initContainerStatuses", ()), *status["containerStatuses"]]
        if one["name"] in (names.MODEL_CONTAINER, names.WORKER_CONTAINER)
    }
