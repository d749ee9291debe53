"""A platform on AWS without a way to the internet: every image and every chart comes from one mirror in ECR."""

import json
from pathlib import Path

import pulumi
import pulumi_kubernetes as kubernetes

import pulumi_holdfast as holdfast

config = pulumi.Config()
declared = json.loads((Path(__file__).parent / "aws.json").read_text())
mirror = f"{declared['account']}.dkr.ecr.{declared['region']}.amazonaws.com"


def inside(name: str, after: pulumi.Resource) -> pulumi.ResourceOptions:
    """The cluster, for what must come after something else."""
    provider = kubernetes.Provider(
        name,
        kubeconfig=ground.kubeconfig,
        cluster_identifier=ground.identifier,
        opts=pulumi.ResourceOptions(depends_on=[after]),
    )
    return pulumi.ResourceOptions(providers=[provider])


ground = holdfast.AwsPlatform("gpu", declared)
addons = holdfast.AwsAddons("gpu-addons", {"platform": ground}, inside("cluster", ground))
ready = inside("cluster-ready", addons)
shared = holdfast.SharedStack(
    "holdfast",
    {
        "kind": holdfast.PlatformKind.AWS,
        "services_image": f"{mirror}/holdfast/services:0.1.0",
        "base_url": ground.base_url or "",
        "broker_secret": config.require_secret("brokerSecret"),
        "queue": {"image": f"{mirror}/nats:2.15.2-alpine", "storage_class": addons.storage_class},
        "template_registry": f"{mirror}/templates",
        "gateway": {"ingress": holdfast.Ingress.NODE_PORT},
        "bodies_bucket": ground.bodies_bucket or "",
        "load_balancer_idle_s": ground.load_balancer_idle_s or 0,
        "gpu_node_selector": ground.gpu_node_selector,
    },
    ready,
)
platform = holdfast.Platform.of(shared)
# ECR by the nodes' role: no registry credentials. Weights are in the image or in the weights bucket.
image = f"{mirror}/acme/chat:1"
holdfast.Endpoint("chat", {"platform": platform, "image": image, "hardware": "l4"}, ready)

pulumi.export("endpoints", dict(platform.endpoints))
pulumi.export("at_rest", ground.at_rest)
