"""What a preview finds out before anything is made: feasibility, cold start, replay. Diagnostics of each endpoint.

All texts begin with `endpoint "<name>": refused|warning|not checked: `, by which the comment of a pull request
finds them. An update says nothing: what it does is no longer foresight.
"""

import asyncio
import threading
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import pulumi

from holdfast_contract.platform import PlatformContract
from pulumi_holdfast.plan import coldstart, feasibility
from pulumi_holdfast.plan.feasibility import Answers, AnswersError, Finding, Questions, Status
from pulumi_holdfast.plan.replay import Request, TraceError, parse_trace, replay
from pulumi_holdfast.plan.wiring import image_on, template_secret
from pulumi_holdfast.spec.endpoint import WIRED_IMAGE, EndpointSpec
from pulumi_holdfast.spec.hardware import hardware_table

_NOT_YET: Final = (
    "image, secrets, machines and quotas: "
    "the platform is not known before its shared stack's first `pulumi up`"
)


class Feasibility(StrEnum):
    """What a preview does about what cannot be had."""

    OFF = "off"
    """Nobody is asked."""
    WARN = "warn"
    """It is told."""
    ENFORCE = "enforce"
    """It fails the preview. What could not be asked is told and never fails it."""


class ForesightError(ValueError, pulumi.RunError):
    """What is declared cannot be had, or a file that a preview needs cannot be read."""


@dataclass(frozen=True)
class Foresight:
    """What previews look into. Files are named relative to the working directory."""

    feasibility: Feasibility = Feasibility.OFF
    answers: Path | None = None
    """Recorded answers; nobody is asked then."""
    record: Path | None = None
    """Where to keep the answers of this preview."""
    traces: Path | None = None
    """A folder with `<endpoint>.csv`: requests to replay under the declared scaling."""
    zones: tuple[str, ...] = ()
    """Where machines may be; empty: anywhere in the platform's region."""


class Looker:
    """Looks ahead for all endpoints of one platform: questions are asked once, vCPUs are added up."""

    def __init__(self, settings: Foresight, ask: Callable[[str, Questions], Answers] | None = None) -> None:
        """`ask`: (region, questions) to answers; AWS and registries by default."""
        self.settings = settings
        self._ask = ask or _Live()
        self._files = threading.Lock()
        """Held while recorded answers are read, or the recorder is made: endpoints are looked into in threads."""
        self._recorded: Answers | None = None
        self._vcpus: dict[str, float] = defaultdict(float)
        self._counted: dict[str, int] = defaultdict(int)
        self._recorder: Any = None
        self._open = 0
        """Endpoints that are being looked into."""
        self._all_told = asyncio.Event()
        self._refused: list[str] = []

    def look(
        self, spec: EndpointSpec, contract: pulumi.Output[PlatformContract], component: pulumi.Resource
    ) -> None:
        """Tell what can be known of an endpoint. Nothing outside previews."""
        if not pulumi.runtime.is_dry_run():
            return
        trace = self._trace(spec)
        if self.settings.feasibility is Feasibility.OFF:
            _starts(spec, trace, None, component)
            return
        counted = self._count(spec)
        self._open += 1

        def checked(known: PlatformContract) -> Awaitable[bool]:
            return self._checked(spec, known, counted, trace, component)

        done: pulumi.Output[bool] = contract.apply(checked, run_with_unknowns=True)
        del done  # Pulumi waits for every output of a program

    async def _checked(
        self,
        spec: EndpointSpec,
        contract: PlatformContract,
        counted: tuple[str, float, int] | None,
        trace: Sequence[Request] | None,
        component: pulumi.Resource,
    ) -> bool:
        try:
            refused = await self._looked(spec, contract, counted, trace, component)
            if refused and self.settings.feasibility is Feasibility.ENFORCE:
                self._refused.append(spec.name)
        finally:
            self._open -= 1
            if self._open == 0:
                self._all_told.set()
        if spec.name in self._refused:
            # An error that is only logged fails no preview, and one that is raised at once would be the only one.
            await self._all_told.wait()
            names = ", ".join(sorted(self._refused))
            raise ForesightError(
                f"{names} cannot be had as declared, see above: correct it, or set holdfast:feasibility to warn"
            )
        return True

    async def _looked(
        self,
        spec: EndpointSpec,
        contract: PlatformContract,
        counted: tuple[str, float, int] | None,
        trace: Sequence[Request] | None,
        component: pulumi.Resource,
    ) -> bool:
        if pulumi.contains_unknowns(contract):
            _tell(spec, "not checked", _NOT_YET, component, pulumi.log.info)
            _starts(spec, trace, None, component)
            refused = False
        else:
            image = None if spec.image in (None, WIRED_IMAGE) else image_on(contract, spec)
            asked = feasibility.questions(spec, image, template_secret(contract, spec))
            answers = await asyncio.to_thread(self._answers, contract.aws_region, asked)
            found = list(feasibility.findings(spec, asked, answers, self.settings.zones))
            if counted is not None:
                code, total, count = counted
                found.append(feasibility.quota_finding(spec.name, code, total, count, answers))
            known = answers.images.get(image) if image else None
            _starts(spec, trace, known.bytes if known else None, component)
            refused = self._report(spec, found, answers, component)
        # Messages of a resource wait for its URN in tasks that nobody else waits for.
        await component.urn.future()
        for _ in range(3):
            await asyncio.sleep(0)
        return refused

    def _count(self, spec: EndpointSpec) -> tuple[str, float, int] | None:
        """Adds the endpoint to what counts against its quota; the sum with it, in order of declaration."""
        wanted = feasibility.vcpus_wanted(spec, hardware_table())
        if wanted is None:
            return None
        code, vcpus = wanted
        self._vcpus[code] += vcpus
        self._counted[code] += 1
        return code, self._vcpus[code], self._counted[code]

    def _answers(self, region: str, asked: Questions) -> Answers:
        if self.settings.answers is not None:
            with self._files:
                self._recorded = self._recorded or _recorded(self.settings.answers)
                return self._recorded
        found = self._ask(region, asked)
        if self.settings.record is not None:
            from pulumi_holdfast.probe.ask import Recorder

            with self._files:
                self._recorder = self._recorder or Recorder(self.settings.record)
            self._recorder.add(found)
        return found

    def _report(
        self, spec: EndpointSpec, found: list[Finding], answers: Answers, component: pulumi.Resource
    ) -> bool:
        when = f" (as recorded {answers.recorded})" if self.settings.answers else ""
        failed = [one.text for one in found if one.status is Status.FAILED]
        for one in found:
            if one.status is Status.SKIPPED:
                _tell(spec, "not checked", f"{one.text}{when}", component, pulumi.log.info)
            elif one.status is Status.OK:
                # The digest is what one pins; the rest is for those who ask for debug output.
                log = pulumi.log.info if one.text.startswith("image ") else pulumi.log.debug
                _tell(spec, "checked", f"{one.text}{when}", component, log)
        enforced = self.settings.feasibility is Feasibility.ENFORCE
        for text in failed:
            log = pulumi.log.error if enforced else pulumi.log.warn
            _tell(spec, "refused", f"{text}{when}", component, log)
        return bool(failed)

    def _trace(self, spec: EndpointSpec) -> Sequence[Request] | None:
        if self.settings.traces is None:
            return None
        file = self.settings.traces / f"{spec.name}.csv"
        if not file.is_file():
            return None
        try:
            return parse_trace(_text(file, "holdfast:traces"))
        except TraceError as error:
            raise ForesightError(f"{file}: {error}") from None


class _Live:
    """Asks AWS and registries; boto3 is imported only then."""

    def __init__(self) -> None:
        self._probers: dict[str, Any] = {}
        self._lock = threading.Lock()

    def __call__(self, region: str, asked: Questions) -> Answers:
        from pulumi_holdfast.probe import Prober
        from pulumi_holdfast.probe.aws import Aws

        with self._lock:
            if region not in self._probers:
                self._probers[region] = Prober(Aws(region))
            prober = self._probers[region]
        answers: Answers = prober.answers(asked)
        return answers


def replayed(spec: EndpointSpec, trace: Sequence[Request], image_bytes: int | None = None) -> str:
    """One line: what the declared scaling would have done with a trace.

    Each new replica takes the least that its phases are estimated at; one without a figure counts nothing, or as
    `Startup` says. `image_bytes`: as the registry told; None: as declared.
    """
    startup = coldstart.estimate(spec, image_bytes=image_bytes).as_startup()
    scaling = spec.scaling
    done = replay(trace, scaling, startup=startup, gpus=spec.hardware.gpus, max_queue=scaling.max_queue)
    unit = "GPU hours" if spec.hardware.gpus else "replica hours"
    refused = f", {done.refused} refused (scaling.max_queue is {scaling.max_queue})" if done.refused else ""
    return (
        f"replay of {done.requests} requests: {done.cold_starts} cold starts, waiting p50 {done.waiting_p50_s:.1f} s, "
        f"p99 {done.waiting_p99_s:.1f} s, {done.gpu_hours:.2f} {unit} ({done.busy_gpu_hours:.2f} at work), "
        f"{done.peak_replicas} replicas at most{refused}"
    )


def _starts(
    spec: EndpointSpec,
    trace: Sequence[Request] | None,
    image_bytes: int | None,
    component: pulumi.Resource,
) -> None:
    """What follows from how long replicas take to start. `image_bytes`: as the registry told; None: it was not asked,
    or did not tell."""
    _cold_start(spec, image_bytes, component)
    if trace is not None:
        pulumi.log.info(f'endpoint "{spec.name}": {replayed(spec, trace, image_bytes)}', component)


def _cold_start(spec: EndpointSpec, image_bytes: int | None, component: pulumi.Resource) -> None:
    differs = coldstart.size_differs(spec, image_bytes) if image_bytes else None
    if differs:
        _tell(spec, "warning", differs, component, pulumi.log.warn)
    if spec.scaling.min_replicas > 0:
        return
    start = coldstart.estimate(spec, image_bytes=image_bytes)
    if start.low_s:
        pulumi.log.info(f'endpoint "{spec.name}": {start.text()}', component)
    wrong = coldstart.beyond_budget(spec, start)
    if wrong:
        _tell(spec, "warning", wrong, component, pulumi.log.warn)


def _tell(
    spec: EndpointSpec, what: str, text: str, component: pulumi.Resource, log: Callable[..., Any]
) -> None:
    log(f'endpoint "{spec.name}": {what}: {text}', component)


def _recorded(path: Path) -> Answers:
    try:
        return feasibility.parse_answers(_text(path, "holdfast:feasibilityAnswers"), str(path))
    except AnswersError as error:
        raise ForesightError(str(error)) from None


def _text(path: Path, setting: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ForesightError(
            f"{setting} is {path}, which cannot be read ({error.strerror}): correct it or remove it"
        ) from None
