"""KEDA's questions, answered from the tracker. One table translates what can go wrong into gRPC's words:

| what | code | what KEDA does |
|---|---|---|
| the trigger's metadata are wrong | INVALID_ARGUMENT | keeps the replicas, shows the error on the ScaledObject |
| no such endpoint is declared | NOT_FOUND | the same |
| the broker does not answer | UNAVAILABLE | the same; the autoscaler keeps its replicas, too |

An error never becomes a zero, for KEDA takes a zero for an idle endpoint.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NoReturn, Protocol

import grpc
import grpc.aio

from holdfast_contract.autoscaling import (
    HPA_TOLERANCE,
    METRIC_NAME,
    METRIC_TARGET,
    TRIGGER_ENDPOINT,
    TRIGGER_TOLERANCE,
    Decision,
)
from holdfast_services.scaler.protocol import externalscaler_pb2 as wire
from holdfast_services.scaler.protocol.externalscaler_pb2_grpc import ExternalScalerServicer
from holdfast_services.scaler.tracker import Tracker, Unavailable, Unknown

__all__ = ["CallCounter", "ScalerService", "trigger_tolerance"]


_Context = grpc.aio.ServicerContext[object, object]


class CallCounter(Protocol):
    """Counts answers."""

    def called(self, method: str, code: str) -> None:
        """This method answered with this gRPC code."""
        ...


def trigger_tolerance(text: str | None) -> float:
    """The autoscaler's tolerance as the trigger states it; the default where it states none.

    Raises ValueError for anything but a number from 0 to 0.5.
    """
    if text is None:
        return HPA_TOLERANCE
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 0.5:
        raise ValueError(
            f"trigger metadata {TRIGGER_TOLERANCE} is {text!r}, not a number from 0 to 0.5: "
            "give the ScaledObject's behavior tolerance, or leave it out"
        )
    return value


class ScalerService(ExternalScalerServicer):
    """Implements the protocol. Stateless: what it says comes from the tracker, which reads the broker."""

    def __init__(self, tracker: Tracker, calls: CallCounter) -> None:
        self._tracker = tracker
        self._calls = calls

    async def IsActive(self, request: wire.ScaledObjectRef, context: _Context) -> wire.IsActiveResponse:
        """Whether anything is to run."""
        decision = await self._decide("IsActive", request, context)
        return wire.IsActiveResponse(result=decision.active)

    async def StreamIsActive(
        self, request: wire.ScaledObjectRef, context: _Context
    ) -> AsyncIterator[wire.IsActiveResponse]:
        """`true` now if the endpoint is active, and each time it becomes active; ends when the scaler stops.

        KEDA ignores `false`, and repeated `true` keeps it busy: neither is sent. An endpoint that is not declared
        yet is waited for, since KEDA may hear of it first and doubles its delay after every error.
        """
        endpoint = await self._endpoint("StreamIsActive", request, context)
        with self._tracker.subscribe(endpoint) as subscription:
            while await subscription.wait():
                yield wire.IsActiveResponse(result=True)
        self._calls.called("StreamIsActive", "OK")

    async def GetMetricSpec(
        self, request: wire.ScaledObjectRef, context: _Context
    ) -> wire.GetMetricSpecResponse:
        """The one metric and its target. It depends on nothing, so that KEDA can make its autoscaler at any time."""
        await self._endpoint("GetMetricSpec", request, context)
        self._calls.called("GetMetricSpec", "OK")
        spec = wire.MetricSpec(
            metricName=METRIC_NAME, targetSize=int(METRIC_TARGET), targetSizeFloat=METRIC_TARGET
        )
        return wire.GetMetricSpecResponse(metricSpecs=[spec])

    async def GetMetrics(self, request: wire.GetMetricsRequest, context: _Context) -> wire.GetMetricsResponse:
        """The value that leads the autoscaler to the wanted number of replicas."""
        decision = await self._decide("GetMetrics", request.scaledObjectRef, context)
        value = wire.MetricValue(
            metricName=request.metricName, metricValue=decision.desired, metricValueFloat=decision.metric
        )
        return wire.GetMetricsResponse(metricValues=[value])

    async def _decide(self, method: str, target: wire.ScaledObjectRef, context: _Context) -> Decision:
        endpoint = await self._endpoint(method, target, context)
        try:
            tolerance = trigger_tolerance(target.scalerMetadata.get(TRIGGER_TOLERANCE))
            decision = await self._tracker.decision(endpoint, tolerance)
        except ValueError as error:
            await self._refuse(method, context, grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except Unknown:
            await self._refuse(
                method,
                context,
                grpc.StatusCode.NOT_FOUND,
                f"endpoint {endpoint!r} is not declared: no endpoint document of that name exists",
            )
        except Unavailable as error:
            await self._refuse(method, context, grpc.StatusCode.UNAVAILABLE, str(error))
        self._calls.called(method, "OK")
        return decision

    async def _endpoint(self, method: str, target: wire.ScaledObjectRef, context: _Context) -> str:
        endpoint = target.scalerMetadata.get(TRIGGER_ENDPOINT)
        if not endpoint:
            await self._refuse(
                method,
                context,
                grpc.StatusCode.INVALID_ARGUMENT,
                f"trigger metadata {TRIGGER_ENDPOINT} is missing in ScaledObject {target.namespace}/{target.name}: "
                "name the endpoint there",
            )
        return endpoint

    async def _refuse(self, method: str, context: _Context, code: grpc.StatusCode, details: str) -> NoReturn:
        self._calls.called(method, code.name)
        await context.abort(code, details)
        raise AssertionError("abort raises")  # for the type checker
