"""Proofs: what ends a request without an answer, and that nothing of it stays behind."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataplane import Gateway, Plane


async def submit(plane: Plane, gateway: Gateway, **headers: str) -> str:
    sent = {"prefer": "respond-async", **headers}
    async with plane.post(gateway.endpoint("demo"), headers=sent) as answer:
        assert answer.status == 202
        return str((await answer.json())["id"])


async def ended(plane: Plane, gateway: Gateway, request_id: str) -> dict[str, Any]:
    """How it ended, with `seconds` since it was submitted."""
    headers = {"authorization": f"Bearer {plane.token}"}
    async with plane.http.get(f"{gateway.url}/requests/{request_id}?wait=30", headers=headers) as answer:
        told: dict[str, Any] = json.loads(await answer.read())
    return {**told, "seconds": time.time() - told["created_at"]}


async def test_deadline_execution_timeout_and_poison_end_as_they_must_and_leave_the_stream_empty(
    plane: Plane, figures: Callable[[str], None]
) -> None:
    plane.document(max_request_s=2)
    gateway = await plane.gateway()
    found: dict[str, tuple[str | int, int]] = {}

    def tell(kind: str, told: dict[str, Any], executions: int) -> None:
        found[kind] = told["status"], executions
        attempts = "1 execution" if executions == 1 else f"{executions} executions"
        figures(f"{kind}: {told['status']} after {told['seconds']:.1f} s and {attempts}: {told['error']}")

    waiting = await submit(plane, gateway, **{"x-deadline": "0.5"})
    tell("deadline of 0.5 s in the queue", await ended(plane, gateway, waiting), 0)
    replica = await plane.replica()

    async def worked_on(kind: str, **headers: str) -> None:
        before = len(replica.begun())
        told = await ended(plane, gateway, await submit(plane, gateway, **headers))
        tell(kind, told, len(replica.begun()) - before)

    # Who waits for an answer has no use for it later: the model is stopped. What was submitted may end.
    began = time.monotonic()
    async with plane.post(
        gateway.endpoint("demo"), headers={"x-deadline": "1", "x-delay-ms": "20000"}
    ) as answer:
        told = {"status": answer.status, "error": (await answer.json())["detail"]}
    await plane.until_depth(0, 0)
    tell(
        "deadline of 1 s while running",
        {**told, "seconds": time.monotonic() - began},
        len(replica.begun()),
    )
    await worked_on("execution timeout of 2 s", **{"x-delay-ms": "20000"})
    await worked_on("poison", **{"x-crash": "drop"})
    assert found == {
        "deadline of 0.5 s in the queue": ("EXPIRED", 0),
        "deadline of 1 s while running": (504, 1),
        "execution timeout of 2 s": ("FAILED", 1),
        "poison": ("FAILED", 3),
    }
    await plane.until_depth(0, 0)
    state = (await plane.broker.jetstream.stream_info("q_demo")).state
    figures(f"4 requests ended, {state.messages} messages in the stream")
    assert state.messages == 0
    assert len(replica.begun()) == 5
