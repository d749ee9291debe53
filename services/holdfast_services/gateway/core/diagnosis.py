"""Why an endpoint cannot get a replica ready, from what Kubernetes says. Pure: objects in, reason out.

Only decisive findings count: a node that takes its time is not a failure before the declared budget is over, and
nothing is one while some replica is ready. Texts name cause and remedy; the endpoint's name is in front.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from holdfast_contract import names
from holdfast_services.gateway.replicas import ReplicaCounts, StartPhases

__all__ = ["Reason", "counts", "diagnose", "first_ready", "start_phases"]

Object = Mapping[str, Any]
_CRASHES: Final = 2
"""Restarts of one pod until a crash counts as a loop: one may be an accident."""
_LASTING_S: Final = 600.0
"""A container that ran for so long is not in a loop, however often it was restarted before: as kubelets see it."""
_PULL_FAILURES: Final = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}
)
_UNAUTHORIZED: Final = ("unauthorized", "401", "authentication required", "denied", "forbidden", "403")
_NOT_FOUND: Final = ("not found", "manifest unknown", "404", "does not exist", "name unknown")
_CONFIG: Final = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
_FRESH_S: Final = 120.0
_NO_ROOM: Final = ("NotTriggerScaleUp", "NoCompatibleInstanceTypes")
"""Events with which an autoscaler of nodes says that no node will come (Cluster Autoscaler, Karpenter)."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why no replica gets ready."""

    kind: str
    """`image-pull`, `config`, `secret`, `crash-loop`, `startup-budget`, `no-capacity` or `quota`."""
    detail: str
    """Endpoint, cause, remedy."""


def diagnose(
    endpoint: str,
    *,
    pods: Iterable[Object],
    events: Iterable[Object],
    external_secrets: Iterable[Object],
    startup_budget_s: float,
    now: float,
) -> Reason | None:
    """The decisive reason, if there is one. `pods`, `events`, `external_secrets`: those of the endpoint. `now`:
    Unix seconds."""
    living = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
    if any(first_ready(pod) is not None for pod in living):
        return None
    # The newest first: after a change it is the one that counts.
    living.sort(key=lambda pod: str(pod["metadata"].get("creationTimestamp")), reverse=True)
    events, external_secrets = list(events), list(external_secrets)
    if not living:
        # KEDA resolves the variables of what it scales: while a Secret is missing, it makes no pod at all
        # (unless KEDA_RESTRICT_SECRET_ACCESS is set). One that was fetched before is there still.
        missing = [one for one in external_secrets if not (one.get("status") or {}).get("refreshTime")]
        return _secret(endpoint, missing, events) or _quota(endpoint, events, now)
    secret = _secret(endpoint, external_secrets, events)
    newest = living[0]
    return (
        _containers(endpoint, newest, secret)
        or _room(endpoint, newest, events, startup_budget_s, now)
        or _budget(endpoint, newest, startup_budget_s, now)
    )


def _containers(endpoint: str, pod: Object, secret: Reason | None) -> Reason | None:
    for status in _statuses(pod):
        waiting = (status.get("state") or {}).get("waiting") or {}
        why, message = str(waiting.get("reason") or ""), str(waiting.get("message") or "")
        if why in _PULL_FAILURES:
            found = _pull(endpoint, str(status.get("image") or ""), why, message)
            if found is not None:
                return found
        elif why in _CONFIG:
            # A Secret that is missing is missing because it could not be fetched: say that instead.
            return secret or Reason(
                "config",
                f"endpoint {endpoint}: container {status['name']} cannot be made: {message or why}. "
                "Correct what it names in the endpoint's declaration and run `pulumi up`.",
            )
        elif why == "CrashLoopBackOff" or _crashed(status):
            return _crash(endpoint, status)
    return None


def _pull(endpoint: str, image: str, why: str, message: str) -> Reason | None:
    lower = message.lower()
    if any(word in lower for word in _UNAUTHORIZED):
        cause, remedy = "the registry refused the credentials", "check `registry_credentials` and its secret"
    elif any(word in lower for word in _NOT_FOUND) or why == "InvalidImageName":
        cause, remedy = "the registry has no such image", "check the image's name, tag or digest"
    elif why == "ErrImagePull":
        return (
            None  # perhaps only the network: the kubelet tries again and says ImagePullBackOff if that failed
        )
    else:
        cause, remedy = message.strip() or why, "see the registry's and the node's network"
    return Reason("image-pull", f"endpoint {endpoint}: image {image} cannot be pulled: {cause}; {remedy}.")


def _crashed(status: Object) -> bool:
    if int(status.get("restartCount") or 0) < _CRASHES or status.get("ready"):
        return False
    ended = (status.get("lastState") or {}).get("terminated") or {}
    began, end = _time(ended.get("startedAt")), _time(ended.get("finishedAt"))
    return began is None or end is None or end - began < _LASTING_S


def _crash(endpoint: str, status: Object) -> Reason:
    ended = (
        (status.get("lastState") or {}).get("terminated")
        or (status.get("state") or {}).get("terminated")
        or {}
    )
    said = str(ended.get("message") or "").strip()
    cause = f"exit code {ended.get('exitCode')}" if "exitCode" in ended else "it ends at once"
    if ended.get("reason") == "OOMKilled":
        cause = "it needs more memory than `hardware.memory` allows (OOMKilled)"
    if said:
        cause += f": {said[-500:]}"
    return Reason(
        "crash-loop",
        f"endpoint {endpoint}: container {status['name']} crashes again and again ({cause}). "
        f"See its log: `holdfast logs {endpoint}`.",
    )


def _secret(endpoint: str, external_secrets: Iterable[Object], events: Iterable[Object]) -> Reason | None:
    for secret in external_secrets:
        for condition in (secret.get("status") or {}).get("conditions") or ():
            if condition.get("type") == "Ready" and condition.get("status") == "False":
                message = _refusal(secret, events) or str(
                    condition.get("message") or condition.get("reason") or ""
                )
                return Reason(
                    "secret",
                    f"endpoint {endpoint}: secret {secret['metadata']['name']} cannot be read: {message}. "
                    "Check that the secret and the key exist in Secrets Manager.",
                )
    return None


def _refusal(secret: Object, events: Iterable[Object]) -> str:
    """What External Secrets said last about one secret: its events name the key, its condition does not."""
    said = [
        event
        for event in events
        if event.get("type") == "Warning"
        and (event.get("involvedObject") or {}).get("kind") == "ExternalSecret"
        and (event.get("involvedObject") or {}).get("name") == secret["metadata"]["name"]
    ]
    said.sort(key=lambda event: _time(event.get("lastTimestamp")) or _time(event.get("eventTime")) or 0.0)
    return str(said[-1].get("message") or "").strip().rstrip(".") if said else ""


def _quota(endpoint: str, events: Iterable[Object], now: float) -> Reason | None:
    for event in events:
        message = str(event.get("message") or "")
        at = _time(event.get("lastTimestamp")) or _time(event.get("eventTime"))
        if at is None or now - at > _FRESH_S:
            continue  # events stay for an hour; what was refused then may be allowed now
        if event.get("reason") == "FailedCreate" and "exceeded quota" in message:
            return Reason(
                "quota",
                f"endpoint {endpoint}: the namespace's quota is used up: {message}. "
                "Raise the quota or lower some endpoint's replicas.",
            )
    return None


def _room(
    endpoint: str, pod: Object, events: Iterable[Object], startup_budget_s: float, now: float
) -> Reason | None:
    scheduled = _condition(pod, "PodScheduled")
    if scheduled is None or scheduled.get("status") != "False":
        return None
    name = pod["metadata"]["name"]
    hopeless = any(
        event.get("reason") in _NO_ROOM and (event.get("involvedObject") or {}).get("name") == name
        for event in events
    )
    age_s = now - (_time(pod["metadata"].get("creationTimestamp")) or now)
    if not hopeless and age_s < startup_budget_s:
        return None  # a node may be on its way
    message = str(scheduled.get("message") or "no node has room")
    what = "no node has a free GPU" if names.GPU_RESOURCE in message else "no node has room"
    return Reason(
        "no-capacity",
        f"endpoint {endpoint}: {what} for a replica: {message} "
        "Choose other `hardware`, raise the quota or the node pool's limit, or lower some endpoint's replicas.",
    )


def _budget(endpoint: str, pod: Object, startup_budget_s: float, now: float) -> Reason | None:
    since = _lost(pod) or _time(pod["metadata"].get("creationTimestamp"))
    if since is None or now - since < startup_budget_s:
        return None
    return Reason(
        "startup-budget",
        f"endpoint {endpoint}: no replica was ready within scaling.startup_budget_s={startup_budget_s:.0f}. "
        f"See its log (`holdfast logs {endpoint}`), or raise startup_budget_s if it only needs longer.",
    )


# --- reading pods -----------------------------------------------------------------------------------------
def counts(pods: Iterable[Object]) -> ReplicaCounts:
    """Of the pods that are not being terminated."""
    living = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
    ready = sum(first_ready(pod) is not None for pod in living)
    return ReplicaCounts(desired=len(living), pending=len(living) - ready, ready=ready)


def start_phases(pod: Object) -> StartPhases:
    """When a pod came up, by its own status, whose times are whole seconds."""
    scheduled = _condition(pod, "PodScheduled")
    pulled = None
    for status in _statuses(pod):
        if status.get("name") == names.MODEL_CONTAINER:
            running = (status.get("state") or {}).get("running") or {}
            pulled = _time(running.get("startedAt"))
    return StartPhases(
        scaled=_time(pod["metadata"].get("creationTimestamp")),
        scheduled=_time(scheduled.get("lastTransitionTime"))
        if scheduled is not None and scheduled.get("status") == "True"
        else None,
        pulled=pulled,
        ready=first_ready(pod),
    )


def first_ready(pod: Object) -> float | None:
    """Since when the pod is ready; None: it is not."""
    condition = _condition(pod, "Ready")
    if condition is None or condition.get("status") != "True":
        return None
    return _time(condition.get("lastTransitionTime")) or 0.0


def _lost(pod: Object) -> float | None:
    """When a pod that was ready ceased to be; None: it never was. Not ready is said before it is initialized first."""
    initialized, ready = _condition(pod, "Initialized"), _condition(pod, "Ready")
    began = _time(initialized.get("lastTransitionTime")) if initialized is not None else None
    changed = _time(ready.get("lastTransitionTime")) if ready is not None else None
    return changed if began is not None and changed is not None and changed > began else None


def _condition(pod: Object, kind: str) -> Object | None:
    conditions: list[Object] = (pod.get("status") or {}).get("conditions") or []
    return next((condition for condition in conditions if condition.get("type") == kind), None)


def _statuses(pod: Object) -> list[Object]:
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def _time(text: object) -> float | None:
    if not isinstance(text, str):
        return None
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None
