"""The rules as pure functions over plain data: no policy library, no engine. `__main__.py` wraps them.

An endpoint is seen as the component's inputs (`declared`): its declaration with defaults filled in and its cost.
Other workloads are seen as Kubernetes objects. A value that is not known yet during a preview is left out before a
rule sees it, so a mandatory rule never turns into advice; it is looked at again during the update.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from posixpath import normpath
from typing import Any, Final

from holdfast_contract.secretlike import holds_secret, looks_secret

Data = Mapping[str, Any]

ENDPOINT: Final = "holdfast:index:Endpoint"
WORKLOADS: Final = (
    "kubernetes:apps/v1:Deployment",
    "kubernetes:apps/v1:StatefulSet",
    "kubernetes:apps/v1:DaemonSet",
    "kubernetes:apps/v1:ReplicaSet",
    "kubernetes:batch/v1:Job",
    "kubernetes:batch/v1:CronJob",
    "kubernetes:core/v1:Pod",
    "kubernetes:core/v1:ReplicationController",
)
CONFIG_MAP: Final = "kubernetes:core/v1:ConfigMap"
SPOT_NOTICE_S: Final = 120
"""Between AWS's notice that a spot machine is reclaimed and its end (EC2 user guide, spot interruption notices)."""
CACHE_DIR: Final = "/var/lib/holdfast/cache/"
"""Where endpoints that declare `cache` keep weights on the node."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule over single resources, or over all endpoints of a stack."""

    name: str
    reason: str
    remedy: str
    check: Callable[[Any, Data], Iterator[str]]
    """(properties of a resource | of all endpoints by name, settings) → what is wrong: `path is value, rule`."""
    types: tuple[str, ...] = (ENDPOINT,)
    stack: bool = False
    """Whether it looks at all endpoints together."""
    advisory: bool = False
    """The default level; the pack's configuration sets another one."""
    settings: Data = field(default_factory=dict)
    """JSON schema of the rule's own settings."""


def violations(rule: Rule, name: str, props: Data, settings: Data) -> list[str]:
    """What one rule says of one resource: `path is value, rule: remedy`. Empty: kept, or exempted by name."""
    if name in settings.get("exempt", {}):
        return []
    return [f"{found}: {rule.remedy}" for found in rule.check(props, settings)]


def stack_violations(rule: Rule, endpoints: Mapping[str, Data], settings: Data) -> list[str]:
    """What one rule says of all endpoints together; exempted endpoints are not counted."""
    counted = {name: props for name, props in endpoints.items() if name not in settings.get("exempt", {})}
    return [f"{found}: {rule.remedy}" for found in rule.check(counted, settings)]


# --- endpoints ----------------------------------------------------------------------------------------------
def _declared(props: Data) -> Data:
    found: Data = props.get("declared") or {}
    return found


def _cost(props: Data) -> Data:
    found: Data = _declared(props).get("cost") or {}
    return found


def _endpoint_budget(props: Data, settings: Data) -> Iterator[str]:
    for what, which in (("floor", "min_replicas"), ("ceiling", "max_replicas")):
        limit, cost = settings.get(f"{what}_usd_month"), _cost(props).get(f"{what}_usd_month")
        if limit is not None and cost is not None and cost > limit:
            yield f"cost.{what}_usd_month is {cost:.2f} at {which}, above the budget of {limit:g} $ a month"
    if settings.get("priced_only") and _declared(props) and not _cost(props):
        yield "cost is unknown, and the budget cannot be held against it"


def _stack_budget(endpoints: Mapping[str, Data], settings: Data) -> Iterator[str]:
    for what in ("floor", "ceiling"):
        limit = settings.get(f"{what}_usd_month")
        costs = {name: _cost(props).get(f"{what}_usd_month", 0) for name, props in endpoints.items()}
        total = sum(costs.values())
        if limit is not None and total > limit:
            most = sorted(costs, key=lambda name: (-costs[name], name))[:3]
            names = ", ".join(f"{name} {costs[name]:.2f}" for name in most)
            yield (
                f"cost.{what}_usd_month is {total:.2f} over {len(costs)} endpoints (most: {names}), "
                f"above the budget of {limit:g} $ a month"
            )


def _private(props: Data, settings: Data) -> Iterator[str]:
    if _declared(props).get("visibility") == "public":
        yield "visibility is public, and anybody who knows the URL spends GPU time"


def _pinned(props: Data, settings: Data) -> Iterator[str]:
    declared = _declared(props)
    image = declared.get("image")
    if image and not declared.get("template") and "@sha256:" not in image:
        yield f"image is {image}, a tag that can move under a running endpoint"


def _registries(props: Data, settings: Data) -> Iterator[str]:
    approved, declared = settings.get("approved") or [], _declared(props)
    registry = declared.get("registry")
    image = declared.get("image") or ""
    if declared.get("template"):
        return  # comes from the registry that the platform was set up with
    if approved and registry and not any(_under(prefix, registry, image) for prefix in approved):
        yield f"image is {image or registry}, from none of {', '.join(approved)}"


def _under(prefix: str, registry: str, image: str) -> bool:
    """`ghcr.io` approves a registry, `ghcr.io/acme` a part of it."""
    full = image if image.startswith(f"{registry}/") else f"{registry}/{image}"
    return registry == prefix or full.startswith(f"{prefix.rstrip('/')}/")


def _spot(props: Data, settings: Data) -> Iterator[str]:
    hardware, scaling = _declared(props).get("hardware") or {}, _declared(props).get("scaling") or {}
    if not hardware.get("spot"):
        return
    longest = scaling.get("max_request_s", 0)
    if longest > SPOT_NOTICE_S:
        yield (
            f"hardware.spot is True beside scaling.max_request_s={longest:g}, and a reclaimed machine gives "
            f"{SPOT_NOTICE_S} s"
        )
    machines = hardware.get("instance_types") or []
    if len(machines) < settings.get("min_instance_types", 2):
        yield (
            f"hardware.instance_types is {', '.join(machines) or 'empty'} on spot, and one kind of machine is what "
            "runs out"
        )


def _gpu_quota(endpoints: Mapping[str, Data], settings: Data) -> Iterator[str]:
    limit = settings.get("max_gpus")
    wanted = {name: _gpus(props) for name, props in endpoints.items()}
    total = sum(wanted.values())
    if limit is not None and total > limit:
        most = sorted(wanted, key=lambda name: (-wanted[name], name))[:3]
        names = ", ".join(f"{name} {wanted[name]:g}" for name in most)
        yield f"scaling.max_replicas asks for {total:g} GPUs over all endpoints (most: {names}), above {limit:g}"


def _gpus(props: Data) -> float:
    declared = _declared(props)
    if declared.get("state") == "paused":
        return 0
    hardware, scaling = declared.get("hardware") or {}, declared.get("scaling") or {}
    return float(hardware.get("gpus", 0)) * float(scaling.get("max_replicas", 0))


# --- Kubernetes workloads -------------------------------------------------------------------------------------
def pod_of(props: Data) -> Data:
    """The pod spec inside any workload; empty where there is none."""
    spec = props.get("spec") or {}
    if "jobTemplate" in spec:
        spec = (spec["jobTemplate"] or {}).get("spec") or {}
    found: Data = (spec.get("template") or {}).get("spec") or ({} if "template" in spec else spec)
    return found


def _containers(props: Data) -> Iterator[tuple[str, Data]]:
    pod = pod_of(props)
    for kind in ("initContainers", "containers"):
        for index, container in enumerate(pod.get(kind) or ()):
            yield f"{kind}[{index}]", container


def _plain_secret(props: Data, settings: Data) -> Iterator[str]:
    for where, container in _containers(props):
        for variable in container.get("env") or ():
            name, value = variable.get("name", ""), variable.get("value")
            if isinstance(value, str) and looks_secret(name, value):
                yield f"{where}.env.{name} is (hidden), what looks like a secret in plain text"
        for part in ("command", "args"):
            if any(isinstance(word, str) and holds_secret(word) for word in container.get(part) or ()):
                yield f"{where}.{part} is (hidden), what looks like a secret in plain text"
    for key, value in (props.get("data") or {}).items():
        if isinstance(value, str) and looks_secret(key, value):
            yield f"data.{key} is (hidden), what looks like a secret in plain text"


def _host_access(props: Data, settings: Data) -> Iterator[str]:
    pod = pod_of(props)
    for switch in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(switch):
            yield f"{switch} is True, which opens the node to the pod"
    allowed: Sequence[str] = (CACHE_DIR, *(settings.get("allowed_paths") or ()))
    for index, volume in enumerate(pod.get("volumes") or ()):
        path = (volume.get("hostPath") or {}).get("path")
        if path and not any(f"{normpath(path)}/".startswith(f"{prefix.rstrip('/')}/") for prefix in allowed):
            yield f"volumes[{index}].hostPath.path is {path}, a directory of the node"
    for where, container in _containers(props):
        if (container.get("securityContext") or {}).get("privileged"):
            yield f"{where}.securityContext.privileged is True, which is root on the node"


def _hardened(props: Data, settings: Data) -> Iterator[str]:
    pod = pod_of(props)
    for where, container in _containers(props):
        context = {**(pod.get("securityContext") or {}), **(container.get("securityContext") or {})}
        # Gives the node's cache directory to the model's user, with that one capability.
        owner = where.startswith("initContainers") and container.get("name") == "cache-owner"
        harmless = (
            {"CHOWN"} if owner else {"NET_BIND_SERVICE"}
        )  # the latter: Pod Security Standards, restricted
        added = {*((context.get("capabilities") or {}).get("add") or ())} - harmless
        if added:
            shown = ", ".join(sorted(added))
            yield f"{where}.securityContext.capabilities.add is {shown}, which takes back what was dropped"
        if owner:
            continue
        if context.get("allowPrivilegeEscalation") is not False:
            yield f"{where}.securityContext.allowPrivilegeEscalation is not False"
        if not context.get("runAsNonRoot"):
            yield f"{where}.securityContext.runAsNonRoot is not True"
        dropped = (context.get("capabilities") or {}).get("drop") or ()
        if "ALL" not in dropped:
            yield f"{where}.securityContext.capabilities.drop is without ALL"
        if not ((container.get("resources") or {}).get("limits") or {}).get("memory"):
            yield f"{where}.resources.limits.memory is missing, and one container can take the node's memory"


_USD: Final = {"type": "number", "minimum": 0}
_NAMES: Final = {"type": "array", "items": {"type": "string"}}

RULES: Final = (
    Rule(
        "budget-per-endpoint",
        "A GPU that is always on costs as much as a salary; a wrong max_replicas costs several.",
        "lower min_replicas or max_replicas, take smaller hardware, or have the budget raised",
        _endpoint_budget,
        settings={"floor_usd_month": _USD, "ceiling_usd_month": _USD, "priced_only": {"type": "boolean"}},
    ),
    Rule(
        "budget-of-the-stack",
        "Endpoints that are each within their budget can be above it together.",
        "lower max_replicas where it is not needed, pause what nobody calls, or have the budget raised",
        _stack_budget,
        stack=True,
        settings={"floor_usd_month": _USD, "ceiling_usd_month": _USD},
    ),
    Rule(
        "private-by-default",
        "A public endpoint spends GPU time for anybody, and what it leaks nobody can take back.",
        "remove visibility, declare tokens, or have the endpoint exempted with the reason",
        _private,
    ),
    Rule(
        "pinned-digests",
        "A tag that moves changes what runs without a diff, and a rollback goes nowhere.",
        "declare image@sha256:<digest>, which the feasibility gate prints",
        _pinned,
    ),
    Rule(
        "no-plain-text-secret",
        "What stands in env, arguments or a ConfigMap is readable in state, diffs, logs and cluster.",
        "keep it in AWS Secrets Manager and name it in secrets",
        _plain_secret,
        types=(*WORKLOADS, CONFIG_MAP),
    ),
    Rule(
        "gpu-quota",
        "Replicas beyond the quota never start: requests wait for a machine that cannot be had.",
        "lower max_replicas, or have the account's quota and this limit raised",
        _gpu_quota,
        stack=True,
        settings={"max_gpus": _USD},
    ),
    Rule(
        "approved-registries",
        "An image from anywhere runs beside your data with your network.",
        "mirror the image into an approved registry and declare it from there",
        _registries,
        settings={"approved": _NAMES},
    ),
    Rule(
        "spot-only-where-it-can-be-lost",
        "A reclaimed machine ends two minutes after its notice; what runs longer is run again from the start.",
        f"lower max_request_s to {SPOT_NOTICE_S} or less, offer several instance types, or take no spot",
        _spot,
        settings={"min_instance_types": {"type": "integer", "minimum": 1}},
    ),
    Rule(
        "no-host-access",
        "A container that reaches the node reaches every other endpoint on it.",
        "use emptyDir or cache instead, or have the path allowed",
        _host_access,
        types=WORKLOADS,
        settings={"allowed_paths": _NAMES},
    ),
    Rule(
        "hardened-containers",
        "Models run code and formats of strangers: what they cannot do, an exploit cannot do either.",
        "keep the component's defaults; for other workloads set the field",
        _hardened,
        types=WORKLOADS,
        advisory=True,
    ),
)


def rule(name: str) -> Rule:
    """A rule by its name. Raises KeyError with the names there are."""
    for found in RULES:
        if found.name == name:
            return found
    raise KeyError(f"{name} is not among {', '.join(known(RULES))}")


def known(rules: Iterable[Rule]) -> list[str]:
    """The rules' names."""
    return [found.name for found in rules]
