"""What goes wrong while an endpoint starts is told to its callers, with the cause and what to change, in time.

Each endpoint stands beside one that works, which goes on serving.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(400)

SCALING = {"max_replicas": 1, "timeout_s": 30, "startup_budget_s": 40, "max_request_s": 90}
MARGIN_S = 25
"""Beyond a budget that has to run out first: the intervals of scaler and kubelet, on two cores that tests share."""
REMEDY_FOR_SECRETS = "Check that the secret and the key exist in Secrets Manager"


@pytest.fixture
def refused(stack: Any, platform: Any) -> Callable[..., str]:
    """Declares a broken endpoint beside a working one, calls both, and returns why the broken one refused. `margin_s`:
    how long after its budget it may do so."""

    def declare_and_call(*, margin_s: float = 0, **broken: Any) -> str:
        endpoint = {"scaling": SCALING, **broken}
        stack.declare(
            broken=endpoint,
            works={"scaling": {**SCALING, "startup_budget_s": 80, "max_request_s": 100}},
        )
        stack.project.up()
        assert platform.call(stack.name("works")).status == 200
        with ThreadPoolExecutor(1) as aside:
            refusal = aside.submit(platform.call, stack.name("broken"))
            while not refusal.done():
                assert platform.call(stack.name("works")).status == 200, "another endpoint stopped serving"
                time.sleep(1)
        answer = refusal.result()
        assert answer.status == 503, answer.body
        assert answer.seconds < endpoint["scaling"]["startup_budget_s"] + margin_s
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json
        assert problem["type"].endswith("activation-failed")
        assert stack.name("broken") in problem["detail"]
        print(f"{answer.seconds:.1f} s: {problem['detail']}")
        assert platform.call(stack.name("works")).status == 200, "another endpoint stopped serving"
        return str(problem["detail"])

    return declare_and_call


def test_a_wrong_registry_password(
    refused: Callable[..., str], stack: Any, platform: Any, secret: Callable[..., str]
) -> None:
    password = "not-the-one-5d0e"
    name = secret(f"test/{stack.prefix}-registry", {"username": "holdfast", "password": password})
    # By a name that the node has not pulled yet, or it would not ask the registry.
    detail = refused(
        image=f"{platform.standin.partition('@')[0]}:{stack.prefix}", registry_credentials={"secret": name}
    )
    assert "the registry refused the credentials; check `registry_credentials` and its secret" in detail
    assert password not in detail


def test_an_unknown_image(refused: Callable[..., str], stack: Any, platform: Any) -> None:
    image = f"{platform.standin.partition('@')[0]}:{stack.prefix}"
    detail = refused(image=image)
    assert image in detail
    assert "the registry has no such image; check the image's name, tag or digest" in detail


def test_an_unknown_key_of_a_secret(
    refused: Callable[..., str], stack: Any, secret: Callable[..., str]
) -> None:
    name = secret(f"test/{stack.prefix}-db", {"url": "postgres://db"})
    detail = refused(secrets={"DB_URL": {"secret": name, "key": "uri"}})
    assert "uri" in detail
    assert REMEDY_FOR_SECRETS in detail


def test_an_unknown_secret(refused: Callable[..., str], stack: Any) -> None:
    detail = refused(secrets={"DB_URL": {"secret": f"test/{stack.prefix}-none"}})
    assert f"test/{stack.prefix}-none" in detail
    assert REMEDY_FOR_SECRETS in detail


def test_a_container_that_crashes(refused: Callable[..., str], stack: Any) -> None:
    detail = refused(env={"STANDIN_EXIT_AT_START": "3"})
    assert "container model crashes again and again (exit code 3" in detail
    assert f"See its log: `holdfast logs {stack.name('broken')}`" in detail


def test_a_model_that_never_gets_ready(refused: Callable[..., str]) -> None:
    scaling = {**SCALING, "startup_budget_s": 15}
    detail = refused(margin_s=MARGIN_S, scaling=scaling, env={"STANDIN_HEALTH_DELAY_MS": "3600000"})
    assert "no replica was ready within scaling.startup_budget_s=15" in detail
    assert "or raise startup_budget_s if it only needs longer" in detail


def test_an_endpoint_that_is_always_on_fails_the_update_in_time_and_names_it(
    stack: Any, platform: Any
) -> None:
    image = f"{platform.standin.partition('@')[0]}:{stack.prefix}"
    stack.declare(broken={"image": image, "scaling": {**SCALING, "min_replicas": 1, "startup_budget_s": 10}})
    began = time.monotonic()

    done = stack.project.attempt("up", "--yes", "--skip-preview", timeout_s=200)

    assert done.returncode != 0
    assert time.monotonic() - began < 10 + 60 + MARGIN_S
    assert stack.name("broken") in done.stdout
    assert image in done.stdout, "the cause"
