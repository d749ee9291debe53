"""Which pods `status` tells of, and why they wait."""

from __future__ import annotations

from typing import Any

from holdfast_sandbox.addons import waiting


def _status(reason: str | None) -> dict[str, Any]:
    return {"state": {"running": {}} if reason is None else {"waiting": {"reason": reason}}}


def _pod(name: str, **status: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "holdfast", "name": name}, "status": status}


def test_a_pod_is_told_with_what_its_container_waits_for() -> None:
    pods = [
        _pod("runs", containerStatuses=[_status(None)]),
        _pod("fails", containerStatuses=[_status(None), _status("CrashLoopBackOff")]),
        _pod("new"),
        _pod("odd", containerStatuses=[{}]),
    ]
    assert waiting(pods) == [{"namespace": "holdfast", "pod": "fails", "reason": "CrashLoopBackOff"}]


def test_a_worker_that_cannot_start_is_the_reason_and_not_the_model_that_waits_for_it() -> None:
    """Workers are init containers that go on: until they run, the model's container only says that it waits."""
    pod = _pod(
        "chat",
        initContainerStatuses=[_status("ImagePullBackOff")],
        containerStatuses=[_status("PodInitializing")],
    )
    assert [one["reason"] for one in waiting([pod])] == ["ImagePullBackOff"]
    starting = _pod(
        "chat", initContainerStatuses=[_status(None)], containerStatuses=[_status("PodInitializing")]
    )
    assert [one["reason"] for one in waiting([starting])] == ["PodInitializing"]


def test_a_pod_that_no_node_takes_is_told_with_the_schedulers_words() -> None:
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
    }
    pod = _pod("chat", conditions=[condition])
    assert [one["reason"] for one in waiting([pod])] == [
        "Unschedulable: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
    ]
