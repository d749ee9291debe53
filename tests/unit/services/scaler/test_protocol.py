"""The generated protocol code is what the definition generates."""

from __future__ import annotations

from holdfast_services.scaler.protocol import externalscaler_pb2, generate


def test_the_generated_files_are_fresh() -> None:
    committed = {path.name: path.read_text() for path in generate.HERE.glob("externalscaler_pb2*")}
    assert committed == generate.generate(), "run: python -m holdfast_services.scaler.protocol.generate"


def test_the_field_numbers_are_those_of_keda() -> None:
    """Written down once more, apart from the definition: a slip there would only show in a real cluster."""
    numbers = {
        f"{message.name}.{field.name}": field.number
        for message in externalscaler_pb2.DESCRIPTOR.message_types_by_name.values()
        for field in message.fields
    }
    assert numbers == {
        "ScaledObjectRef.name": 1,
        "ScaledObjectRef.namespace": 2,
        "ScaledObjectRef.scalerMetadata": 3,
        "IsActiveResponse.result": 1,
        "GetMetricSpecResponse.metricSpecs": 1,
        "MetricSpec.metricName": 1,
        "MetricSpec.targetSize": 2,
        "MetricSpec.targetSizeFloat": 3,
        "GetMetricsRequest.scaledObjectRef": 1,
        "GetMetricsRequest.metricName": 2,
        "GetMetricsResponse.metricValues": 1,
        "MetricValue.metricName": 1,
        "MetricValue.metricValue": 2,
        "MetricValue.metricValueFloat": 3,
    }
