"""Mistakes that people reported elsewhere, found before anything is made: three for each of a preview's abilities.

`docs/guides/preview.md` shows each with its source; here each is made, and its message must stand in the guide.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from policies.rules import rule, violations

from holdfast_cli.comment import Facts, Verdict, comment, verdict
from holdfast_cli.previewplan import read
from pulumi_holdfast.foresight import replayed
from pulumi_holdfast.plan.coldstart import beyond_budget, estimate
from pulumi_holdfast.plan.cost import cost_of
from pulumi_holdfast.plan.declared import declared
from pulumi_holdfast.plan.feasibility import (
    Answers,
    Failure,
    ImageAnswer,
    SecretAnswer,
    Status,
    ZonesAnswer,
    findings,
    questions,
)
from pulumi_holdfast.plan.replay import Request
from pulumi_holdfast.plan.timeouts import broken_links, notes
from pulumi_holdfast.spec.endpoint import EndpointSpec
from pulumi_holdfast.spec.hardware import hardware_table
from pulumi_holdfast.spec.parse import parse_endpoint
from pulumi_holdfast.spec.problems import SpecError
from pulumi_holdfast.spec.template import catalogue

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "guides" / "preview.md"
IMAGE = "ghcr.io/acme/chat:1"


def _spec(**args: Any) -> EndpointSpec:
    return parse_endpoint("chat", {"image": IMAGE, **args}, catalogue())


def _props(**args: Any) -> dict[str, Any]:
    return {"declared": declared(_spec(**args), hardware_table())}


def _refused(**args: Any) -> str:
    with pytest.raises(SpecError) as caught:
        _spec(**args)
    return "\n".join(str(problem) for problem in caught.value.problems)


def _found(spec: EndpointSpec, **answers: Any) -> str:
    told = Answers(recorded="2026-11-24T22:00:00Z", region="us-east-1", **answers)
    asked = questions(spec, spec.image)
    return "\n".join(one.text for one in findings(spec, asked, told) if one.status is Status.FAILED)


def _budget(name: str, settings: dict[str, Any], **args: Any) -> str:
    return "\n".join(violations(rule(name), "chat", _props(**args), settings))


def _cost_note(**args: Any) -> str:
    cost = cost_of(_spec(**args), hardware_table())
    assert cost is not None
    return f"{cost.note}: {cost.floor_usd_month:.2f} $ a month"


def _line(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(start))


def _many(count: int) -> str:
    steps: list[dict[str, Any]] = []
    for number in range(count):
        parent = f"urn:pulumi:prod::holdfast::holdfast:index:Endpoint::e{number:03}"
        steps.append({"op": "create", "urn": parent, "newState": {"inputs": _props(hardware="a10g")}})
        for child in range(6):
            urn = f"urn:pulumi:prod::holdfast::kubernetes:apps/v1:Deployment::e{number:03}-{child}"
            steps.append({"op": "create", "urn": urn, "newState": {"parent": parent}})
    return json.dumps({"steps": steps})


def _steps(*ops: str) -> str:
    parent = "urn:pulumi:prod::holdfast::holdfast:index:Endpoint::chat"
    child = (
        "urn:pulumi:prod::holdfast::holdfast:index:Endpoint$kubernetes:apps/v1:Deployment::chat-deployment"
    )
    steps: list[dict[str, Any]] = [{"op": "same", "urn": parent}]
    steps += [{"op": op, "urn": child, "newState": {"parent": parent}} for op in ops]
    return json.dumps({"steps": steps})


def _pod(**more: Any) -> dict[str, Any]:
    return {"spec": {"template": {"spec": {"containers": [{"name": "model", **more}]}}}}


def _ceiling() -> str:
    step = {
        "op": "create",
        "urn": "urn:pulumi:prod::holdfast::holdfast:index:Endpoint::chat",
        "newState": {"inputs": _props(hardware="h100", scaling={"max_replicas": 4})},
    }
    plan = read(json.dumps({"steps": [step]}))
    assert verdict(plan, Facts(fail_above_usd_month=1000)) is Verdict.FAIL
    return comment(plan, Facts(fail_above_usd_month=1000)).splitlines()[2]


GHCR = {"registry_credentials": {"secret": "acme/ghcr"}}
MISTAKES: list[tuple[str, Callable[[], str]]] = [
    # 1 cost
    (
        "cost",
        lambda: _budget(
            "budget-per-endpoint", {"floor_usd_month": 500}, hardware="a10g", scaling={"min_replicas": 1}
        ),
    ),
    (
        "cost",
        lambda: _cost_note(
            hardware={"preset": "a10g", "instance_types": ["g5.12xlarge"]}, scaling={"min_replicas": 1}
        ),
    ),
    ("cost", _ceiling),
    # 2 timeouts
    ("timeouts", lambda: _refused(scaling={"startup_budget_s": 900, "max_request_s": 600})),
    ("timeouts", lambda: "\n".join(map(str, broken_links(_spec(), load_balancer_idle_s=350)))),
    ("timeouts", lambda: "\n".join(notes(_spec()))),
    # 3 feasibility
    (
        "feasibility",
        lambda: _found(
            _spec(**GHCR),
            images={IMAGE: ImageAnswer(failure=Failure.DENIED)},
            secrets={"acme/ghcr": SecretAnswer(keys=("password", "username"))},
        ),
    ),
    (
        "feasibility",
        lambda: _found(_spec(**GHCR), secrets={"acme/ghcr": SecretAnswer(keys=("token", "user"))}),
    ),
    (
        "feasibility",
        lambda: _found(
            _spec(hardware={"instance_types": ["p5.48xlarge"]}), zones={"p5.48xlarge": ZonesAnswer()}
        ),
    ),
    # 4 replay and cold starts
    (
        "replay",
        lambda: str(
            beyond_budget(
                _spec(hardware="a10g", scaling={"startup_budget_s": 60}), estimate(_spec(hardware="a10g"))
            )
        ),
    ),
    (
        "replay",
        lambda: replayed(
            _spec(hardware="a10g", scaling={"timeout_s": 30}), [Request(n * 60.0, 5.0) for n in range(60)]
        ),
    ),
    (
        "replay",
        lambda: replayed(
            _spec(hardware="a10g", scaling={"max_replicas": 1}), [Request(0.0, 30.0) for _ in range(40)]
        ),
    ),
    # 5 contract and rollout
    (
        "contract",
        lambda: _refused(scaling={"startup_budget_s": 60}, contract=[{"name": "long", "timeout_s": 120}]),
    ),
    ("contract", lambda: _refused(contract=[{"name": "a", "path": "v1/chat"}])),
    ("contract", lambda: _refused(transforms={"deployments": {"spec": {"replicas": 3}}})),
    # 6 policies
    ("policies", lambda: _budget("pinned-digests", {})),
    (
        "policies",
        lambda: "\n".join(
            violations(
                rule("no-plain-text-secret"),
                "web",
                _pod(env=[{"name": "HF_TOKEN", "value": "hunter2hunter2"}]),
                {},
            )
        ),
    ),
    (
        "policies",
        lambda: _budget(
            "spot-only-where-it-can-be-lost",
            {},
            hardware={"preset": "a10g", "spot": True, "instance_types": ["g5.xlarge", "g5.2xlarge"]},
        ),
    ),
    # 7 the comment
    (
        "comment",
        lambda: comment(read(_steps("create-replacement", "replace", "delete-replaced"))).splitlines()[2],
    ),
    ("comment", lambda: _line(comment(read(_steps("update"))), "<details>")),
    ("comment", lambda: _line(comment(read(_many(400))), "Details of")),
]


@pytest.mark.parametrize(("ability", "made"), MISTAKES)
def test_a_mistake_is_found_with_the_words_of_the_guide(ability: str, made: Callable[[], str]) -> None:
    told = made()
    assert told
    section = GUIDE.read_text().partition(f"<!-- {ability} -->")[2].partition("<!-- end -->")[0]
    for line in told.splitlines():
        assert line in section, line


def test_each_of_the_seven_abilities_has_three() -> None:
    abilities = [ability for ability, _ in MISTAKES]
    assert len(set(abilities)) == 7
    assert all(abilities.count(ability) == 3 for ability in abilities)


def test_each_mistake_of_the_guide_says_where_one_like_it_was_reported() -> None:
    lead = GUIDE.read_text().partition("## 1.")[2].partition("## Previews that")[0].split("```text")[:-1]
    assert len(lead) == len(MISTAKES)
    for before in lead:
        last = before.rpartition("```")[2]
        assert re.search(r"\b[\w.-]+#\d+", last), last
