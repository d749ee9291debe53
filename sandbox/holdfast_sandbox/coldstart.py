"""Watches one endpoint wake up, and says when each phase was reached. Timed here, to a few milliseconds: the
timestamps inside Kubernetes objects are whole seconds. Only the acceptance is the gateway's word, whose clock is this
machine's."""

from __future__ import annotations

import json
import subprocess
import threading
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from holdfast_contract import names
from holdfast_sandbox.kubectl import Kubectl

PHASES: Final = ("accepted", "scaled", "scheduled", "pulled", "ready", "answered")
"""In order: the gateway has the request; a pod exists; it has a node; the model's image is there and its container
runs; it is ready; the caller has the answer."""


def reached(pod: Mapping[str, Any]) -> set[str]:
    """The phases that a pod, as Kubernetes shows it, has behind it."""
    if pod.get("metadata", {}).get("deletionTimestamp"):
        return set()  # what is left of an earlier start
    status = pod.get("status", {})
    conditions = {one["type"]: one["status"] == "True" for one in status.get("conditions", [])}
    model = next(
        (one for one in status.get("containerStatuses", []) if one["name"] == names.MODEL_CONTAINER), None
    )
    phases = {"scaled"}
    if conditions.get("PodScheduled"):
        phases.add("scheduled")
    if model is not None and ("running" in model["state"] or model.get("containerID")):
        phases.add("pulled")
    if conditions.get("Ready"):
        phases.add("ready")
    return phases


@dataclass
class Watch:
    """Phases of one endpoint's cold start, as seconds since `begin`."""

    kubectl: Kubectl
    namespace: str
    endpoint: str
    seconds: dict[str, float] = field(default_factory=dict)

    def begin(self) -> None:
        """Start the clock: the request is sent now. What a running replica has behind it already counts as 0 s."""
        self._zero, self._zero_unix_s = time.monotonic(), time.time()
        self.seconds = dict.fromkeys(self.seconds, 0.0)

    def mark(self, phase: str) -> None:
        """This phase is reached now; the first time counts."""
        self.seconds.setdefault(phase, time.monotonic() - self._zero)

    def mark_accepted(self, request_id: str) -> None:
        """When the gateway had the request, which its id tells: a UUIDv7 begins with the milliseconds of its making."""
        made_s = (uuid.UUID(request_id).int >> 80) / 1000
        # Cut to whole milliseconds, it may lie a fraction of one before the clock was started.
        self.seconds["accepted"] = max(0.0, made_s - self._zero_unix_s)

    def __enter__(self) -> Watch:
        self.begin()
        self._process = self.kubectl.popen(
            "-n",
            self.namespace,
            "get",
            "pods",
            "-l",
            f"{names.LABEL_ENDPOINT}={self.endpoint}",
            "--watch",
            "-o",
            "json",
        )
        self._thread = threading.Thread(target=self._follow, args=(self._process,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(timeout=5)
        self._thread.join(timeout=5)

    def _follow(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for pod in _objects(process.stdout):
            for phase in reached(pod):
                self.mark(phase)

    def table(self) -> str:
        """The phases as they came, each with its second and what it took. Kubernetes may see a replica as ready
        after the answer: the worker asks the model itself, the kubelet once a second."""
        lines, before = [], 0.0
        for phase, at in sorted(self.seconds.items(), key=lambda one: (one[1], PHASES.index(one[0]))):
            lines.append(f"    {phase:<10} {at:7.2f} s   (+{at - before:.2f})")
            before = at
        lines += [f"    {phase:<10} not seen" for phase in self.unseen()]
        return "\n".join(lines)

    def unseen(self) -> list[str]:
        """The phases that were not reached, as far as one could see."""
        return [phase for phase in PHASES if phase not in self.seconds]

    def settle(self, timeout_s: float = 5.0) -> None:
        """Wait until every phase was seen, or for `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while self.unseen() and time.monotonic() < deadline:
            time.sleep(0.05)


def _objects(lines: Iterable[str]) -> Iterable[dict[str, Any]]:
    """The JSON objects of a stream that prints them one after another over many lines."""
    decoder, text = json.JSONDecoder(), ""
    for line in lines:
        text += line
        if line != "}\n":
            continue
        while text := text.lstrip():
            try:
                found, end = decoder.raw_decode(text)
            except json.JSONDecodeError:
                break
            yield found
            text = text[end:]
