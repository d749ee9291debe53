from __future__ import annotations

from typing import Any

import pytest

from holdfast_sandbox.coldstart import Watch, _objects, reached


def _pod(*, scheduled: bool = False, running: bool = False, ready: bool = False) -> dict[str, Any]:
    state: dict[str, Any] = {"running": {}} if running else {"waiting": {"reason": "ContainerCreating"}}
    return {
        "status": {
            "conditions": [
                {"type": "PodScheduled", "status": str(scheduled)},
                {"type": "Ready", "status": str(ready)},
            ],
            "containerStatuses": [{"name": "model", "state": state}],
        }
    }


@pytest.mark.parametrize(
    ("pod", "phases"),
    [
        ({}, {"scaled"}),
        (_pod(scheduled=True), {"scaled", "scheduled"}),
        (_pod(scheduled=True, running=True), {"scaled", "scheduled", "pulled"}),
        (_pod(scheduled=True, running=True, ready=True), {"scaled", "scheduled", "pulled", "ready"}),
    ],
)
def test_a_pod_shows_which_phases_it_has_behind_it(pod: dict[str, Any], phases: set[str]) -> None:
    assert reached(pod) == phases


def test_objects_are_read_from_a_stream_that_prints_one_after_another() -> None:
    lines = ["{\n", '  "a": {\n', "  }\n", "}\n", "{\n", '  "b": 1\n', "}\n"]
    assert list(_objects(lines)) == [{"a": {}}, {"b": 1}]


def test_the_table_is_in_the_order_in_which_phases_came_and_names_those_not_seen() -> None:
    watch = Watch(kubectl=None, namespace="n", endpoint="e")  # type: ignore[arg-type]  # not used here
    watch.seconds = {"accepted": 0.0, "ready": 2.5, "answered": 2.0, "scaled": 0.2}
    assert [line.split()[0] for line in watch.table().splitlines()] == [
        "accepted",
        "scaled",
        "answered",
        "ready",
        "scheduled",
        "pulled",
    ]
    assert [line.split()[1:] for line in watch.table().splitlines()[-2:]] == [["not", "seen"]] * 2
    assert watch.unseen() == ["scheduled", "pulled"]
