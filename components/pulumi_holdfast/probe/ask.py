"""Asks each question once, whatever the number of endpoints that want to know, several at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pulumi_holdfast.plan.feasibility import Answers, Failure, ImageAnswer, Questions, merged
from pulumi_holdfast.probe import registry
from pulumi_holdfast.probe.aws import Aws

AT_ONCE: Final = 16


class Prober:
    """Answers questions from AWS and registries; safe to use from several threads."""

    def __init__(self, aws: Aws, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._aws = aws
        self._now = now
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="feasibility")
        self._asked: dict[tuple[Any, ...], Future[Any]] = {}
        self._lock = threading.Lock()

    def answers(self, asked: Questions) -> Answers:
        """The answers to an endpoint's questions; waits for them."""
        secrets = {name: self._once(("secret", name), self._aws.secret, name) for name in asked.secrets}
        zones = {name: self._once(("zones", name), self._aws.zones, name) for name in asked.instance_types}
        quotas = {code: self._once(("quota", code), self._aws.quota, code) for code in asked.quotas}
        found_secrets = _all(secrets)  # a login needs its secret first
        images: dict[str, Future[ImageAnswer]] = {}
        if asked.image is not None:
            key = ("image", asked.image, asked.credentials)
            images[asked.image] = self._once(key, self._image, asked.image, asked.credentials)
        return Answers(
            recorded=self._now().strftime("%Y-%m-%dT%H:%M:%SZ"),
            region=self._aws.region,
            images=_all(images),
            secrets=found_secrets,
            zones=_all(zones),
            quotas=_all(quotas),
        )

    def _image(self, reference: str, credentials: str | None) -> ImageAnswer:
        login = self._aws.login(credentials, reference)
        if credentials is not None and login is None:
            # Asked without them, it would be "denied", which is not what would happen.
            detail = f"the credentials in {credentials} could not be read"
            return ImageAnswer(failure=Failure.UNKNOWN, detail=detail)
        return registry.image(reference, login)

    def _once(self, key: tuple[Any, ...], ask: Callable[..., Any], *args: Any) -> Future[Any]:
        with self._lock:
            if key not in self._asked:
                self._asked[key] = self._pool.submit(ask, *args)
            return self._asked[key]


def _all(futures: Mapping[str, Future[Any]]) -> dict[str, Any]:
    return {name: future.result() for name, future in futures.items()}


class Recorder:
    """Keeps all answers of a preview in a file, for previews that may ask nobody."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._answers: Answers | None = None

    def add(self, answers: Answers) -> None:
        """Write what is known so far; a reader finds the old file or the new one, never half."""
        with self._lock:
            self._answers = merged(self._answers, answers) if self._answers else answers
            beside = self._path.with_name(f".{self._path.name}.new")
            beside.write_text(self._answers.to_json(), encoding="utf-8")
            beside.replace(self._path)
