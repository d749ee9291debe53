"""A platform on AWS whose gateway ends TLS, its shared stack and twenty endpoints in one program.

No cluster answers behind the stand-in's EKS: the Kubernetes provider renders what it would send.
"""

import json
from pathlib import Path

import pulumi
import pulumi_kubernetes as kubernetes

import pulumi_holdfast as holdfast

HERE = Path(__file__).parent
declared = json.loads((HERE / "platform.json").read_text())
ground = holdfast.AwsPlatform("gpu", declared)
cluster = kubernetes.Provider(
    "cluster",
    render_yaml_to_directory=str(HERE / "rendered"),
    opts=pulumi.ResourceOptions(depends_on=[ground]),
)
within = pulumi.ResourceOptions(providers=[cluster])
shared = holdfast.SharedStack(
    "shared",
    {
        "kind": holdfast.PlatformKind.AWS,
        "services_image": "ghcr.io/acme/services:1",
        "broker_secret": pulumi.Config().require_secret("brokerSecret"),
        "base_url": ground.base_url or "",
        "bodies_bucket": ground.bodies_bucket or "",
        "load_balancer_idle_s": ground.load_balancer_idle_s or 0,
        "gateway": {
            "ingress": holdfast.Ingress.NODE_PORT,
            "node_port": ground.spec.ingress.node_port,
            "tls_secret": ground.tls_secret or "",
        },
        "gpu_node_selector": dict(ground.gpu_node_selector),
    },
    within,
)
platform = holdfast.Platform.of(shared)
platform.look_ahead(holdfast.Foresight(feasibility=holdfast.Feasibility.WARN, answers=HERE / "answers.json"))
for number in range(20):
    holdfast.Endpoint(
        f"e{number:02}",
        {
            "platform": platform,
            "image": f"ghcr.io/acme/model-{number:02}:1",
            "hardware": "l4" if number % 2 else "a10g",
            "registry_credentials": {"secret": "acme/ghcr"},
            "scaling": {
                "min_replicas": 0 if number % 5 else 1,
                "max_replicas": 2,
                "startup_budget_s": 600,
                "max_request_s": 900,
            },
        },
        within,
    )
pulumi.export("at_rest", ground.at_rest)
pulumi.export("endpoints", dict(platform.endpoints))
