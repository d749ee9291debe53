"""The secrets that a shared stack is given: each is told by its own name, and never repeated."""

from __future__ import annotations

from typing import Any

import pulumi
import pytest
from component_programs import SECRET, shared

import pulumi_holdfast as holdfast
from pulumi_holdfast import testing
from pulumi_holdfast.plan import identities

REMEDY = "make one with `openssl rand -hex 32` and keep it with `pulumi config set --secret`"


def _secret(value: Any) -> Any:
    return lambda: pulumi.Output.secret(value)


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (
            {"previous_broker_secret": "short"},
            ["previous_broker_secret is (hidden), shorter than 24 characters"],
        ),
        (
            {"broker_secret": "short", "previous_broker_secret": "shorter", "queue": {"servers": 2}},
            [
                "broker_secret is (hidden), shorter than 24 characters",
                "previous_broker_secret is (hidden), shorter than 24 characters",
                "queue.servers is 2, neither 1 nor 3",
            ],
        ),
        (
            {"broker_secret": None, "previous_broker_secret": 1234},
            ["broker_secret is missing, required", "previous_broker_secret is (hidden), not text"],
        ),
    ],
)
def test_wrong_broker_secrets_are_told_by_their_own_names_and_with_all_that_is_wrong(
    args: dict[str, Any], expected: list[str]
) -> None:
    with pytest.raises(holdfast.SpecError) as caught:
        testing.record(shared(**args))
    remedies = {"queue.servers": "take 3; 1 keeps no second copy"}
    assert [str(problem) for problem in caught.value.problems] == [
        f"{text}: {remedies.get(text.partition(' is ')[0], REMEDY)}" for text in expected
    ]


def test_a_misspelt_broker_secret_is_refused_and_not_silently_left_out() -> None:
    with pytest.raises(holdfast.SpecError) as caught:
        testing.record(shared(old_broker_secret=SECRET))
    assert [str(problem) for problem in caught.value.problems] == [
        "old_broker_secret is (hidden), an unknown field: did you mean broker_secret?"
    ]


@pytest.mark.parametrize(
    ("current", "previous", "expected"),
    [
        (SECRET, "short", ["previous_broker_secret is (hidden), shorter than 24 characters"]),
        (None, None, ["broker_secret is missing, required"]),
        (
            "short",
            "shorter",
            [
                "broker_secret is (hidden), shorter than 24 characters",
                "previous_broker_secret is (hidden), shorter than 24 characters",
            ],
        ),
    ],
)
def test_what_is_wrong_with_secrets_that_are_outputs_is_told_by_their_own_names_as_well(
    current: str | None, previous: str | None, expected: list[str]
) -> None:
    with pytest.raises(ValueError, match='shared stack "holdfast" has') as caught:
        testing.record(shared(broker_secret=_secret(current), previous_broker_secret=_secret(previous)))
    told = [line.strip() for line in str(caught.value).splitlines() if "broker_secret" in line]
    assert told == [f"{text}: {REMEDY}" for text in expected]


def test_a_previous_broker_secret_that_turns_out_to_be_none_is_none() -> None:
    made = testing.record(shared(previous_broker_secret=_secret(None), bodies_bucket="acme-bodies"))
    held = made["holdfast-broker"].inputs["stringData"].value["bodies.key"]
    assert held == identities.bodies_root(identities.worker_key(SECRET))
