"""What the page says of an estimated cold start, alone and beside a real one."""

from __future__ import annotations

import json
from typing import Any

from playwright.async_api import expect

NODE = {
    "phase": "node",
    "low_s": 80,
    "high_s": 120,
    "last_s": 152.3,
    "verdict": "slower",
    "why": "a new GPU machine",
}
PULL = {
    "phase": "pull",
    "low_s": None,
    "high_s": None,
    "last_s": 61,
    "verdict": None,
    "why": "no size is declared",
}
LOAD = {
    "phase": "load and ready",
    "low_s": 2.9,
    "high_s": None,
    "last_s": None,
    "verdict": None,
    "why": "19 GB",
}


async def test_a_phase_is_told_with_its_estimate_and_what_the_last_one_took(module_values: Any) -> None:
    cases: list[Any] = [
        [NODE, PULL, LOAD],
        [{**NODE, "last_s": 95, "verdict": "within"}],
        [PULL],
        [],
        None,
    ]
    told = await module_values(
        f"const {{ estimates }} = await load('estimate'); return {json.dumps(cases)}.map((one) =>"
        " estimates(one).map(({ phase, text, why }) => [phase, text, why]))"
    )
    assert told[0] == [
        ["node", "1 min 20 s to 2 min; it took 2 min 32 s, slower than estimated", "a new GPU machine"],
        ["pull", "unknown; it took 1 min 1 s", "no size is declared"],
        ["load and ready", "2.9 s or more", "19 GB"],
    ]
    assert told[1] == [["node", "1 min 20 s to 2 min; it took 1 min 35 s", "a new GPU machine"]]
    assert told[2:] == [[], [], []], "where nothing is estimated, there is nothing to set a start against"


async def test_an_endpoint_that_never_started_shows_its_estimate_and_one_without_an_estimate_its_start(
    gateway: Any, open_page: Any
) -> None:
    gateway.add("new", cold_start_phases=[{**NODE, "last_s": None, "verdict": None}])
    gateway.add("old", last_cold_start={"accepted": 0, "scaled": 0.1, "ready": 2.0, "answered": 2.5})
    page = await open_page(f"{gateway.url}/#/e/new")
    await expect(page.get_by_text("node: 1 min 20 s to 2 min (a new GPU machine)")).to_be_visible()
    await expect(page.get_by_text("Last cold start")).to_have_count(0)
    page = await open_page(f"{gateway.url}/#/e/old")
    await expect(page.get_by_role("heading", name="Last cold start: 2.5 s")).to_be_visible()
    await expect(page.get_by_text("Cold start as estimated")).to_be_hidden()
