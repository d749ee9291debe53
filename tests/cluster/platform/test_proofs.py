"""Proofs on a real cluster, each with its figures: how fast 0 → 1 is asked for, that the eleventh request gets its
replica, that scale-in under load loses nothing, and that nothing goes to zero while an autoscaler is away."""

from __future__ import annotations

import contextlib
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest

from holdfast_contract import names

pytestmark = pytest.mark.timeout(400)

KEDA = "keda", "keda-operator"
SCALER = names.SYSTEM_NAMESPACE, "holdfast-scaler"


@dataclass
class Watched:
    """What a Deployment's `spec.replicas` was, and when."""

    seen: list[tuple[float, int]] = field(default_factory=list)

    def since(self, moment: float) -> list[tuple[float, int]]:
        return [(at, count) for at, count in self.seen if at >= moment]

    @property
    def now(self) -> int:
        return self.seen[-1][1] if self.seen else 0


@pytest.fixture
def watch(platform: Any, wait: Any) -> Iterator[Callable[[str], Watched]]:
    """Follows an endpoint's Deployment by a watch: every change is seen when it is made."""
    followers = []

    def follow(endpoint: str) -> Watched:
        watched = Watched()
        process = platform.sandbox.kubectl.popen(
            *("get", "deployment", endpoint, "-n", names.ENDPOINTS_NAMESPACE, "--watch"),
            *("-o", r'jsonpath={.spec.replicas}{"\n"}'),
        )

        def read() -> None:
            for line in process.stdout:
                if line.strip():
                    watched.seen.append((time.monotonic(), int(line)))

        thread = threading.Thread(target=read)
        thread.start()
        followers.append((process, thread))
        wait("the watch has begun", lambda: watched.seen, timeout_s=20)
        return watched

    yield follow
    for process, thread in followers:
        process.kill()
        process.wait()
        thread.join()


@pytest.fixture
def away(platform: Any) -> Callable[[tuple[str, str]], contextlib.AbstractContextManager[None]]:
    """Takes a Deployment of the platform away for a while, by scaling it to 0; brings it back in any case."""
    kubectl = platform.sandbox.kubectl

    @contextlib.contextmanager
    def without(deployment: tuple[str, str]) -> Iterator[None]:
        namespace, name = deployment
        target = f"deployment/{name}"
        replicas = kubectl.get(target, "-n", namespace)["spec"]["replicas"]
        assert replicas > 0
        kubectl.run("scale", target, "-n", namespace, "--replicas=0")
        try:
            deadline = time.monotonic() + 60
            while kubectl.get(target, "-n", namespace)["status"].get("replicas", 0):
                assert time.monotonic() < deadline, f"{name} does not go"
                time.sleep(0.5)
            yield
        finally:
            kubectl.run("scale", target, "-n", namespace, f"--replicas={replicas}")
            kubectl.run("rollout", "status", target, "-n", namespace, "--timeout=60s")

    return without


def test_a_request_at_zero_has_the_replica_asked_for_within_a_second(
    stack: Any, platform: Any, wait: Any, watch: Callable[[str], Watched]
) -> None:
    stack.declare(
        one={"scaling": {"max_replicas": 1, "timeout_s": 2, "startup_budget_s": 60, "max_request_s": 90}}
    )
    stack.project.up()
    endpoint = stack.name("one")
    watched = watch(endpoint)
    patched_s, answered_s = [], []
    for _ in range(3):
        # A replica on its way out may still take a request: none may be left.
        wait("at zero", lambda: watched.now == 0 and not _all_pods(platform, endpoint), timeout_s=60)
        sent = time.monotonic()
        answer = platform.call(endpoint)
        assert answer.status == 200
        patched_s.append(next(at for at, count in watched.since(sent) if count == 1) - sent)
        answered_s.append(answer.seconds)
    shown = ", ".join(f"{one * 1000:.0f}" for one in patched_s)
    print(f"replicas patched after {shown} ms; answered after {', '.join(f'{s:.2f}' for s in answered_s)} s")
    assert statistics.median(patched_s) <= 1.0


def test_the_eleventh_request_gets_a_replica_and_scale_in_under_load_loses_nothing(
    stack: Any, platform: Any, wait: Any, watch: Callable[[str], Watched]
) -> None:
    scaling = {"max_replicas": 20, "timeout_s": 5, "startup_budget_s": 90, "max_request_s": 120}
    stack.declare(many={"scaling": scaling})
    stack.project.up()
    endpoint = stack.name("many")
    watched = watch(endpoint)
    held = [
        platform.call(endpoint, prefer="respond-async", x_delay_ms="100000").json["id"] for _ in range(10)
    ]
    wait("ten run at ten replicas", lambda: _running(platform, held) == 10, timeout_s=90)
    assert watched.now == 10
    sent = time.monotonic()
    eleventh = platform.call(endpoint)
    assert eleventh.status == 200
    assert _running(platform, held) == 10, "it waited for none of the ten"
    highest = max(count for _, count in watched.since(sent))
    print(f"demand 11 at 10: {highest} replicas, answered after {eleventh.seconds:.1f} s")
    # Decision 0004: never fewer than asked for, and at most a tenth more.
    assert 11 <= highest <= 12

    stop = threading.Event()
    answers: list[Any] = []
    with ThreadPoolExecutor(3) as threads:
        load = [threads.submit(_keep_calling, platform, endpoint, stop, answers) for _ in range(3)]
        # What ends makes room: the autoscaler takes replicas away while others of them work.
        for request_id in held[2:]:
            assert _request(platform, "DELETE", request_id)["status"] == "CANCELED"
        try:
            wait("scaled in under load", lambda: watched.now <= 6, timeout_s=60)
            wait("the others are gone", lambda: len(platform.pods(endpoint)) <= 6, timeout_s=60)
            wait("and the load went on", lambda: len(answers) >= 30, timeout_s=60)
        finally:
            stop.set()
        for one in load:
            one.result()
    survivors = Counter(_request(platform, "GET", request_id)["status"] for request_id in held[:2])
    attempts = Counter(answer.headers[names.HEADER_ATTEMPT] for answer in answers if answer.status == 200)
    print(
        f"scaled in from {highest} to {watched.now} under load: {len(answers)} calls, "
        f"{dict(Counter(answer.status for answer in answers))}, attempts {dict(attempts)}; "
        f"long ones under way: {dict(survivors)}"
    )
    assert {answer.status for answer in answers} == {200}
    assert set(survivors) <= {"RUNNING", "SUCCEEDED", "QUEUED"}
    for request_id in held[:2]:
        _request(platform, "DELETE", request_id)


def test_nothing_goes_to_zero_while_keda_or_the_scaler_is_away_and_requests_are_answered(
    stack: Any, platform: Any, wait: Any, watch: Callable[[str], Watched], away: Any
) -> None:
    stack.declare(
        one={"scaling": {"max_replicas": 2, "timeout_s": 5, "startup_budget_s": 60, "max_request_s": 90}}
    )
    stack.project.up()
    endpoint = stack.name("one")
    watched = watch(endpoint)
    # Five times the endpoint's own timeout, and five looks of the sandbox's autoscaler.
    idle_s = 25.0
    for what, deployment in (("KEDA", KEDA), ("the scaler", SCALER)):
        assert platform.call(endpoint).status == 200
        with away(deployment):
            began = time.monotonic()
            first = platform.call(endpoint)
            wait("the time is over", lambda: time.monotonic() - began > idle_s, timeout_s=idle_s + 5)  # noqa: B023
            last = platform.call(endpoint)
            away_s = time.monotonic() - began
            fell = [count for _, count in watched.since(began) if count == 0]
        print(
            f"without {what} for {away_s:.0f} s: {'zero' if fell else 'never zero'}; answered in "
            f"{first.seconds * 1000:.0f} and {last.seconds * 1000:.0f} ms"
        )
        assert fell == []
        assert (first.status, last.status) == (200, 200)
    back = time.monotonic()
    wait("idle ends at zero again", lambda: watched.now == 0, timeout_s=60)
    print(f"with both again: zero after {time.monotonic() - back:.0f} s")


def _all_pods(platform: Any, endpoint: str) -> str:
    """Names of the endpoint's pods, those on their way out too."""
    label = f"{names.LABEL_ENDPOINT}={endpoint}"
    found: str = platform.sandbox.kubectl.run(
        "get", "pods", "-n", names.ENDPOINTS_NAMESPACE, "-l", label, "-o", "name"
    )
    return found.strip()


def _keep_calling(platform: Any, endpoint: str, stop: threading.Event, answers: list[Any]) -> None:
    """One call after the other, each of a second, until told to stop."""
    while not stop.is_set():
        answers.append(platform.call(endpoint, x_delay_ms="1000"))


def _request(platform: Any, method: str, request_id: str) -> Any:
    """A submitted request's state, or the end of it."""
    answer = httpx2.request(
        method,
        f"{platform.sandbox.gateway_url}/requests/{request_id}",
        headers={"authorization": f"Bearer {platform.token}"},
        timeout=20,
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def _running(platform: Any, request_ids: list[str]) -> int:
    """How many of these a replica works on."""
    return sum(_request(platform, "GET", one)["status"] == "RUNNING" for one in request_ids)
