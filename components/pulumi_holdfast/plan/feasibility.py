"""Whether what is declared can be had: the image, the secrets, the machines, the quota. Decided from answers.

Pure: a spec gives questions, answers (asked just now or recorded) give findings. What nobody could answer is
*skipped* and says so; it never counts as fine.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

from pydantic import Field, ValidationError

from pulumi_holdfast.plan.cost import replicas_per_instance
from pulumi_holdfast.spec.endpoint import EndpointSpec, registry_of
from pulumi_holdfast.spec.hardware import HardwareTable
from pulumi_holdfast.spec.model import Spec
from pulumi_holdfast.spec.problems import Problem, problem


class AnswersError(ValueError):
    """Recorded answers cannot be read. The text names the place, the value, the rule and the remedy."""


class Failure(StrEnum):
    """Why a question has no good answer."""

    NOT_FOUND = "not-found"
    DENIED = "denied"
    """Asked with the declared credentials, or without any where none are declared."""
    MALFORMED = "malformed"
    """There, but in a shape that nothing here can read."""
    UNKNOWN = "unknown"
    """Nobody could be asked: offline, no permission, an error of the service."""


class ImageAnswer(Spec):
    """What the registry says of an image."""

    digest: str | None = None
    bytes: int | None = None
    """Compressed layers for linux/amd64; what a node pulls. None: not told."""
    failure: Failure | None = None
    detail: str = ""


class SecretAnswer(Spec):
    """What Secrets Manager says of a secret: names of keys, never a value."""

    keys: tuple[str, ...] | None = None
    """Keys of a JSON object; None: the value is a plain text."""
    registries: tuple[str, ...] = ()
    """Registries of a docker configuration."""
    failure: Failure | None = None
    detail: str = ""


class ZonesAnswer(Spec):
    """Where an instance type is offered."""

    zones: tuple[str, ...] = ()
    failure: Failure | None = None
    detail: str = ""


class QuotaAnswer(Spec):
    """How many vCPUs of one family the account may run in the region."""

    vcpus: float | None = None
    failure: Failure | None = None
    detail: str = ""


class Answers(Spec):
    """All answers there are, by what was asked."""

    recorded: str
    """When, as an ISO date and time in UTC."""
    region: str = ""
    images: Mapping[str, ImageAnswer] = Field(default_factory=dict)
    secrets: Mapping[str, SecretAnswer] = Field(default_factory=dict)
    zones: Mapping[str, ZonesAnswer] = Field(default_factory=dict)
    quotas: Mapping[str, QuotaAnswer] = Field(default_factory=dict)
    """By quota code."""

    def to_json(self) -> str:
        """As a file; what is not said is left out."""
        return json.dumps(self.model_dump(mode="json", exclude_none=True), indent=1, sort_keys=True) + "\n"


class Status(StrEnum):
    """How a check went."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


class Finding(Spec):
    """The result of one check."""

    status: Status
    text: str
    """`path is value, rule: remedy` of a failure; what is so, or what could not be asked and why, of the others."""


class Questions(Spec):
    """What an endpoint needs to know."""

    image: str | None = None
    """None: known at deployment only."""
    credentials: str | None = None
    """Secret that the image's registry is asked with; None: anonymously, or ECR with one's own AWS identity."""
    secrets: tuple[str, ...] = ()
    instance_types: tuple[str, ...] = ()
    quotas: tuple[str, ...] = ()


ON_DEMAND: Final[Mapping[str, str]] = {"g": "L-DB2E81BA", "vt": "L-DB2E81BA", "p": "L-417A185B"}
SPOT: Final[Mapping[str, str]] = {"g": "L-3819A6DF", "vt": "L-3819A6DF", "p": "L-7212CCBC"}
STANDARD: Final = ("L-1216C47A", "L-34B43A08")
"""Service Quotas' codes of EC2's vCPU limits by family; STANDARD: on demand, spot. p5 and newer on spot have other
codes, which are not asked."""
QUOTA_NAMES: Final[Mapping[str, str]] = {
    "L-DB2E81BA": "running on-demand G and VT instances",
    "L-417A185B": "running on-demand P instances",
    "L-3819A6DF": "G and VT spot requests",
    "L-7212CCBC": "P2, P3 and P4 spot requests",
    "L-1216C47A": "running on-demand standard instances",
    "L-34B43A08": "standard spot requests",
}


def quota_of(instance_type: str, *, spot: bool) -> str | None:
    """The code of the quota that an instance type counts against; None: not known here."""
    family = re.match(r"([a-z]+)(\d*)", instance_type)
    if family is None:
        return None
    letters, generation = family[1], int(family[2] or 0)
    if letters == "p" and spot and generation >= 5:
        return None
    if letters in ON_DEMAND:
        return (SPOT if spot else ON_DEMAND)[letters]
    return (
        STANDARD[spot] if letters[0] in "acdhimrtz" and letters not in ("inf", "trn", "dl", "hpc") else None
    )


def questions(spec: EndpointSpec, image: str | None, template_credentials: str | None = None) -> Questions:
    """What to ask for an endpoint. `image`: as the cluster will pull it; `template_credentials`: the platform's secret
    for images of templates."""
    own = spec.registry_credentials.secret if spec.registry_credentials else None
    credentials = own or (template_credentials if spec.template_ref else None)
    named = {secret.secret for secret in spec.secrets.values() if secret.secret}
    wanted = sorted({*named, *([credentials] if credentials else [])})
    codes = {quota_of(name, spot=spec.hardware.spot) for name in spec.hardware.instance_types}
    return Questions(
        image=image,
        credentials=credentials,
        secrets=tuple(wanted),
        instance_types=spec.hardware.instance_types,
        quotas=tuple(sorted(code for code in codes if code)),
    )


def findings(
    spec: EndpointSpec, asked: Questions, answers: Answers, zones: Sequence[str] = ()
) -> tuple[Finding, ...]:
    """Every check of one endpoint by itself. `zones`: where its machines may be; empty: anywhere in the region."""
    return (
        _image(spec, asked, answers),
        *_credentials(spec, asked, answers),
        *_secrets(spec, asked, answers),
        *_machines(spec, asked, answers, zones),
    )


def vcpus_wanted(spec: EndpointSpec, table: HardwareTable) -> tuple[str, float] | None:
    """(quota code, vCPUs at max_replicas) of the preferred machine; None where it is not known."""
    for name in spec.hardware.instance_types:
        machine, code = table.instances.get(name), quota_of(name, spot=spec.hardware.spot)
        packed = replicas_per_instance(spec.hardware, machine) if machine else 0
        if machine and code and packed:
            high = 0 if spec.state.value == "paused" else spec.scaling.max_replicas
            return code, float(-(-high // packed) * machine.vcpus)
    return None


def quota_finding(name: str, code: str, total: float, count: int, answers: Answers) -> Finding:
    """Whether the quota covers everything that counts against it, `name` being the last that was added."""
    answer = answers.quotas.get(code)
    what = QUOTA_NAMES[code]
    if answer is None or answer.vcpus is None:
        return _skipped(f"quota of {what}", answer)
    if total > answer.vcpus:
        return _failed(
            Problem(
                "scaling.max_replicas",
                f"what brings {count} endpoints to {total:g} vCPUs of {what}",
                f"above the account's quota of {answer.vcpus:g} in {answers.region or 'the region'}",
                f"lower max_replicas of {name} or another, or ask for a higher {code} in Service Quotas",
            )
        )
    return _ok(f"quota of {what}: {total:g} of {answer.vcpus:g} vCPUs")


def parse_answers(text: str, source: str) -> Answers:
    """Recorded answers. Raises AnswersError naming the file, the place, the rule and the remedy."""
    remedy = "record them anew with holdfast:feasibilityRecord"
    try:
        return Answers.model_validate(json.loads(text))
    except json.JSONDecodeError as error:
        raise AnswersError(f"{source} line {error.lineno} is not JSON: {remedy}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise AnswersError(
            f"{source}: {where or 'the file'} is not as recorded, {first['msg']}: {remedy}"
        ) from None


def merged(one: Answers, other: Answers) -> Answers:
    """Both; the other's where both answer."""
    return Answers(
        recorded=max(one.recorded, other.recorded),
        region=other.region or one.region,
        images={**one.images, **other.images},
        secrets={**one.secrets, **other.secrets},
        zones={**one.zones, **other.zones},
        quotas={**one.quotas, **other.quotas},
    )


# --- single checks ----------------------------------------------------------------------------------------------
def _image(spec: EndpointSpec, asked: Questions, answers: Answers) -> Finding:
    path = "template" if spec.template_ref else "image"
    if asked.image is None:
        return Finding(
            status=Status.SKIPPED, text="image: another resource gives it, so it is known at deployment"
        )
    answer = answers.images.get(asked.image)
    if answer is None or (answer.digest is None and answer.failure in (None, Failure.UNKNOWN)):
        return _skipped(f"image {asked.image}", answer)
    if answer.failure is Failure.NOT_FOUND:
        return _failed(
            problem(
                path, asked.image, "not in its registry", "push it first, or correct its name, tag or digest"
            )
        )
    if answer.failure is not None:
        return _failed(_denied(path, asked))
    size = f", {answer.bytes / 1e9:.2g} GB to pull" if answer.bytes else ""
    return _ok(f"image {asked.image} is {answer.digest}{size}")


def _denied(path: str, asked: Questions) -> Problem:
    registry = registry_of(asked.image or "")
    if asked.credentials:
        return Problem(
            "registry_credentials.secret",
            f'"{asked.credentials}"',
            f"refused by {registry} for {asked.image}",
            "correct the username and password in Secrets Manager, or give them access to the repository",
        )
    return problem(
        path,
        asked.image,
        f"private at {registry}, or not there, and no credentials are declared",
        'declare registry_credentials={"secret": "<name in Secrets Manager>"}, or correct its name',
    )


def _credentials(spec: EndpointSpec, asked: Questions, answers: Answers) -> list[Finding]:
    """Whether the secret with the registry's credentials has a shape that is understood."""
    if asked.credentials is None:
        return []
    answer = answers.secrets.get(asked.credentials)
    if answer is None or answer.failure is not None:
        return []  # told with the other secrets
    path, name = "registry_credentials.secret", asked.credentials
    if answer.registries:
        registry = registry_of(asked.image or "")
        known = {one.removeprefix("https://").partition("/")[0] for one in answer.registries}
        wanted = {"index.docker.io", "docker.io"} if registry == "docker.io" else {registry}
        if asked.image is None or known & wanted:
            return []
        rule = f"a docker configuration without {registry} (it has {', '.join(sorted(known))})"
        return [_failed(problem(path, name, rule, "add the image's registry to its auths"))]
    missing = {"username", "password"} - set(answer.keys or ())
    if not missing:
        return []
    shape = f"with the keys {', '.join(answer.keys)}" if answer.keys else "a plain text"
    rule = f"{shape}, not registry credentials"
    return [
        _failed(problem(path, name, rule, 'store {"username": …, "password": …} or a docker configuration'))
    ]


def _secrets(spec: EndpointSpec, asked: Questions, answers: Answers) -> list[Finding]:
    found: list[Finding] = []
    places = [
        (f"secrets.{variable}", secret.secret, secret.key)
        for variable, secret in sorted(spec.secrets.items())
        if secret.secret
    ]
    if asked.credentials:
        places.append(("registry_credentials", asked.credentials, None))
    for where, name, key in places:
        answer = answers.secrets.get(name)
        if answer is None or answer.failure is Failure.UNKNOWN:
            found.append(_skipped(f"{where}: secret {name}", answer))
        elif answer.failure is Failure.NOT_FOUND:
            rule = f"not in Secrets Manager in {answers.region or 'the region'}"
            remedy = f"create it: aws secretsmanager create-secret --name {name}"
            found.append(_failed(Problem(f"{where}.secret", f'"{name}"', rule, remedy)))
        elif answer.failure is not None:
            found.append(
                _failed(
                    Problem(f"{where}.secret", f'"{name}"', answer.detail or "unreadable", "store it anew")
                )
            )
        elif key is not None and key not in (answer.keys or ()):
            has = f"its keys are {', '.join(answer.keys)}" if answer.keys else "its value is a plain text"
            remedy = "correct the key" if answer.keys else "leave key out, or store a JSON object"
            found.append(_failed(Problem(f"{where}.key", f'"{key}"', f"not in secret {name}: {has}", remedy)))
        else:
            found.append(_ok(f"{where}: secret {name} is there"))
    return found


def _machines(spec: EndpointSpec, asked: Questions, answers: Answers, zones: Sequence[str]) -> list[Finding]:
    if not asked.instance_types:
        return []
    known = {name: answers.zones.get(name) for name in asked.instance_types}
    unasked = [name for name, answer in known.items() if answer is None or answer.failure is not None]
    if len(unasked) == len(known):
        return [_skipped(f"zones of {', '.join(unasked)}", known[unasked[0]])]
    usable: dict[str, list[str]] = {}
    for name, answer in known.items():
        if answer is not None and answer.failure is None:
            usable[name] = [zone for zone in answer.zones if not zones or zone in zones]
    where = ", ".join(zones) or answers.region or "the region"
    offered = {name: found for name, found in usable.items() if found}
    if not offered and not unasked:
        return [
            _failed(
                problem(
                    "hardware.instance_types",
                    ", ".join(usable),
                    f"offered in none of {where}",
                    "choose other machines or zones",
                )
            )
        ]
    found = [_ok(f"{name} is offered in {', '.join(places)}") for name, places in offered.items()]
    lost = sorted(set(usable) - set(offered))
    if lost:
        found.append(
            _failed(
                problem(
                    "hardware.instance_types",
                    ", ".join(lost),
                    f"offered in none of {where}, so only {', '.join(offered)} can be had",
                    "remove it or choose another beside it",
                )
            )
        )
    return found


def _ok(text: str) -> Finding:
    return Finding(status=Status.OK, text=text)


def _failed(found: Problem) -> Finding:
    return Finding(status=Status.FAILED, text=str(found))


def _skipped(what: str, answer: Any) -> Finding:
    why = answer.detail if answer is not None and answer.detail else "nobody was asked"
    return Finding(status=Status.SKIPPED, text=f"{what}: {why}")
