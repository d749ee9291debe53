"""Kubernetes's events of one endpoint, in the words of the public interface."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

__all__ = ["MAX_EVENTS", "told_events"]

MAX_EVENTS: Final = 100
_MAX_MESSAGE_CHARS: Final = 1000


def told_events(
    events: Iterable[Mapping[str, Any]], deployment: str, others: Iterable[str]
) -> list[dict[str, Any]]:
    """The newest of them, oldest first. `others`: all endpoints, for `ocr-big` is not `ocr`.

    Replicas that are gone have no labels to ask for any more, so it goes by names.
    """
    longer = [name for name in others if name.startswith(f"{deployment}-")]
    mine = re.compile(rf"(keda-hpa-)?{re.escape(deployment)}(-[a-z0-9.-]+)?")

    def belongs(event: Mapping[str, Any]) -> bool:
        name = str((event.get("involvedObject") or {}).get("name", ""))
        about = name.removeprefix("keda-hpa-")
        return bool(mine.fullmatch(name)) and not any(
            about == other or about.startswith(f"{other}-") for other in longer
        )

    found = sorted((_told(event) for event in events if belongs(event)), key=lambda told: str(told["at"]))
    return found[-MAX_EVENTS:]


def _told(event: Mapping[str, Any]) -> dict[str, Any]:
    about = event.get("involvedObject") or {}
    return {
        "at": event.get("lastTimestamp")
        or event.get("eventTime")
        or event["metadata"].get("creationTimestamp"),
        "type": event.get("type") or "Normal",
        "reason": event.get("reason") or "",
        "object": f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}",
        "message": " ".join(str(event.get("message") or "").split())[:_MAX_MESSAGE_CHARS],
        "count": int(event.get("count") or 1),
    }
