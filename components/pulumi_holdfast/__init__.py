"""holdfast: GPU inference endpoints as code.

import pulumi_holdfast as holdfast

holdfast.Endpoint("receipts", {"platform": platform, "template": "ocr"})
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from holdfast_contract.document import EndpointState, Rollout, Visibility
from holdfast_contract.platform import PlatformContract, PlatformKind
from pulumi_holdfast.endpoint import (
    CacheArgs,
    CodeArgs,
    Endpoint,
    EndpointArgs,
    RateLimitArgs,
    RegistryCredentialsArgs,
    ScalingArgs,
    SizesArgs,
)
from pulumi_holdfast.foresight import Feasibility, Foresight
from pulumi_holdfast.platform import Platform, PlatformError
from pulumi_holdfast.quickstart import offer_quickstarts
from pulumi_holdfast.spec.endpoint import Egress, Filesystem
from pulumi_holdfast.spec.problems import Problem, SpecError

if TYPE_CHECKING:
    from pulumi_holdfast.addons import AwsAddons, AwsAddonsArgs
    from pulumi_holdfast.aws.platform import AwsPlatform, AwsPlatformArgs
    from pulumi_holdfast.shared import (
        GatewayArgs,
        QueueArgs,
        ScalerArgs,
        ServicesCredentialsArgs,
        SharedStack,
        SharedStackArgs,
    )
    from pulumi_holdfast.spec.shared import Ingress

__all__ = [
    "AwsAddons",
    "AwsAddonsArgs",
    "AwsPlatform",
    "AwsPlatformArgs",
    "CacheArgs",
    "CodeArgs",
    "Egress",
    "Endpoint",
    "EndpointArgs",
    "EndpointState",
    "Feasibility",
    "Filesystem",
    "Foresight",
    "GatewayArgs",
    "Ingress",
    "Platform",
    "PlatformContract",
    "PlatformError",
    "PlatformKind",
    "Problem",
    "QueueArgs",
    "RateLimitArgs",
    "RegistryCredentialsArgs",
    "Rollout",
    "ScalerArgs",
    "ScalingArgs",
    "ServicesCredentialsArgs",
    "SharedStack",
    "SharedStackArgs",
    "SizesArgs",
    "SpecError",
    "Visibility",
    "offer_quickstarts",
]

_LATER: Final = {
    "AwsAddons": "addons",
    "AwsAddonsArgs": "addons",
    "AwsPlatform": "aws.platform",
    "AwsPlatformArgs": "aws.platform",
    "GatewayArgs": "shared",
    "Ingress": "spec.shared",
    "QueueArgs": "shared",
    "ScalerArgs": "shared",
    "ServicesCredentialsArgs": "shared",
    "SharedStack": "shared",
    "SharedStackArgs": "shared",
}
"""Where the names of the shared layer are: read when first used, for a program that only declares endpoints, which
every team's does, would spend a third of its start on them."""


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
