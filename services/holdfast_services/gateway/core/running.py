"""What an endpoint's ready replicas run, as told apart by the cluster."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from holdfast_contract import names
from holdfast_services.gateway.core.diagnosis import first_ready

__all__ = ["running"]


def running(pods: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Replica set and image digest of each ready pod: another declaration makes another replica set, and an image
    built anew under its tag has another digest. Empty: no replica is ready."""
    found = set()
    for pod in pods:
        metadata = pod["metadata"]
        if metadata.get("deletionTimestamp") or first_ready(pod) is None:
            continue
        replica_set = (metadata.get("labels") or {}).get("pod-template-hash", "")
        for status in (pod.get("status") or {}).get("containerStatuses") or ():
            if status.get("name") == names.MODEL_CONTAINER:
                found.add(f"{replica_set}/{status.get('imageID', '')}")
    return frozenset(found)
