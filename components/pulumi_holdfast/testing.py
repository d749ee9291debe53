"""Test kit for programs that use these components: what a program would create, without an engine.

    from pulumi_holdfast import testing

    def test_the_chat_endpoint_is_private() -> None:
        made = testing.record(lambda: endpoints.declare(testing.platform()))
        made.assert_no_secret("hunter2")
        assert made["chat-deployment"].inputs["spec"]["replicas"] == 0

`record` runs the program against a monitor that keeps every registration as it was sent: inputs with secrets
still wrapped, parent, dependencies, ignored paths. It takes a tenth of a second.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf.json_format import MessageToDict
from pulumi.runtime import mocks
from pulumi.runtime.settings import SETTINGS, set_root_resource
from pulumi.runtime.stack import run_in_stack

from holdfast_contract.platform import PLATFORM_KEY_OUTPUT, PLATFORM_OUTPUT, PlatformContract
from pulumi_holdfast.plan import identities
from pulumi_holdfast.platform import Platform

_SIGNATURE: Final = "4dabf18193072939515e22adb298388d"
_SECRET: Final = "1b47061264138c4ac30d75fd1eb44270"
_OUTPUT: Final = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
"""How Pulumi's wire format marks secrets and outputs."""
UNKNOWN: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""How Pulumi's wire format marks a value that is not known yet."""
PLATFORM_KEY: Final = identities.worker_key("the test kit's broker secret")
"""The `platform_key` of every platform of this kit."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that was sent as secret."""

    value: Any


@dataclass(frozen=True)
class Registered:
    """One resource as the program registered it."""

    type: str
    name: str
    inputs: Mapping[str, Any]
    """As sent; secrets as `Secret`."""
    parent: str
    """URN of the parent."""
    depends_on: tuple[str, ...]
    """URNs."""
    ignore_changes: tuple[str, ...]
    protect: bool
    create_timeout: str
    """As declared, such as `300s`; empty for the provider's own."""
    urn: str
    provider: str = ""
    """URN and id of the provider that it was given, joined by `::`; empty for the default one."""
    outputs: Mapping[str, Any] = field(default_factory=dict)
    """What a component registered at its end."""

    @property
    def plain(self) -> Any:
        """The inputs with secrets replaced by `[secret]`: what a reader of the diff sees."""
        return _without_secrets(self.inputs)


class Recording:
    """Everything that a program registered, in order."""

    def __init__(self, resources: Sequence[Registered], exports: Mapping[str, Any]) -> None:
        self.resources = tuple(resources)
        self.exports = exports
        """The stack's outputs; secrets as `Secret`."""

    def __iter__(self) -> Iterator[Registered]:
        return iter(self.resources)

    def __getitem__(self, name: str) -> Registered:
        """A resource by its name. Raises KeyError with the names there are."""
        for resource in self.resources:
            if resource.name == name:
                return resource
        raise KeyError(f"{name} is not among {', '.join(self.names)}")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all resources but the stack itself, in order of registration."""
        return tuple(resource.name for resource in self.resources if resource.type != "pulumi:pulumi:Stack")

    def assert_no_secret(self, *values: str) -> None:
        """Fails where one of these texts stands anywhere but inside a secret."""
        seen = [
            (resource.name, json.dumps([resource.plain, _without_secrets(resource.outputs)], default=str))
            for resource in self.resources
        ]
        seen.append(("the stack's outputs", json.dumps(_without_secrets(self.exports), default=str)))
        leaks = [where for where, text in seen for value in values if value in text]
        assert not leaks, f"a secret stands in plain text in {', '.join(leaks)}"

    def assert_order(self, *names: str) -> None:
        """Fails where one of these resources does not depend on, or come after, the one before it."""
        for earlier, later in itertools.pairwise(names):
            first, second = self[earlier], self[later]
            assert first.urn in second.depends_on, f"{later} does not depend on {earlier}"

    def assert_children_carry_the_name(self, component: str) -> None:
        """Fails where a child of a component does not start with the component's name."""
        urn = self[component].urn
        wrong = [
            child.name for child in self if child.parent == urn and not child.name.startswith(f"{component}-")
        ]
        assert not wrong, f"children of {component} without its name in front: {', '.join(wrong)}"


def platform(**fields: Any) -> Platform:
    """A platform for tests; `fields` as in PlatformContract."""
    return Platform.from_contract(platform_contract(**fields), key=PLATFORM_KEY)


def platform_contract(**fields: Any) -> PlatformContract:
    """A platform contract for tests."""
    defaults = {
        "base_url": "https://gpu.example",
        "nats_url": "nats://holdfast-nats.holdfast-system:4222",
        "scaler_address": "holdfast-scaler.holdfast-system:8090",
        "worker_image": "registry.example/holdfast/services:1",
    }
    return PlatformContract(**{**defaults, **fields})


def record(
    program: Callable[[], object],
    *,
    project: str = "holdfast",
    stack: str = "test",
    preview: bool = False,
    shared: PlatformContract | None = None,
) -> Recording:
    """Run a program and return what it registered.

    `preview`: as in `pulumi preview`, where outputs of resources to be made are unknown. `shared`: what a stack
    reference finds as `platform`. Raises whatever the program raises; what goes
    wrong inside an output arrives wrapped by Pulumi, with the original text in it.
    """
    recorder = _Recorder(_Outputs(shared))
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        mocks.set_mocks(recorder.mocks, project=project, stack=stack, preview=preview, monitor=recorder)
        # `set_mocks` makes a stack of its own, which has no outputs; the program gets one that has.
        set_root_resource(None)  # type: ignore[arg-type]
        recorder.forget()
        loop.run_until_complete(run_in_stack(lambda: _run(program)))
    finally:
        _end_rest(loop)
        loop.close()
        asyncio.set_event_loop(None)
    return recorder.recording()


def _end_rest(loop: asyncio.AbstractEventLoop) -> None:
    """End what a failed program left waiting, and collect it here: it would complain in the middle of a later
    test, and inside the compiler such a complaint is fatal (CPython 3.11: "AST constructor recursion depth
    mismatch")."""
    rest = asyncio.all_tasks(loop)
    for task in rest:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*rest, return_exceptions=True))
    failed = bool(rest)
    del rest
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        SETTINGS.rpc_manager.clear()
        SETTINGS.outputs.clear()
        if failed:
            gc.collect()


def _run(program: Callable[[], object]) -> None:
    """What a program returns is not awaited: it may be any object."""
    program()


class _Outputs(mocks.Mocks):
    """Resources come out as they went in, with the name that Kubernetes would have given them."""

    def __init__(self, shared: PlatformContract | None) -> None:
        self._shared = shared

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        state = dict(args.inputs)
        if args.typ == "pulumi:pulumi:StackReference":
            exported: dict[str, Any] = {}
            if self._shared:
                platform = self._shared.model_dump(mode="json")
                exported = {PLATFORM_OUTPUT: platform, PLATFORM_KEY_OUTPUT: PLATFORM_KEY}
            state |= {"outputs": exported, "secretOutputNames": [PLATFORM_KEY_OUTPUT]}
        elif args.typ.startswith("aws:"):
            state = _aws_state(args.typ, args.name, state)
        elif isinstance(state.get("metadata"), Mapping):
            state["metadata"] = {"name": f"{args.name}-1a2b3c", **state["metadata"]}
        return f"{args.name}-id", state

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], None]:
        return {}, None


def _aws_state(kind: str, name: str, inputs: dict[str, Any]) -> dict[str, Any]:
    """What AWS would have added, as far as the components use it."""
    given: dict[str, Any] = {"arn": f"arn:aws:test:us-east-1:123456789012:{name}", "name": name, **inputs}
    if kind == "aws:eks/cluster:Cluster":
        given["endpoint"] = "https://cluster.test"
        given["certificateAuthority"] = {"data": "dGVzdA=="}
        given["vpcConfig"] = {**given["vpcConfig"], "clusterSecurityGroupId": f"{name}-group"}
    elif kind == "aws:eks/nodeGroup:NodeGroup":
        given["resources"] = [{"autoscalingGroups": [{"name": f"eks-{name}"}]}]
    elif kind == "aws:ec2/launchTemplate:LaunchTemplate":
        given["latestVersion"] = 1
    elif kind == "aws:acm/certificate:Certificate":
        record = {"resourceRecordName": "_a.test", "resourceRecordType": "CNAME", "resourceRecordValue": "_b"}
        given["domainValidationOptions"] = [{"domainName": given["domainName"], **record}]
    return given


class _Recorder(mocks.MockMonitor):
    def __init__(self, outputs: _Outputs) -> None:
        super().__init__(outputs)
        self._requests: list[tuple[str, Any]] = []
        self._outputs: dict[str, Mapping[str, Any]] = {}

    def RegisterResource(self, request: Any) -> Any:
        answer = super().RegisterResource(request)  # type: ignore[no-untyped-call]
        self._requests.append((answer.urn, request))
        return answer

    def RegisterResourceOutputs(self, request: Any) -> Any:
        self._outputs[request.urn] = _decoded(MessageToDict(request.outputs))
        return super().RegisterResourceOutputs(request)  # type: ignore[no-untyped-call]

    def forget(self) -> None:
        """Drop what was registered so far."""
        self._requests.clear()
        self._outputs.clear()

    def recording(self) -> Recording:
        """What was registered so far."""
        exports = next(
            (found for urn, found in self._outputs.items() if "::pulumi:pulumi:Stack::" in urn), {}
        )
        return Recording([self._registered(urn, request) for urn, request in self._requests], exports)

    def _registered(self, urn: str, request: Any) -> Registered:
        return Registered(
            type=request.type,
            name=request.name,
            inputs=_decoded(MessageToDict(request.object)),
            parent=request.parent,
            depends_on=tuple(sorted(request.dependencies)),
            ignore_changes=tuple(request.ignoreChanges),
            protect=request.protect,
            create_timeout=request.customTimeouts.create,
            urn=urn,
            provider=request.provider,
            outputs=self._outputs.get(urn, {}),
        )


def _decoded(value: Any) -> Any:
    """Wire format to plain data, secrets wrapped; whole numbers as int."""
    if isinstance(value, Mapping):
        signature = value.get(_SIGNATURE)
        if signature == _SECRET:
            return Secret(_decoded(value.get("value")))
        if signature == _OUTPUT:
            inner = _decoded(value.get("value", UNKNOWN))
            return Secret(inner) if value.get("secret") else inner
        return {key: _decoded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_decoded(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _without_secrets(value: Any) -> Any:
    if isinstance(value, Secret):
        return "[secret]"
    if isinstance(value, Mapping):
        return {key: _without_secrets(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_secrets(inner) for inner in value]
    return value
