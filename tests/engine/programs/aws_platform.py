"""A platform on AWS by its component; what is declared stands in `platform.json` beside the program."""

import json
from pathlib import Path

import pulumi

from pulumi_holdfast.aws.platform import AwsPlatform

declared = json.loads((Path(__file__).parent / "platform.json").read_text())
platform = AwsPlatform("gpu", declared)
pulumi.export("cluster", platform.cluster_name)
pulumi.export("kubeconfig", platform.kubeconfig)
pulumi.export("at_rest", platform.at_rest)
if "balancer" in platform.children:
    pulumi.export("balancer", platform.outputs["balancer.arn"])
