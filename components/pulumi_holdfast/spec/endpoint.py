"""What an endpoint declares. Plain data; secrets are named, never held."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, JsonValue

from holdfast_contract.document import (
    NAME_PATTERN,
    EndpointState,
    RateLimit,
    Rollout,
    TemplateRef,
    Visibility,
)
from holdfast_contract.tokens import parse_declared
from pulumi_holdfast.spec.code import CodeSpec
from pulumi_holdfast.spec.hardware import HardwareSpec
from pulumi_holdfast.spec.model import AbsolutePath, Number, Route, Spec, Whole
from pulumi_holdfast.spec.problems import refused
from pulumi_holdfast.spec.scaling import ScalingSpec
from pulumi_holdfast.spec.secrets import EndpointSecretSpec, RegistryCredentialsSpec

WIRED_IMAGE: Final = "wired.invalid/known-at-deployment"
"""Stands for an image that is another resource's output while the shape is checked."""

_IMAGE: Final = re.compile(
    r"(?:(?P<registry>[a-zA-Z0-9.-]+(?::[0-9]{1,5})?)/)?"
    r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
)
_ENV_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LABEL_VALUE: Final = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")
_LABEL_KEY: Final = re.compile(r"([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


def _image(text: str) -> str:
    if "://" in text:
        raise refused("a URL", "write the image without http:// or https://")
    if not _IMAGE.fullmatch(text):
        raise refused(
            "not an image reference", "write registry/repository:tag or registry/repository@sha256:<64 hex>"
        )
    return text


def _name(text: str) -> str:
    if not re.fullmatch(NAME_PATTERN, text):
        raise refused(
            "not a DNS label of at most 40 characters",
            "use lower-case letters, digits and -, start with a letter and end without -",
        )
    return text


def _token(text: str) -> str:
    try:
        parse_declared(text)
    except ValueError as error:
        text_of, _, remedy = str(error).partition(": ")
        rule = text_of.removeprefix("is ")
        raise refused(rule, remedy or "paste the line that `holdfast token new` prints") from None
    return text


def _variable(name: str) -> str:
    if not _ENV_NAME.fullmatch(name):
        raise refused("not the name of a variable", "use letters, digits and _, not starting with a digit")
    if name.startswith("HOLDFAST_"):
        raise refused("reserved for the worker", "choose a name without the prefix HOLDFAST_")
    return name


def _label_key(key: str) -> str:
    if "holdfast.dev/" in key or key.startswith("kubernetes.io/"):
        raise refused("a label that the components set", "choose another prefix")
    if not _LABEL_KEY.fullmatch(key):
        raise refused("not a label's name in Kubernetes", "use letters, digits and ._- up to 63")
    return key


def _label_value(value: str) -> str:
    if not _LABEL_VALUE.fullmatch(value):
        raise refused("not a label's value in Kubernetes", "use letters, digits and ._- up to 63")
    return value


Image = Annotated[str, AfterValidator(_image)]
Variable = Annotated[str, AfterValidator(_variable)]


class Egress(StrEnum):
    """Where replicas may open connections to."""

    NONE = "none"
    """The platform's queue, gateway and DNS only."""
    INTERNET = "internet"
    """Any public address besides; for models that fetch weights or inputs themselves."""


class Filesystem(StrEnum):
    """Whether the model container may write outside its declared paths."""

    READ_ONLY = "read-only"
    WRITABLE = "writable"


class CacheSpec(Spec):
    """A directory on the node that all replicas there share and that outlives them: for weights."""

    path: AbsolutePath
    """Where the container sees it."""


class SizesSpec(Spec):
    """How much a cold start has to move, for the estimate of a preview and of `holdfast status`. Nothing else depends
    on it."""

    image_gb: Number | None = Field(default=None, gt=0, le=1000)
    """The image as it is pulled: compressed, in GB of 10^9 bytes. None, the default: not known, unless a preview asks
    the registry."""
    weights_gb: Number | None = Field(default=None, gt=0, le=10_000)
    """The model's weights as they are read at every start, in GB of 10^9 bytes: what the files take on disk, whether
    they are in the image or not. None, the default: not known."""


class ExampleSpec(Spec):
    """One example request that a new image must answer before it gets traffic."""

    name: str = Field(min_length=1)
    method: str = Field(default="POST", pattern=r"^[A-Z]+$")
    path: Route = "/"
    headers: Mapping[str, str] = Field(default_factory=dict)
    body_json: JsonValue = None
    """Sent as JSON; exclusive with `body_base64`."""
    body_base64: str | None = None
    expect_status: Whole = Field(default=200, ge=100, le=599)
    expect_text: str | None = None
    """A text that the answer's body must contain."""
    timeout_s: Whole = Field(default=60, ge=1, le=3600)


class EndpointSpec(Spec):
    """What an endpoint declares."""

    name: Annotated[str, AfterValidator(_name)]
    """Names the endpoint in its URL and every object; at most 40 characters. A rename is a new endpoint
    unless the old name is given as an alias."""
    image: Image | None = None
    """The container image. Exactly one of `image`, `code`, `template`. Pin it by digest in production: a tag
    can move under a running endpoint (a policy checks it). May be another resource's output."""
    code: CodeSpec | None = None
    """A folder with a service class that `holdfast init` made, and where its image goes: the image is built and
    pushed by `pulumi up`, and pinned by its digest."""
    template: str | None = Field(default=None, min_length=1)
    """A template of the catalogue to clone: what it declares holds unless declared here."""
    port: Whole = Field(default=8000, ge=1, le=65535)
    """The port that the container's HTTP server listens on. 8000 by default, as vLLM and uvicorn do."""
    command: tuple[str, ...] = ()
    """Replaces the image's entrypoint. Empty, the default: the image's own."""
    args: tuple[str, ...] = ()
    """Replaces the image's arguments. Empty, the default: the image's own."""
    hardware: HardwareSpec = HardwareSpec()
    """A preset by name, or explicit parts. One CPU and 2 GiB by default."""
    scaling: ScalingSpec = ScalingSpec()
    visibility: Visibility = Visibility.PRIVATE
    """Who may call it. Private by default: only with one of its tokens."""
    state: EndpointState = EndpointState.ACTIVE
    """`paused`: no replicas; requests get 503 with the reason."""
    registry_credentials: RegistryCredentialsSpec | None = None
    """None, the default: the image is public, or on ECR where the node's role may read it."""
    secrets: Mapping[Variable, EndpointSecretSpec] = Field(default_factory=dict)
    """By environment variable (for a file: any name of that form)."""
    env: Mapping[Variable, str] = Field(default_factory=dict)
    """Plain settings. Never a secret: they are readable in state, diffs and cluster. Values may be other resources'
    outputs."""
    health_check_path: Route = "/healthcheck"
    """Answers 200 once the model can take a request, also while it works on one; 3 failures in a row restart
    the container."""
    cache: CacheSpec | None = None
    """None, the default: every replica starts from its image alone."""
    sizes: SizesSpec = SizesSpec()
    """What a cold start has to move. Nothing by default: phases that depend on it are said to be unknown."""
    rate_limit: RateLimit | None = None
    """For each token (or client address when public). None, the default: only the queue limits."""
    tokens: tuple[Annotated[str, AfterValidator(_token)], ...] = ()
    """Tokens that open the endpoint, as `holdfast token new` prints them: `sha256:<id>:<hash>`. Several, so
    that one can be rotated in before the other goes."""
    contract: tuple[ExampleSpec, ...] = ()
    """Requests that a new image must answer before it gets traffic. Empty, the default: readiness decides."""
    rollout: Rollout = Rollout.SURGE
    """`surge`, the default: the new replica first, which needs one more machine for a while; `swap`: the old
    one stops first, and the queue holds what arrives."""
    sse_keepalive_s: Whole = Field(default=0, ge=0, le=300)
    """Seconds between keep-alive comments on event streams. 0, the default: none; some clients
    choke on them."""
    max_result_mib: Whole = Field(default=1024, ge=1, le=65536)
    """The largest answer that is kept for later, in MiB: of submitted requests, and of callers whose gateway is
    gone. A longer one ends its request as failed; streamed answers have no limit. 1024 by default, in a store that
    all endpoints share; at most 65536, as an upload to S3 ends at 10,000 pieces of 8 MiB."""
    egress: Egress = Egress.NONE
    """Where replicas may connect to. Nothing but the platform by default: a model that answers
    needs no more."""
    user: Whole = Field(default=65532, ge=0, le=2**31 - 1)
    """User id of the model container. 65532 ("nonroot") by default; 0 only for an image that
    insists on root."""
    filesystem: Filesystem = Filesystem.READ_ONLY
    """Read-only by default; /tmp and `writable_paths` are always writable, and gone with the replica."""
    writable_paths: tuple[AbsolutePath, ...] = ()
    """Directories besides /tmp that the container writes to."""
    description: str = Field(default="", max_length=500)
    labels: Mapping[
        Annotated[str, AfterValidator(_label_key)], Annotated[str, AfterValidator(_label_value)]
    ] = Field(default_factory=dict)
    """Labels on every object of the endpoint, for cost allocation and search."""
    transforms: Mapping[str, JsonValue] = Field(default_factory=dict)
    """Per-child overrides: child name (`deployment`, `scaledobject`, …) to a partial object that is merged
    over the planned one; None removes a field. The last resort, and visible as such."""
    template_ref: TemplateRef | None = None
    """Set by the components: the template and version that this was cloned from."""

    @property
    def registry(self) -> str:
        """Registry host of the image, `docker.io` where it names none."""
        if self.code is not None:
            return registry_of(self.code.repository)
        return registry_of(self.image or WIRED_IMAGE)


def registry_of(image: str) -> str:
    """Registry host of an image reference; `docker.io` where it names none, as container runtimes read it."""
    first, slash, _ = image.partition("/")
    return first if slash and (first == "localhost" or "." in first or ":" in first) else "docker.io"


def sections() -> dict[str, frozenset[str]]:
    """Field names of each section by its path, for `did you mean`."""
    found: dict[str, frozenset[str]] = {"": frozenset(EndpointSpec.model_fields) - {"template_ref", "name"}}
    parts: dict[str, Any] = {
        "code": CodeSpec,
        "hardware": HardwareSpec,
        "scaling": ScalingSpec,
        "registry_credentials": RegistryCredentialsSpec,
        "secrets.<NAME>": EndpointSecretSpec,
        "cache": CacheSpec,
        "sizes": SizesSpec,
        "rate_limit": RateLimit,
        "contract": ExampleSpec,
    }
    found.update({path: frozenset(model.model_fields) for path, model in parts.items()})
    return found
