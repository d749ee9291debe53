"""Endpoint: the component that turns a declaration into a dedicated URL with replicas behind it."""

# No `from __future__ import annotations`: the analyser of multi-language components reads real types.
from collections.abc import Mapping
from typing import Any, Final, NotRequired, Optional, TypedDict

import pulumi

from holdfast_contract.document import EndpointState, Rollout, Visibility
from holdfast_contract.platform import PlatformContract
from pulumi_holdfast.code_image import image_of
from pulumi_holdfast.errors import DeclarationError, explained
from pulumi_holdfast.kube.create import Creation
from pulumi_holdfast.plan import identities
from pulumi_holdfast.plan.cost import cost_of
from pulumi_holdfast.plan.declared import declared
from pulumi_holdfast.plan.endpoint import plan_endpoint
from pulumi_holdfast.plan.timeouts import broken_links, notes
from pulumi_holdfast.plan.wiring import WIRES, hole, resolve
from pulumi_holdfast.platform import Platform, read_contract, read_key, with_room
from pulumi_holdfast.spec.endpoint import WIRED_IMAGE, Egress, EndpointSpec, Filesystem
from pulumi_holdfast.spec.hardware import hardware_table
from pulumi_holdfast.spec.parse import parse_endpoint
from pulumi_holdfast.spec.secrets import WIRED_VALUE
from pulumi_holdfast.spec.template import catalogue

_NAMED: Final = {"broker": "broker_secret", "config-secrets": "config_secret"}
"""Children that Pulumi names, and the hole that their name fills."""


class ScalingArgs(TypedDict):
    """How many replicas run, and how long requests and replicas wait for each other."""

    min_replicas: NotRequired[int]
    """Replicas that always run; 0 by default: nothing runs and nothing is paid for while idle."""
    max_replicas: NotRequired[int]
    """Replicas that run at most; 1 by default. What exceeds them waits in the queue."""
    timeout_s: NotRequired[int]
    """Seconds without a request after which the endpoint goes down to min_replicas; 300 by default."""
    concurrency: NotRequired[int]
    """Requests that one replica works on at a time; 1 by default."""
    max_queue: NotRequired[int]
    """Requests that wait while all replicas are busy; 1000 by default. One more is answered 429."""
    startup_budget_s: NotRequired[int]
    """Seconds within which a replica must be ready; 600 by default."""
    max_request_s: NotRequired[int]
    """Seconds from acceptance until a request must be answered; 900 by default."""


class RegistryCredentialsArgs(TypedDict):
    """Where the password of the image's registry is kept."""

    secret: str
    """Name or ARN in AWS Secrets Manager: a username and password, or a whole docker configuration."""
    registry: NotRequired[str]
    """Registry host; the image's own by default."""
    refresh_s: NotRequired[int]
    """How often it is read again, in seconds; 300 by default."""


class CodeArgs(TypedDict):
    """A folder with a service class, and where its image goes."""

    path: str
    """The folder that `holdfast init` made; a relative one is found from the program's folder."""
    repository: str
    """Where the image is pushed, with its registry and without a tag."""


class CacheArgs(TypedDict):
    """A directory on the node that all replicas there share and that outlives them."""

    path: str
    """Where the container sees it."""


class SizesArgs(TypedDict):
    """How much a cold start has to move, in GB of 10^9 bytes: for its estimate alone."""

    image_gb: NotRequired[float]
    """The image as it is pulled, compressed."""
    weights_gb: NotRequired[float]
    """The model's weights on disk."""


class RateLimitArgs(TypedDict):
    """At most this many requests in any window, for each token."""

    requests: int
    window_s: int


class EndpointArgs(TypedDict):
    """What an endpoint declares. `pulumi_holdfast.spec.endpoint.EndpointSpec` says all of every field."""

    platform: Any
    """The Platform that it goes to."""
    platform_key: NotRequired[pulumi.Input[str]]
    """The shared stack's secret output platform_key; needed where platform is its plain output."""
    image: NotRequired[pulumi.Input[str]]
    """The container image; exactly one of image, code, template."""
    code: NotRequired[CodeArgs]
    """A folder with a service class, and the repository for its image, which `pulumi up` builds and pushes."""
    template: NotRequired[str]
    """A template of the catalogue to clone."""
    port: NotRequired[int]
    """The port that the container listens on; 8000 by default."""
    command: NotRequired[list[str]]
    """Replaces the image's entrypoint."""
    args: NotRequired[list[str]]
    """Replaces the image's arguments."""
    hardware: NotRequired[Any]
    """A preset by name, such as "a10g", or a mapping: preset, gpus, cpu, memory_mib, shm_mib, instance_types,
    spot."""
    scaling: NotRequired[ScalingArgs]
    """How many replicas run, and when."""
    visibility: NotRequired[Visibility]
    """Who may call it; private by default."""
    state: NotRequired[EndpointState]
    """Active by default; a paused endpoint has no replicas."""
    registry_credentials: NotRequired[RegistryCredentialsArgs]
    """Where the password of the image's registry is kept; none by default."""
    secrets: NotRequired[dict[str, Any]]
    """By variable: {"secret": name, "key": …, "version": …, "file": …} of AWS Secrets Manager, or a secret
    output of the program: alone, or as {"value": …, "file": …}."""
    env: NotRequired[dict[str, pulumi.Input[str]]]
    """Plain settings; never a secret."""
    health_check_path: NotRequired[str]
    """Answers 200 once the model can take a request; /healthcheck by default."""
    cache: NotRequired[CacheArgs]
    """A directory for weights, shared by the replicas of a node; none by default."""
    sizes: NotRequired[SizesArgs]
    """What a cold start has to move; not known by default."""
    rate_limit: NotRequired[RateLimitArgs]
    """None by default: only the queue limits."""
    tokens: NotRequired[list[str]]
    """What `holdfast token new` prints to declare: sha256:<id>:<hash>."""
    contract: NotRequired[list[Any]]
    """Example requests that a new image must answer before it gets traffic."""
    rollout: NotRequired[Rollout]
    """surge by default: the new replica first; swap: the old one stops first."""
    sse_keepalive_s: NotRequired[int]
    """Seconds between keep-alive comments on event streams; 0, the default: none."""
    max_result_mib: NotRequired[int]
    """The largest answer that is kept for later, in MiB; 1024 by default."""
    egress: NotRequired[Egress]
    """Where replicas may connect to; nothing but the platform by default."""
    user: NotRequired[int]
    """User id of the model container; 65532 by default."""
    filesystem: NotRequired[Filesystem]
    """read-only by default."""
    writable_paths: NotRequired[list[str]]
    """Directories besides /tmp that the container writes to."""
    description: NotRequired[str]
    """For people; at most 500 characters."""
    labels: NotRequired[dict[str, str]]
    """Labels on every object of the endpoint."""
    transforms: NotRequired[dict[str, Any]]
    """Per-child overrides: child name to a partial object that is merged over the planned one."""


class Endpoint(pulumi.ComponentResource):
    """A dedicated URL that serves a container's own routes, with replicas that come and go with the demand."""

    name: pulumi.Output[str]
    """The endpoint's name."""
    url: pulumi.Output[str]
    """Where it answers, without a trailing slash."""

    def __init__(self, name: str, args: EndpointArgs, opts: Optional[pulumi.ResourceOptions] = None) -> None:  # noqa: UP045
        platform = _platform(args)
        with explained():
            self.spec = _spec(name, args, platform)
        """What was declared, with every default filled in."""
        told = declared(self.spec, hardware_table())
        super().__init__("holdfast:index:Endpoint", name, {"declared": told}, opts)
        image = image_of(name, self.spec.code, self) if self.spec.code else args.get("image")
        outputs = {**_outputs(self.spec, platform, image), **_values(args)}
        outputs["worker_credentials"] = platform.key.apply(lambda key: identities.credentials(key, name))
        outputs["bodies_key"] = platform.key.apply(lambda key: identities.body_key(key, name))
        with explained():
            planned = plan_endpoint(self.spec)
        creation = Creation(name, self, outputs, opts)
        for manifest in planned:
            creation.create([manifest])
            made: Any = creation.children[manifest.child]
            if manifest.child in _NAMED:
                creation.provide(_NAMED[manifest.child], made.metadata["name"])
        self.children = creation.children
        """The resources by child name: `deployment`, `scaledobject`, `document`, `pull`, …"""
        self.name = pulumi.Output.from_input(name)
        declared_so_far = len(platform.endpoints) + 1
        self.url = platform.contract.apply(lambda known: url_of(with_room(known, declared_so_far), name))
        self._tell()
        platform.looker.look(self.spec, platform.contract, self)
        platform.declare(name, self._summary())
        self.register_outputs({"name": self.name, "url": self.url, "declared": told})

    def _summary(self) -> pulumi.Output[Mapping[str, Any]]:
        cost = cost_of(self.spec, hardware_table())
        plain = {
            "visibility": self.spec.visibility.value,
            "min": self.spec.scaling.min_replicas,
            "max": self.spec.scaling.max_replicas,
            "cost": cost.as_output() if cost else None,
        }
        return self.url.apply(lambda url: {"url": url, **plain})

    def _tell(self) -> None:
        """What is allowed, but deserves to be known."""
        if self.spec.visibility is Visibility.PRIVATE and not self.spec.tokens:
            pulumi.log.warn(
                f'endpoint "{self.spec.name}" is private and has no tokens, so nobody can call it: '
                "`holdfast token new` prints a line to declare",
                self,
            )
        for note in notes(self.spec):
            pulumi.log.info(f'endpoint "{self.spec.name}": {note}', self)


def url_of(platform: PlatformContract, name: str) -> str:
    """Where an endpoint answers."""
    if platform.domain is not None:
        return f"https://{name}.{platform.domain}"
    return f"{platform.base_url}/e/{name}"


def _platform(args: EndpointArgs) -> Platform:
    given: Any = args.get("platform")
    if isinstance(given, Platform):
        return given
    if isinstance(given, PlatformContract):
        return Platform.from_contract(given, key=_platform_key(args))
    if given is None:
        raise TypeError("platform is missing, required: pass Platform.from_stack(…) or Platform.of(shared)")
    contract = pulumi.Output.from_input(given).apply(lambda known: read_contract(known, "`platform`"))
    return Platform(contract, key=_platform_key(args))


def _platform_key(args: EndpointArgs) -> pulumi.Output[str]:
    given = pulumi.Output.secret(args.get("platform_key"))
    return given.apply(lambda key: read_key(key, "`platform_key`"))


def _spec(name: str, args: EndpointArgs, platform: Platform) -> EndpointSpec:
    """The spec, with outputs replaced by placeholders: which objects exist never depends on one."""
    plain: dict[str, Any] = {
        key: value for key, value in args.items() if key not in ("platform", "platform_key")
    }
    if isinstance(plain.get("image"), pulumi.Output):
        plain["image"] = WIRED_IMAGE
    if isinstance(plain.get("secrets"), Mapping):
        plain["secrets"] = {key: _secret(value) for key, value in plain["secrets"].items()}
    if isinstance(plain.get("env"), Mapping):
        plain["env"] = {**plain["env"], **{key: hole(f"env.{key}") for key in _wired_env(args)}}
    tokens = plain.get("tokens") or ()
    if plain.get("visibility") != Visibility.PUBLIC and isinstance(tokens, list | tuple):
        plain["tokens"] = [*tokens, *platform.tokens]
    return parse_endpoint(name, plain, catalogue())


def _secret(given: Any) -> Any:
    """What is declared of a secret, without the value where the program gives it."""
    if _program_value(given) is None:
        return given
    return {**(given if isinstance(given, Mapping) else {}), "value": WIRED_VALUE}


def _program_value(given: Any) -> pulumi.Input[str] | None:
    """A value of the program itself, given alone or with a file; None for a secret of Secrets Manager."""
    value = given.get("value") if isinstance(given, Mapping) else given
    return value if isinstance(value, pulumi.Output | str) else None


def _wired_env(args: EndpointArgs) -> dict[str, pulumi.Output[str]]:
    """The settings that other resources give."""
    given: Mapping[str, Any] = args.get("env") or {}
    return {key: value for key, value in given.items() if isinstance(value, pulumi.Output)}


def _outputs(spec: EndpointSpec, platform: Platform, image: pulumi.Input[str] | None) -> dict[str, Any]:
    """A value for every hole. Only what hangs on the image's own output waits for it."""
    known = platform.contract.apply(lambda contract: resolve(spec, _reached_in_time(spec, contract)))
    outputs: dict[str, Any] = {wire: known[wire] for wire in WIRES}
    if isinstance(image, pulumi.Output):
        both = pulumi.Output.all(platform.contract, image)
        wired = both.apply(lambda given: resolve(spec, given[0], given[1]))
        outputs |= {wire: wired[wire] for wire in ("image", "registry")}
    return outputs


def _reached_in_time(spec: EndpointSpec, contract: PlatformContract) -> PlatformContract:
    """The contract, once its load balancer is known to wait as long as this endpoint's requests may take."""
    idle_s = contract.load_balancer_idle_s
    broken = [found for found in broken_links(spec, idle_s) if found not in broken_links(spec)]
    if broken:
        raise DeclarationError(f'endpoint "{spec.name}"', broken)
    return contract


def _values(args: EndpointArgs) -> dict[str, Any]:
    """What the program and other resources give, each for its hole."""
    secrets = {name: _program_value(given) for name, given in (args.get("secrets") or {}).items()}
    return {
        **{f"value.{name}": value for name, value in secrets.items() if value is not None},
        **{f"env.{name}": value for name, value in _wired_env(args).items()},
    }
