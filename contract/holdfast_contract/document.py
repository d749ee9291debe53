"""The endpoint document: one JSON object per endpoint, in a labelled ConfigMap.

It is derived from the endpoint's spec by the component library and read by gateway, scaler, worker and page.
It holds no secret: tokens are present as SHA-256 only.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

DOCUMENT_VERSION: Final = 1
NAME_PATTERN: Final = r"^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$"
"""A DNS label of at most 40 characters: derived object names stay under Kubernetes's 63."""


class Visibility(StrEnum):
    """Who may call an endpoint."""

    PRIVATE = "private"
    PUBLIC = "public"


class EndpointState(StrEnum):
    """Whether an endpoint takes requests."""

    ACTIVE = "active"
    PAUSED = "paused"


class Rollout(StrEnum):
    """How a new version replaces the old one."""

    SURGE = "surge"
    SWAP = "swap"


class Frozen(BaseModel):
    """Immutable; unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TokenHash(Frozen):
    """A token that opens the endpoint, known by its hash only."""

    id: str = Field(pattern=r"^[a-z0-9]{4,16}$")
    """The part of the token between the underscores: names it in logs and rotations."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Scaling(Frozen):
    """How many replicas run, and how requests reach them. See the spec of the same name for the reasons."""

    min_replicas: int = Field(ge=0)
    max_replicas: int = Field(ge=1)
    timeout_s: int = Field(ge=1)
    concurrency: int = Field(ge=1)
    max_queue: int = Field(ge=0)
    startup_budget_s: int = Field(ge=1)
    max_request_s: int = Field(ge=1)


class RateLimit(Frozen):
    """At most `requests` in any `window_s` seconds, for each token (or client address when public)."""

    requests: int = Field(ge=1)
    window_s: int = Field(ge=1)


class TemplateRef(Frozen):
    """The template an endpoint was cloned from."""

    name: str
    version: str


class Price(Frozen):
    """What a machine for the endpoint's replicas costs, from a dated table; machines only."""

    usd_per_hour: float = Field(ge=0)
    """Of one machine."""
    replicas_per_instance: int = Field(ge=1)
    """How many replicas share it."""
    instance_type: str
    region: str
    prices_from: str
    """The date of the price table."""
    note: str = ""


class PhaseEstimate(Frozen):
    """How long one phase of a cold start takes, as far as the declaration tells."""

    phase: Literal["node", "pull", "load", "ready"]
    low_s: float | None = Field(default=None, ge=0)
    """At its fastest; None, and `high_s` too: not known."""
    high_s: float | None = Field(default=None, ge=0)
    """At its slowest."""
    why: str
    """Where the figures come from, or what is missing for them."""


class ContractExample(Frozen):
    """One example request that a replica must answer before it takes traffic."""

    name: str
    method: str = "POST"
    path: str = "/"
    headers: dict[str, str] = Field(default_factory=dict)
    body_json: Any = None
    """Sent as JSON; exclusive with `body_base64`."""
    body_base64: str | None = None
    expect_status: int = 200
    expect_text: str | None = None
    """A text that the answer's body must contain."""
    timeout_s: int = 60


class EndpointDocument(Frozen):
    """Everything that the running parts need to know of an endpoint."""

    version: int = DOCUMENT_VERSION
    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    namespace: str
    deployment: str
    """The Deployment whose replicas serve the endpoint."""
    image: str
    port: int = Field(ge=1, le=65535)
    health_check_path: str = "/healthcheck"
    visibility: Visibility = Visibility.PRIVATE
    state: EndpointState = EndpointState.ACTIVE
    tokens: tuple[TokenHash, ...] = ()
    scaling: Scaling
    gpus: int = Field(default=0, ge=0)
    rate_limit: RateLimit | None = None
    rollout: Rollout = Rollout.SURGE
    template: TemplateRef | None = None
    contract: tuple[ContractExample, ...] = ()
    sse_keepalive_s: int = Field(default=0, ge=0)
    """Seconds between keep-alive comments on event streams; 0: none."""
    description: str = ""
    price: Price | None = None
    """None: the price table knows none of its machines."""
    cold_start_estimate: tuple[PhaseEstimate, ...] = ()
    """From what is declared alone, in the order of the phases. Empty: nothing of it is known, or the document is older
    than this field."""

    def to_json(self) -> str:
        """The text stored in the ConfigMap; the same document gives the same text.

        Without an estimate the field is absent: unknown fields are errors, and a reader that is older than this one
        still reads the document.
        """
        absent = set() if self.cold_start_estimate else {"cold_start_estimate"}
        return self.model_dump_json(indent=1, exclude=absent)

    @classmethod
    def from_json(cls, text: str) -> EndpointDocument:
        """Parse a stored document. Raises `pydantic.ValidationError` naming every wrong field."""
        return cls.model_validate_json(text)
