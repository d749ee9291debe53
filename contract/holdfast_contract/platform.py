"""The platform contract: what the shared stack exports and every endpoint stack reads. Holds no secret."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from pydantic import Field

from holdfast_contract import names
from holdfast_contract.document import Frozen

PLATFORM_VERSION: Final = 1
PLATFORM_OUTPUT: Final = "platform"
"""The name of the shared stack's output that holds the contract."""
PLATFORM_KEY_OUTPUT: Final = "platform_key"
"""The name of the shared stack's secret output that signs workers' credentials for the broker."""


class PlatformKind(StrEnum):
    """Where the platform runs."""

    SANDBOX = "sandbox"
    AWS = "aws"
    CLUSTER = "cluster"


class PlatformContract(Frozen):
    """Where an endpoint goes and how it is reached."""

    version: int = PLATFORM_VERSION
    kind: PlatformKind = PlatformKind.CLUSTER
    namespace: str = names.ENDPOINTS_NAMESPACE
    system_namespace: str = names.SYSTEM_NAMESPACE
    base_url: str
    """The gateway as callers see it, without a trailing slash."""
    domain: str | None = None
    """Endpoints also answer at `<endpoint>.<domain>` where wildcard DNS exists."""
    nats_url: str
    """The broker as pods see it."""
    max_endpoints: int | None = None
    """How many endpoints the brokers have room for; None: one server, which has no such limit."""
    bodies_url: str | None = None
    """The gateway's internal port, by way of which workers reach bodies in a bucket; None: they are in the broker."""
    scaler_address: str
    """`host:port` of the scaler's gRPC service as KEDA sees it."""
    worker_image: str
    """The image of the worker beside each replica."""
    secret_store: str = names.SECRET_STORE
    aws_region: str = "us-east-1"
    template_registry: str | None = None
    """Registry prefix for images of the catalogue's templates; None: as the template says."""
    template_registry_secret: str | None = None
    """Secrets Manager secret with that registry's credentials; None: public, or by the node's role."""
    pull_secret: str | None = None
    """Secret in `namespace` with which `worker_image` is pulled; None: public, or by the node's role."""
    load_balancer_idle_s: int | None = None
    """How long the load balancer keeps a silent connection; None: there is none, or it is not known."""
    instance_types: bool = True
    """Whether nodes carry their instance type as a label, as clouds' do."""
    otlp_endpoint: str | None = None
    """OpenTelemetry collector that workers export traces to; None: they make none."""
    gpu_node_selector: dict[str, str] = Field(default_factory=dict)
    """Label that selects the platform's GPU nodes; empty: any node that has the resource."""
