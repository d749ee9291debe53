"""Rules between an endpoint's fields. Each is skipped while a path that it reads is wrong by itself.

Rules over `env` read no path: a wrong variable is left out of what they see, the others are checked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from holdfast_contract import names
from holdfast_contract.document import Visibility
from holdfast_contract.secretlike import looks_secret
from holdfast_contract.tokens import parse_declared
from pulumi_holdfast.spec.code import problems_of
from pulumi_holdfast.spec.endpoint import EndpointSpec
from pulumi_holdfast.spec.hardware import HardwareSpec, hardware_table
from pulumi_holdfast.spec.problems import Problem, nearest, problem
from pulumi_holdfast.spec.secrets import SERVICES_PULL_SECRET, TEMPLATES_PULL_SECRET, pull_secret_name
from pulumi_holdfast.spec.validate import Rule

MAX_CONTRACT_BYTES: Final = 700 * 1024
"""A ConfigMap holds 1 MiB at most."""
CHILDREN: Final = frozenset(
    {"document", "deployment", "scaledobject", "pull", "secrets", "network", "disruption", "config-secrets"}
)
"""The children of an endpoint that `transforms` may name."""


def _pull_secret_of_its_own(spec: EndpointSpec) -> Iterator[Problem]:
    own = pull_secret_name(spec.name)
    if spec.registry_credentials is not None and own in (SERVICES_PULL_SECRET, TEMPLATES_PULL_SECRET):
        yield problem(
            "name",
            spec.name,
            f"whose pull secret {own} is the platform's own",
            "choose another name, or leave registry_credentials out",
        )


def _one_source(spec: EndpointSpec) -> Iterator[Problem]:
    given = {
        field: value
        for field, value in (("image", spec.image), ("code", spec.code and spec.code.path))
        if value is not None and not (field == "image" and spec.template_ref)
    }
    if spec.template is not None:
        given["template"] = spec.template
    if not given:
        yield Problem(
            "image", "missing", "and so are code and template", "declare exactly one of image, code, template"
        )
    elif len(given) > 1:
        first, *others = given
        yield problem(
            first,
            given[first],
            f"beside {' and '.join(others)}",
            "declare exactly one of image, code, template",
        )


def _code_is_servable(spec: EndpointSpec) -> Iterator[Problem]:
    if spec.code is not None and spec.image is None and spec.template is None:
        yield from problems_of(spec.code, spec.scaling.concurrency)


def _min_below_max(spec: EndpointSpec) -> Iterator[Problem]:
    low, high = spec.scaling.min_replicas, spec.scaling.max_replicas
    if low > high:
        yield problem(
            "scaling.min_replicas", low, f"above max_replicas={high}", "lower it or raise max_replicas"
        )


def _wakes_in_time(spec: EndpointSpec) -> Iterator[Problem]:
    budget, request = spec.scaling.startup_budget_s, spec.scaling.max_request_s
    if spec.scaling.min_replicas == 0 and budget >= request:
        yield problem(
            "scaling.startup_budget_s",
            budget,
            f"not below max_request_s={request}, so the waking request may pass its deadline first",
            "lower it, raise max_request_s, or keep a replica with min_replicas=1",
        )


def _contract_in_time(spec: EndpointSpec) -> Iterator[Problem]:
    total = sum(example.timeout_s for example in spec.contract)
    if total > spec.scaling.startup_budget_s:
        yield Problem(
            "contract",
            f"{total} s in all",
            f"above scaling.startup_budget_s={spec.scaling.startup_budget_s}, the time to get ready",
            "lower the examples' timeout_s or raise startup_budget_s",
        )


def _contract_examples(spec: EndpointSpec) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, example in enumerate(spec.contract):
        if example.body_json is not None and example.body_base64 is not None:
            yield problem(
                f"contract[{index}].body_base64",
                example.body_base64,
                "beside body_json",
                "declare one of them",
            )
        if example.name in seen:
            yield problem(
                f"contract[{index}].name", example.name, "used twice", "give each example its own name"
            )
        seen.add(example.name)


def _contract_size(spec: EndpointSpec) -> Iterator[Problem]:
    size = len(json.dumps([example.model_dump(mode="json") for example in spec.contract]))
    if size > MAX_CONTRACT_BYTES:
        yield Problem(
            "contract",
            f"{size} bytes",
            f"above the {MAX_CONTRACT_BYTES} that fit into the endpoint's document beside the rest",
            "use smaller example bodies",
        )


def _port_is_free(spec: EndpointSpec) -> Iterator[Problem]:
    if spec.port == names.WORKER_PORT:
        yield problem(
            "port", spec.port, "taken by the worker beside the model", "let the model listen on another port"
        )


def _tokens(spec: EndpointSpec) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, text in enumerate(spec.tokens):
        token = parse_declared(text)
        if token.id in seen:
            yield problem(
                f"tokens[{index}]", text, f"a second token with id {token.id}", "remove one of them"
            )
        seen.add(token.id)
    if spec.tokens and spec.visibility is Visibility.PUBLIC:
        yield problem(
            "visibility",
            "public",
            "which needs no tokens, yet some are declared",
            "remove tokens or make it private",
        )


def _no_plain_secret(spec: EndpointSpec) -> Iterator[Problem]:
    for name, value in spec.env.items():
        if looks_secret(name, value):
            yield problem(
                f"env.{name}",
                value,
                "what looks like a secret in plain text, readable in state, diffs and cluster",
                f'move it to secrets: {{"{name}": {{"secret": "<name in Secrets Manager>"}}}}',
            )


def _env_and_secrets(spec: EndpointSpec) -> Iterator[Problem]:
    for name in spec.secrets:
        if name in spec.env and spec.secrets[name].file is None:
            yield problem(f"secrets.{name}", name, "declared in env as well", "remove one of them")


def _secret_sources(spec: EndpointSpec) -> Iterator[Problem]:
    for name, secret in spec.secrets.items():
        if secret.secret is None and not secret.value:
            yield Problem(
                f"secrets.{name}.secret",
                "missing",
                "and no value is given",
                "name a secret of Secrets Manager",
            )
        if secret.value and (secret.secret or secret.key or secret.version):
            yield problem(
                f"secrets.{name}",
                name,
                "a value of the program and a secret of Secrets Manager",
                "give one of them",
            )


def _mounts(spec: EndpointSpec) -> Iterator[Problem]:
    taken = {"/tmp": "always writable", "/dev/shm": "sized by hardware.shm_mib"}
    mounts = [(f"secrets.{name}.file", secret.file) for name, secret in spec.secrets.items() if secret.file]
    mounts += [(f"writable_paths[{index}]", path) for index, path in enumerate(spec.writable_paths)]
    if spec.cache:
        mounts.append(("cache.path", spec.cache.path))
    for where, path in mounts:
        if path == "/":
            yield Problem(where, '"/"', "the whole file system", "name a directory below it")
        elif path in taken:
            yield Problem(where, f'"{path}"', taken[path], "choose another path")
        taken[path] = f"also {where}"


def _hardware_fits(spec: EndpointSpec) -> Iterator[Problem]:
    hardware, known = spec.hardware, hardware_table().instances
    for index, name in enumerate(hardware.instance_types):
        machine = known.get(name)
        if machine is None:
            continue  # not in the table: no price and no check, which the cost says
        where = f"hardware.instance_types[{index}]"
        if machine.gpus < hardware.gpus:
            yield problem(
                where,
                name,
                f"a machine with {machine.gpus} GPUs, fewer than gpus={hardware.gpus}",
                "take a larger one",
            )
        if machine.vcpus < hardware.cpu:
            yield problem(
                where,
                name,
                f"a machine with {machine.vcpus} vCPUs, fewer than cpu={hardware.cpu:g}",
                "lower cpu",
            )
        if machine.memory_gib * 1024 <= hardware.memory_mib:
            yield problem(
                where,
                name,
                f"a machine with {machine.memory_gib} GiB, not more than memory_mib={hardware.memory_mib}",
                "lower memory_mib: the system needs some itself",
            )


def _shm_fits(spec: EndpointSpec) -> Iterator[Problem]:
    hardware: HardwareSpec = spec.hardware
    if hardware.shm_mib >= hardware.memory_mib:
        yield problem(
            "hardware.shm_mib",
            hardware.shm_mib,
            f"not below memory_mib={hardware.memory_mib}, which it counts towards",
            "lower it or raise memory_mib",
        )


def _queue_fits_concurrency(spec: EndpointSpec) -> Iterator[Problem]:
    slots = spec.scaling.max_replicas * spec.scaling.concurrency
    if slots > 10_000:
        yield problem(
            "scaling.concurrency",
            spec.scaling.concurrency,
            f"{slots} at once with max_replicas={spec.scaling.max_replicas}, above a queue's 10000",
            "lower one of them, or declare several endpoints",
        )


def _children_known(spec: EndpointSpec) -> Iterator[Problem]:
    for child in spec.transforms:
        if child not in CHILDREN:
            yield problem(
                f"transforms.{child}", child, "not a child of an endpoint", nearest(child, CHILDREN)
            )


RULES: Final[tuple[Rule[EndpointSpec], ...]] = (
    Rule(("name", "registry_credentials"), _pull_secret_of_its_own),
    Rule(("image", "code", "template"), _one_source),
    Rule(("image", "code", "template"), _code_is_servable),
    Rule(("scaling.min_replicas", "scaling.max_replicas"), _min_below_max),
    Rule(("scaling.startup_budget_s", "scaling.max_request_s", "scaling.min_replicas"), _wakes_in_time),
    Rule(("scaling.max_replicas", "scaling.concurrency"), _queue_fits_concurrency),
    Rule(("port",), _port_is_free),
    Rule(("hardware",), _hardware_fits),
    Rule(("hardware",), _shm_fits),
    Rule((), _no_plain_secret),
    Rule((), _env_and_secrets),
    Rule(("secrets",), _secret_sources),
    Rule(("secrets", "writable_paths", "cache"), _mounts),
    Rule(("tokens", "visibility"), _tokens),
    Rule(("contract",), _contract_examples),
    Rule(("contract", "scaling.startup_budget_s"), _contract_in_time),
    Rule(("contract",), _contract_size),
    Rule(("transforms",), _children_known),
)
