"""Why an endpoint cannot start: what Kubernetes says, and what a person is told."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast_services.gateway.core.diagnosis import counts, diagnose, start_phases

NOW = 1_764_000_000.0
CREATED = "2025-11-24T15:59:50Z"  # ten seconds before NOW
LATER = "2025-11-24T16:05:00Z"  # five minutes after NOW


def pod(
    *,
    state: dict[str, Any] | None = None,
    last: dict[str, Any] | None = None,
    restarts: int = 0,
    ready: bool = False,
    scheduled: bool = True,
    message: str = "",
    name: str = "chat-5d4f6b7c8d-x2x4z",
    **metadata: Any,
) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "uid": name, "creationTimestamp": CREATED, **metadata},
        "status": {
            "conditions": [
                {
                    "type": "PodScheduled",
                    "status": "True" if scheduled else "False",
                    "message": message,
                    "lastTransitionTime": CREATED,
                },
                {"type": "Ready", "status": str(ready), "lastTransitionTime": "2025-11-24T16:00:00Z"},
            ],
            "containerStatuses": [
                {
                    "name": "model",
                    "image": "ghcr.io/acme/chat:1",
                    "restartCount": restarts,
                    "state": state or {},
                    "lastState": last or {},
                }
            ],
        },
    }


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


def told(*pods: dict[str, Any], **more: Any) -> str | None:
    arguments: dict[str, Any] = {
        "events": (),
        "external_secrets": (),
        "startup_budget_s": 60,
        "now": NOW,
        **more,
    }
    reason = diagnose("chat", pods=pods, **arguments)
    return None if reason is None else f"{reason.kind}: {reason.detail}"


@pytest.mark.parametrize("why", ["ErrImagePull", "ImagePullBackOff"])
@pytest.mark.parametrize(
    ("message", "cause"),
    [
        (
            "failed to authorize: 401 Unauthorized",
            "the registry refused the credentials; check `registry_credentials` and its secret.",
        ),
        (
            "pull access denied, repository does not exist or may require authorization",
            "the registry refused the credentials; check `registry_credentials` and its secret.",
        ),
        ("manifest unknown", "the registry has no such image; check the image's name, tag or digest."),
    ],
)
def test_an_image_that_cannot_be_pulled_is_named_with_its_cause(why: str, message: str, cause: str) -> None:
    assert (
        told(pod(state=waiting(why, message)))
        == f"image-pull: endpoint chat: image ghcr.io/acme/chat:1 cannot be pulled: {cause}"
    )


def test_one_pull_that_failed_for_the_network_is_not_decisive_but_a_repeated_one_is() -> None:
    assert told(pod(state=waiting("ErrImagePull", "i/o timeout"))) is None
    assert told(pod(state=waiting("ImagePullBackOff", "i/o timeout"))) == (
        "image-pull: endpoint chat: image ghcr.io/acme/chat:1 cannot be pulled: i/o timeout; "
        "see the registry's and the node's network."
    )


def test_a_missing_key_is_told_as_such() -> None:
    said = told(pod(state=waiting("CreateContainerConfigError", "couldn't find key url in Secret chat-env")))
    assert said == (
        "config: endpoint chat: container model cannot be made: couldn't find key url in Secret chat-env. "
        "Correct what it names in the endpoint's declaration and run `pulumi up`."
    )


def _unread(**status: Any) -> dict[str, Any]:
    condition = {"type": "Ready", "status": "False", "message": "could not get secret data from provider"}
    return {"metadata": {"name": "chat-secrets"}, "status": {"conditions": [condition], **status}}


def _said(message: str, at: str) -> dict[str, Any]:
    about = {"kind": "ExternalSecret", "name": "chat-secrets"}
    return {"type": "Warning", "involvedObject": about, "message": message, "lastTimestamp": at}


def test_what_external_secrets_said_last_names_the_key_that_its_condition_does_not() -> None:
    events = [
        _said("key uri does not exist in secret acme/db", "2025-11-24T15:59:58Z"),
        _said("something else", "2025-11-24T15:59:51Z"),
    ]
    assert told(external_secrets=[_unread()], events=events) == (
        "secret: endpoint chat: secret chat-secrets cannot be read: key uri does not exist in secret acme/db. "
        "Check that the secret and the key exist in Secrets Manager."
    )


def test_a_secret_that_never_came_keeps_the_autoscaler_from_making_a_pod_and_is_told() -> None:
    assert (told(external_secrets=[_unread()]) or "").startswith("secret: ")


def test_a_secret_that_came_before_and_cannot_be_read_again_keeps_nothing_from_starting() -> None:
    assert told(external_secrets=[_unread(refreshTime="2025-11-24T15:00:00Z")]) is None


def test_a_secret_that_could_not_be_fetched_is_told_instead_of_its_consequence() -> None:
    secret = {
        "metadata": {"name": "chat-db"},
        "status": {
            "conditions": [
                {"type": "Ready", "status": "False", "message": "key nope does not exist in secret"}
            ]
        },
    }
    said = told(
        pod(state=waiting("CreateContainerConfigError", "secret not found")), external_secrets=[secret]
    )
    assert said == (
        "secret: endpoint chat: secret chat-db cannot be read: key nope does not exist in secret. "
        "Check that the secret and the key exist in Secrets Manager."
    )


def test_a_crash_loop_tells_the_exit_code_and_what_the_container_said() -> None:
    last = {"terminated": {"exitCode": 78, "reason": "Error", "message": "MODEL_PATH is unset"}}
    said = told(pod(state=waiting("CrashLoopBackOff"), last=last, restarts=1))
    assert said == (
        "crash-loop: endpoint chat: container model crashes again and again "
        "(exit code 78: MODEL_PATH is unset). See its log: `holdfast logs chat`."
    )
    assert told(pod(last=last, restarts=1)) is None, "one crash may be an accident"
    assert told(pod(last=last, restarts=2)) == said


@pytest.mark.parametrize(
    ("ended", "loops"), [("2025-11-24T14:09:59Z", True), ("2025-11-24T14:10:00Z", False)]
)
def test_a_container_that_ran_for_ten_minutes_is_in_no_loop_however_often_it_was_restarted(
    ended: str, loops: bool
) -> None:
    last = {"terminated": {"exitCode": 137, "startedAt": "2025-11-24T14:00:00Z", "finishedAt": ended}}
    assert (told(pod(last=last, restarts=5)) is not None) == loops


def test_running_out_of_memory_is_told_as_such() -> None:
    last = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
    assert "needs more memory than `hardware.memory` allows" in str(told(pod(last=last, restarts=2)))


def test_no_free_gpu_is_decisive_only_after_the_budget_or_an_autoscalers_word() -> None:
    stuck = pod(scheduled=False, message="0/1 nodes are available: 1 Insufficient nvidia.com/gpu.")
    assert told(stuck) is None
    wanted = (
        "no-capacity: endpoint chat: no node has a free GPU for a replica: "
        "0/1 nodes are available: 1 Insufficient nvidia.com/gpu. Choose other `hardware`, raise the quota or "
        "the node pool's limit, or lower some endpoint's replicas."
    )
    assert told(stuck, now=NOW + 60) == wanted
    event = {"reason": "NotTriggerScaleUp", "involvedObject": {"name": "chat-5d4f6b7c8d-x2x4z"}}
    assert told(stuck, events=[event]) == wanted


def test_a_model_that_never_gets_ready_is_told_when_its_budget_is_over() -> None:
    running = pod(state={"running": {"startedAt": CREATED}})
    assert told(running, now=NOW + 49) is None
    assert told(running, now=NOW + 50) == (
        "startup-budget: endpoint chat: no replica was ready within scaling.startup_budget_s=60. "
        "See its log (`holdfast logs chat`), or raise startup_budget_s if it only needs longer."
    )


def test_a_replica_that_was_ready_has_the_budget_again_from_when_it_ceased_to_be() -> None:
    """Its container was restarted, for instance for a call that hung."""
    restarted = pod(state={"running": {"startedAt": LATER}}, restarts=1)
    conditions = restarted["status"]["conditions"]
    conditions.append({"type": "Initialized", "status": "True", "lastTransitionTime": CREATED})
    ready = next(one for one in conditions if one["type"] == "Ready")
    ready["lastTransitionTime"] = LATER
    assert told(restarted, now=NOW + 359) is None
    assert str(told(restarted, now=NOW + 360)).startswith("startup-budget: endpoint chat")
    ready["lastTransitionTime"] = CREATED
    assert str(told(restarted, now=NOW + 300)).startswith("startup-budget"), "it never was"


def test_a_used_up_quota_is_told_while_it_is_fresh() -> None:
    event = {
        "reason": "FailedCreate",
        "message": "pods is forbidden: exceeded quota: gpus",
        "lastTimestamp": CREATED,
    }
    assert str(told(events=[event])).startswith("quota: endpoint chat: the namespace's quota is used up")
    assert told(events=[event], now=NOW + 300) is None


def test_nothing_is_a_failure_while_some_replica_is_ready_or_only_dying_pods_complain() -> None:
    broken = pod(state=waiting("ImagePullBackOff", "manifest unknown"))
    assert told(broken, pod(ready=True, name="chat-6d4f6b7c8d-aaaaa")) is None
    assert told({**broken, "metadata": {**broken["metadata"], "deletionTimestamp": CREATED}}) is None
    assert told() is None


def test_the_newest_pod_counts_after_a_change() -> None:
    old = pod(state=waiting("ImagePullBackOff", "manifest unknown"))
    fresh = pod(name="chat-7d4f6b7c8d-bbbbb", creationTimestamp="2025-11-24T15:59:59Z")
    assert told(old, fresh) is None


def test_pods_are_counted_and_timed() -> None:
    dying = pod(ready=True, deletionTimestamp=CREATED)
    found = counts([pod(), pod(ready=True), dying])
    assert (found.desired, found.pending, found.ready) == (2, 1, 1)
    phases = start_phases(pod(ready=True, state={"running": {"startedAt": "2025-11-24T15:59:55Z"}}))
    assert (phases.scaled, phases.scheduled, phases.pulled, phases.ready) == (
        NOW - 10,
        NOW - 10,
        NOW - 5,
        NOW,
    )
