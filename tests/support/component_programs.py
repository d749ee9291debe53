"""Programs of one component each, for the public test kit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pulumi

import pulumi_holdfast as holdfast
from pulumi_holdfast import testing

SECRET = "correct horse battery staple"


def _made(args: dict[str, Any]) -> dict[str, Any]:
    """Outputs are made inside the program: a function among the arguments gives one."""
    return {key: value() if callable(value) else value for key, value in args.items()}


def endpoint(**args: Any) -> Callable[[], None]:
    """An endpoint `chat` on the test kit's platform, which exports all endpoints' summaries."""

    def program() -> None:
        platform = testing.platform()
        holdfast.Endpoint("chat", {"platform": platform, "image": "ghcr.io/acme/chat:1", **_made(args)})  # type: ignore[typeddict-item]
        pulumi.export("endpoints", dict(platform.endpoints))

    return program


def shared(**args: Any) -> Callable[[], None]:
    """A shared stack `holdfast`, which exports what endpoint stacks read."""

    def program() -> None:
        given: dict[str, Any] = {
            "services_image": "ghcr.io/acme/services:1",
            "base_url": "https://gpu.example",
            "broker_secret": pulumi.Output.secret(SECRET),
            **_made(args),
        }
        stack = holdfast.SharedStack("holdfast", given)  # type: ignore[arg-type]
        pulumi.export("platform", stack.platform)
        pulumi.export("platform_key", stack.platform_key)

    return program
