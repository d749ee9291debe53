"""How an answer is shown: to a file, a terminal, a pipe, or as one JSON object."""

from __future__ import annotations

import base64
import json
import mimetypes
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from holdfast_cli.output import note, print_json

if TYPE_CHECKING:
    from holdfast_client import Answer, Timings


def show(answer: Answer, *, output: Path | None, as_json: bool) -> None:
    """Print or save an answer. On a terminal JSON is indented, and what is not text goes to a new file."""
    if as_json:
        print_json(described(answer))
    elif output is not None and str(output) != "-":
        answer.save(output)
        note(f"saved to {output} ({len(answer.content):,} bytes)")
    elif not sys.stdout.isatty() or str(output) == "-":
        sys.stdout.buffer.write(answer.content)
        sys.stdout.buffer.flush()
    elif is_text(answer):
        click.echo(_readable(answer))
    else:
        _save_aside(answer)


def is_text(answer: Answer) -> bool:
    """Whether a terminal can show it."""
    media_type = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type.startswith("text/") or "json" in media_type or media_type in ("", "application/xml")


def described(answer: Answer) -> dict[str, Any]:
    """The whole answer as JSON: `body` for JSON, `text` for text, `base64` for the rest."""
    found: dict[str, Any] = {
        "status": answer.status_code,
        "request_id": answer.request_id,
        "content_type": answer.headers.get("content-type"),
        "timings": timings_of(answer.timings),
    }
    try:
        if "json" in (found["content_type"] or ""):
            return {**found, "body": answer.json()}
    except ValueError:
        pass
    if is_text(answer):
        return {**found, "text": answer.text}
    return {**found, "base64": base64.b64encode(answer.content).decode()}


def timings_of(timings: Timings) -> dict[str, Any]:
    """The timings as plain data, seconds."""
    return {
        "queue_s": timings.queue_s,
        "model_s": timings.model_s,
        "total_s": round(timings.total_s, 4),
        "attempt": timings.attempt,
        "replica": timings.replica,
    }


def show_timings(timings: Timings, request_id: str | None) -> None:
    """Where the time went, on standard error."""

    def seconds(value: float | None) -> str:
        return "-" if value is None else f"{value:.3f} s"

    note(f"held     {seconds(timings.queue_s)}  until a replica took it (a cold start is in it)")
    note(f"model    {seconds(timings.model_s)}  until the first byte of its answer")
    note(f"total    {seconds(timings.total_s)}  as seen from here")
    note(f"replica  {timings.replica or '-'}, attempt {timings.attempt or '-'}")
    note(f"request  {request_id or '-'}")


def _readable(answer: Answer) -> str:
    try:
        if "json" in answer.headers.get("content-type", ""):
            return json.dumps(answer.json(), indent=1, ensure_ascii=False)
    except ValueError:
        pass
    return answer.text


def _save_aside(answer: Answer) -> None:
    """A terminal cannot show it, and to ask again would cost another run: keep it in a file of its own."""
    medium = answer.media()
    suffix = mimetypes.guess_extension(medium.content_type) or ".bin"
    path = Path(f"answer-{(answer.request_id or 'x')[-8:]}{suffix}")
    number = 1
    while path.exists():
        number += 1
        path = Path(f"answer-{(answer.request_id or 'x')[-8:]}-{number}{suffix}")
    answer.save(path)
    note(f"{medium.content_type}, {len(medium):,} bytes: saved to {path} (--output FILE chooses the name)")
