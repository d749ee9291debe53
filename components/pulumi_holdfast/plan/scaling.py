"""The ScaledObject: KEDA asks our scaler for the demand, and the HPA follows it."""

from __future__ import annotations

from typing import Final

from holdfast_contract.autoscaling import KEDA_COOLDOWN_S, KEDA_POLLING_INTERVAL_S
from holdfast_contract.document import EndpointState
from pulumi_holdfast.plan.manifest import Json, Manifest, Meta
from pulumi_holdfast.plan.timeouts import scale_down_window_s
from pulumi_holdfast.plan.wiring import hole
from pulumi_holdfast.spec.endpoint import EndpointSpec

PAUSED: Final = "autoscaling.keda.sh/paused-replicas"


def scaled_object(spec: EndpointSpec, meta: Meta) -> Manifest:
    """The autoscaling of an endpoint. A paused one is held at 0 by KEDA's own annotation."""
    scaling = spec.scaling
    paused = {PAUSED: "0"} if spec.state is EndpointState.PAUSED else {}
    return Manifest(
        child="scaledobject",
        api_version="keda.sh/v1alpha1",
        kind="ScaledObject",
        metadata=meta.of(spec.name, annotations=paused),
        after=("deployment",),
        body={
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": spec.name},
                "minReplicaCount": scaling.min_replicas,
                "maxReplicaCount": scaling.max_replicas,
                "pollingInterval": KEDA_POLLING_INTERVAL_S,
                # The scaler itself counts the idle time: KEDA's cooldown would be added to it.
                "cooldownPeriod": KEDA_COOLDOWN_S,
                "advanced": {
                    "horizontalPodAutoscalerConfig": {"name": spec.name, "behavior": _behavior(spec)}
                },
                "triggers": [
                    {
                        "type": "external-push",
                        "metadata": {"scalerAddress": hole("scaler_address"), "endpoint": spec.name},
                    }
                ],
            }
        },
    )


def _behavior(spec: EndpointSpec) -> Json:
    """Up at once and all the way; down only after a whole timeout of lower demand."""
    return {
        "scaleUp": {
            "stabilizationWindowSeconds": 0,
            "selectPolicy": "Max",
            "policies": [{"type": "Pods", "value": spec.scaling.max_replicas, "periodSeconds": 15}],
        },
        "scaleDown": {
            "stabilizationWindowSeconds": scale_down_window_s(spec.scaling),
            "selectPolicy": "Max",
            "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
        },
    }
