"""A platform in a cluster that somebody else runs, with what that cluster already has."""

import pulumi
import pulumi_kubernetes as kubernetes

import pulumi_holdfast as holdfast

config = pulumi.Config()
cluster = kubernetes.Provider("cluster", context=config.require("context"))
inside = pulumi.ResourceOptions(providers=[cluster])

shared = holdfast.SharedStack(
    "holdfast",
    {
        "services_image": config.require("servicesImage"),
        "base_url": config.require("baseUrl"),
        "broker_secret": config.require_secret("brokerSecret"),
        # Beside the applications of others: names that say whose they are.
        "namespace": "gpu-endpoints",
        "system_namespace": "gpu-platform",
        "gateway": {"replicas": 3, "ingress": holdfast.Ingress.LOAD_BALANCER},
        "queue": {"storage_class": "fast-ssd", "storage_gib": 100},
        # The GPU nodes carry a label, and none of a cloud's.
        "gpu_node_selector": {"acme.example/pool": "gpu"},
        "instance_types": False,
        "observability": {"monitors": True, "alerts": True, "labels": {"release": "prometheus"}},
    },
    inside,
)
platform = holdfast.Platform.of(shared)
holdfast.Endpoint(
    "transcribe",
    {
        "platform": platform,
        "image": "registry.acme.example/speech/transcribe:3",
        "hardware": {"gpus": 1, "cpu": 6, "memory_mib": 24576},
        "registry_credentials": {"secret": "speech/registry"},
    },
    pulumi.ResourceOptions.merge(inside, pulumi.ResourceOptions(depends_on=[shared])),
)

pulumi.export("endpoints", dict(platform.endpoints))
