"""What calls take and give: plain, frozen data."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from pathlib import Path
from typing import Any, Final, TypeAlias

from holdfast_client import _protocol as protocol
from holdfast_client._media import Media, Source, from_answer

Json: TypeAlias = "bool | int | float | str | Media | Sequence[Json] | Mapping[str, Json] | None"
"""What can be sent as JSON; media become `data:` URIs."""
Input: TypeAlias = "Json | bytes"
"""A request's body: JSON data, one medium, or bytes sent as they are."""
Files: TypeAlias = Mapping[str, "Media | Source"]
"""Parts of a multipart form by field name."""


class Default(Enum):
    """Says that an argument was not given."""

    TOKEN = 0

    def __repr__(self) -> str:
        return "DEFAULT"


DEFAULT: Final = Default.TOKEN
DEFAULT_TIMEOUT_S: Final = 600.0
"""As OpenAI's client. Longer than a cold start, shorter than the longest request an endpoint allows (900 s)."""
DEFAULT_MAX_RETRIES: Final = 2


class Phase(StrEnum):
    """What a call is doing."""

    SENDING = "sending"
    """An attempt begins."""
    RETRYING = "retrying"
    """An attempt failed in a way that passes; `detail` says how, `delay_s` when the next begins."""
    RECEIVING = "receiving"
    """Part of the answer is here."""
    QUEUED = "queued"
    """A submitted request waits for a replica."""
    RUNNING = "running"
    """A replica works on a submitted request."""
    DONE = "done"
    """The answer is here."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What is told to a progress callback."""

    phase: Phase
    elapsed_s: float
    """Seconds since the call began."""
    attempt: int = 1
    """Which sending this is; 1 for the first."""
    detail: str = ""
    delay_s: float = 0.0
    received_bytes: int = 0
    total_bytes: int | None = None
    """Size of the answer; None where it is not known beforehand."""
    queue_position: int | None = None
    """How many submitted requests are before this one; None where it is not known."""


OnProgress: TypeAlias = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Timings:
    """Where the time of an answer went, as gateway and worker measured it; None where they did not say."""

    queue_s: float | None
    """From acceptance until a replica took it; holds the cold start, if there was one."""
    model_s: float | None
    """From the replica taking it until the first byte of the answer."""
    total_s: float
    """From the call to the end of the answer, retries included, measured here."""
    attempt: int | None
    """Which delivery to a replica answered; 1 for the first."""
    replica: str | None
    """The pod that answered."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer of an endpoint.

    >>> answer = Answer(200, {"content-type": "application/json"}, b'{"text": "hi"}')
    >>> answer.json()["text"]
    'hi'
    """

    status_code: int
    headers: Mapping[str, str] = field(repr=False)
    """Names in lower case; of a repeated header the values joined by `, `."""
    content: bytes = field(repr=False)
    elapsed_s: float = 0.0

    @property
    def text(self) -> str:
        """The body as text, in the declared character set or UTF-8."""
        _, _, charset = self.headers.get("content-type", "").partition("charset=")
        try:
            return self.content.decode(charset.strip("\"' ;") or "utf-8", errors="replace")
        except LookupError:
            return self.content.decode(errors="replace")

    def json(self) -> Any:
        """The body as parsed JSON. Raises ValueError where it is none."""
        return json.loads(self.content)

    def media(self) -> Media:
        """The body as a picture, sound, film or file, by its content type."""
        return from_answer(self.content, self.headers)

    def save(self, path: str | Path) -> Path:
        """Write the body to a file; returns its path."""
        target = Path(path)
        target.write_bytes(self.content)
        return target

    @property
    def request_id(self) -> str | None:
        """The gateway's name for the request."""
        return self.headers.get(protocol.HEADER_REQUEST_ID)

    @property
    def timings(self) -> Timings:
        """Where the time went."""
        return read_timings(self.headers, self.elapsed_s)


def read_timings(headers: Mapping[str, str], total_s: float) -> Timings:
    """The timings in an answer's headers."""
    attempt = _number(headers.get(protocol.HEADER_ATTEMPT))
    return Timings(
        queue_s=_number(headers.get(protocol.HEADER_QUEUE_SECONDS)),
        model_s=_number(headers.get(protocol.HEADER_MODEL_SECONDS)),
        total_s=total_s,
        attempt=None if attempt is None else int(attempt),
        replica=headers.get(protocol.HEADER_REPLICA),
    )


class JobState(StrEnum):
    """Where a submitted request stands; the last four are final."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    EXPIRED = "EXPIRED"
    CANCELED = "CANCELED"

    @property
    def final(self) -> bool:
        """Whether it changes no more."""
        return self not in (JobState.QUEUED, JobState.RUNNING)


@dataclass(frozen=True, slots=True)
class JobStatus:
    """A submitted request at one moment. Times are Unix seconds, None where they have not come."""

    id: str
    state: JobState
    endpoint: str | None = None
    queue_position: int | None = None
    created_at: float | None = None
    started_at: float | None = None
    completed_at: float | None = None
    attempt: int = 0
    replica: str | None = None
    error: str | None = None
    """Why it ended without a result."""
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The gateway's answer as it came."""

    @classmethod
    def parse(cls, found: Mapping[str, Any]) -> JobStatus:
        """Read the gateway's answer. Raises ValueError where it is not one."""
        try:
            state = JobState(str(found["status"]).upper())
            return cls(
                id=str(found["id"]),
                state=state,
                endpoint=found.get("endpoint"),
                queue_position=found.get("queue_position"),
                created_at=_time(found.get("created_at")),
                started_at=_time(found.get("started_at")),
                completed_at=_time(found.get("completed_at")),
                attempt=int(found.get("attempt") or 0),
                replica=found.get("replica"),
                error=found.get("error"),
                raw=found,
            )
        except KeyError as error:
            raise ValueError(f"the gateway's answer about a request lacks {error}") from error


@dataclass(frozen=True, slots=True)
class Replicas:
    """How many replicas there are; None where the gateway cannot know."""

    desired: int | None = None
    """What the autoscaler wants now."""
    pending: int | None = None
    """Started, not ready yet."""
    ready: int | None = None
    busy: int | None = None

    def __str__(self) -> str:
        if self.ready is None:
            return "-"
        return f"{self.ready}" if not self.pending else f"{self.ready} (+{self.pending})"


@dataclass(frozen=True, slots=True)
class ColdStartPhase:
    """One phase of a start from 0 replicas: the estimate beside the last real one."""

    phase: str
    """`node`, `pull`, or `load and ready`."""
    low_s: float | None = None
    """Estimated seconds at its fastest; of what is known in part, that part. None: not known."""
    high_s: float | None = None
    """Estimated seconds at its slowest. None: not known, or only in part."""
    last_s: float | None = None
    """Seconds that the last real one took. None: not seen."""
    verdict: str | None = None
    """The real one against its estimate: `faster`, `within` or `slower`. None: one of both is missing, or nothing known
    contradicts it."""
    why: str = ""
    """Where the figures come from, or what is missing for them."""

    @classmethod
    def parse(cls, found: Mapping[str, Any]) -> ColdStartPhase:
        """Read one entry of the gateway's `cold_start_phases`."""
        seconds = {name: found.get(name) for name in ("low_s", "high_s", "last_s")}
        verdict = found.get("verdict")
        return cls(str(found.get("phase") or ""), **seconds, verdict=verdict, why=str(found.get("why") or ""))


@dataclass(frozen=True, slots=True)
class EndpointInfo:
    """An endpoint as the gateway describes it."""

    name: str
    url: str = ""
    visibility: str = ""
    """`private` or `public`."""
    state: str = ""
    """`active` or `paused`."""
    replicas: Replicas = Replicas()
    min_replicas: int | None = None
    max_replicas: int | None = None
    waiting: int | None = None
    """Requests without a replica yet."""
    running: int | None = None
    last_request_at: float | None = None
    """Unix seconds; None: none yet."""
    description: str = ""
    template: str | None = None
    failure: str | None = None
    """Why no replica can start, and what to do; None: nothing is wrong."""
    last_cold_start: Mapping[str, float | None] | None = None
    """Seconds from acceptance to the end of each phase of the newest start from 0 replicas."""
    cold_start_phases: tuple[ColdStartPhase, ...] = ()
    """The estimate of each phase beside the newest real one, in their order. Empty: neither is known, or the gateway is
    older than this."""
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, found: Mapping[str, Any]) -> EndpointInfo:
        """Read the gateway's answer. Raises ValueError where it names no endpoint."""
        if not isinstance(found, Mapping) or not found.get("name"):
            raise ValueError("the gateway's answer about an endpoint lacks its name")
        scaling = found.get("scaling") if isinstance(found.get("scaling"), Mapping) else {}
        merged: dict[str, Any] = {**(scaling or {}), **found}
        template = found.get("template")
        return cls(
            name=str(found["name"]),
            url=str(merged.get("url") or ""),
            visibility=str(merged.get("visibility") or ""),
            state=str(merged.get("state") or ""),
            replicas=_replicas(merged.get("replicas")),
            min_replicas=merged.get("min_replicas"),
            max_replicas=merged.get("max_replicas"),
            waiting=merged.get("waiting"),
            running=merged.get("running"),
            last_request_at=_time(merged.get("last_request_at")),
            description=str(merged.get("description") or ""),
            template=template.get("name") if isinstance(template, Mapping) else template,
            failure=merged.get("failure"),
            last_cold_start=merged.get("last_cold_start"),
            cold_start_phases=tuple(map(ColdStartPhase.parse, merged.get("cold_start_phases") or ())),
            raw=found,
        )


@dataclass(frozen=True, slots=True)
class TemplateInfo:
    """A template of the catalogue as the gateway describes it."""

    name: str
    version: str = ""
    description: str = ""
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, found: Mapping[str, Any]) -> TemplateInfo:
        """Read the gateway's answer. Raises ValueError where it names no template."""
        if not isinstance(found, Mapping) or not found.get("name"):
            raise ValueError("the gateway's answer about a template lacks its name")
        text = found.get("description") or found.get("title") or ""
        return cls(str(found["name"]), str(found.get("version") or ""), str(text), found)


def _replicas(found: Any) -> Replicas:
    known = found if isinstance(found, Mapping) else {"ready": found}
    return Replicas(*(known.get(name) for name in ("desired", "pending", "ready", "busy")))


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _time(value: Any) -> float | None:
    """Unix seconds from a number or an RFC 3339 text."""
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    from datetime import datetime

    try:
        return datetime.fromisoformat(str(value).replace("Z", "+00:00")).timestamp()
    except ValueError:
        return None
