"""What the page looks like, and that nothing of it is out of reach: pictures, axe, narrow screens, weight."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped]

from holdfast_contract import tokens

ROOT = Path(__file__).resolve().parents[3]
TOKEN = tokens.new_token("look1")
COLD = {"accepted": 0.0, "scaled": 0.06, "scheduled": 0.4, "pulled": 2.9, "ready": 4.8, "answered": 5.6}
CONTAINER = {
    "openapi": "3.1.0",
    "info": {"title": "Text recognition", "version": "1.0.0"},
    "servers": [{"url": "https://gpu.example.com/e/receipts"}],
    "paths": {
        "/ocr": {
            "post": {
                "summary": "Reads the text in an image",
                "requestBody": {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}},
                "responses": {"200": {"description": "The lines"}},
            }
        }
    },
}
COST = {
    "usd_per_replica_hour": 0.1008,
    "usd_per_hour_now": 0.3024,
    "usd_this_month": 12.34,
    "instance_type": "m7i.large",
    "region": "us-east-1",
    "prices_from": "2026-07-20",
    "note": "",
}
EVENTS = [
    {
        "at": (datetime.now(UTC) - timedelta(seconds=ago_s)).isoformat(timespec="seconds"),
        "type": kind,
        "reason": reason,
        "object": "pod/receipts-7d9f-x2x4q",
        "message": message,
        "count": 1,
    }
    for ago_s, kind, reason, message in (
        (66, "Normal", "Scheduled", "Successfully assigned holdfast/receipts-7d9f-x2x4q to gpu-node-1"),
        (63, "Warning", "Unhealthy", "Startup probe failed: connection refused"),
        (61, "Normal", "Started", "Container started"),
    )
]
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


async def _ocr(request: web.Request) -> web.StreamResponse:
    answer = json.loads((ROOT / "templates/ocr/examples/receipt.answer.json").read_text())
    headers = {
        "x-queue-s": "0.009",
        "x-model-s": "0.034",
        "x-replica": "receipts-7d9f-x2x4q",
        "x-attempt": "1",
    }
    return web.json_response(answer, headers=headers)


def _endpoints(gateway: Any) -> None:
    gateway.add(
        "receipts",
        description="Text in photographs of receipts.",
        template={"name": "ocr", "version": "1.0.0"},
        replicas={"desired": 3, "pending": 1, "ready": 2, "busy": 1},
        waiting=4,
        running=1,
        last_cold_start=COLD,
        latency={"p50_s": 0.42, "p90_s": 0.9, "p99_s": 4.2, "count": 181},
        errors={"queue-full": 2},
        window_s=900,
        cost=COST,
    )
    gateway.parts["receipts", "events"] = {"events": EVENTS}
    gateway.parts["receipts", "logs"] = {
        "container": "model",
        "replicas": [
            {"replica": "receipts-7d9f-x2x4q", "text": "model loaded in 1.2 s\nPOST /ocr 200 0.034 s\n"}
        ],
    }
    gateway.add(
        "chat", description="A language model.", replicas={"desired": 0, "pending": 0, "ready": 0, "busy": 0}
    )
    gateway.add("old", state="paused")
    gateway.add("broken", failure="image ghcr.io/acme/x:1 is not found: correct `image` and run `pulumi up`")
    gateway.handlers["receipts"] = _ocr
    gateway.parts["receipts", "openapi.json"] = CONTAINER


VIEWS = {
    "gallery": "#/",
    "endpoint": "#/e/receipts",
    "plain-endpoint": "#/e/chat",
    "template": "#/t/ocr",
    "new": "#/new?template=ocr",
    "tokens": "#/tokens",
    "problem": "#/e/nothing",
    "docs": "docs#get-v1-endpoints",
    "container-docs": "docs?endpoint=receipts",
    "problem-kind": "problems/queue-full",
    "problem-kinds": "problems",
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", ["desktop", "phone"])
async def test_every_view_is_accessible_and_fits_its_screen(
    gateway: Any, open_page: Any, screenshots: Path, scheme: str, screen: str
) -> None:
    _endpoints(gateway)
    wrong = []
    viewport = {"desktop": DESKTOP, "phone": PHONE}[screen]
    for name, fragment in VIEWS.items():
        page = await open_page(f"{gateway.url}/{fragment}", color_scheme=scheme, viewport=viewport)
        if name == "endpoint":
            await page.get_by_role("button", name="A till receipt").click()
            await page.get_by_text("receipt.png, ").first.wait_for()
            await page.get_by_role("button", name="Send", exact=True).click()
            await page.get_by_text("Answered with 200").first.wait_for()
            await page.get_by_text("CORNER BAKERY").first.wait_for()
            await page.get_by_text("Events", exact=True).click()
            await page.get_by_text("Logs", exact=True).click()
            await page.get_by_label("Log of receipts-7d9f-x2x4q").wait_for()
        if name == "docs":
            await page.get_by_text("Public endpoints, and those that the token opens").wait_for()
            await page.get_by_role("cell", name="Endpoints", exact=False).first.wait_for()
        await page.screenshot(path=screenshots / f"{name}-{screen}-{scheme}.png", full_page=True)
        found = await Axe().run(page)
        if found.violations_count:
            wrong.append(f"{name}: {found.generate_report()}")
        width = await page.evaluate("document.documentElement.scrollWidth")
        if width > viewport["width"]:
            wrong.append(f"{name} is {width} px wide")
        await page.context.close()
    assert not wrong, "\n".join(wrong)


GUIDE = ROOT / "docs" / "guides" / "images"
MAX_PICTURE_BYTES = 150_000


async def test_the_guides_pictures_are_made_here_and_are_small(
    gateway: Any, open_page: Any, screenshots: Path
) -> None:
    """Copy them from HOLDFAST_SCREENSHOTS to docs/guides/images when the page has changed."""
    _endpoints(gateway)
    gateway.endpoints["receipts"]["url"] = "https://receipts.models.example.com"
    gateway.endpoints["receipts"]["visibility"] = "private"
    gateway.tokens[TOKEN] = ["receipts"]
    size = {"width": 1000, "height": 700}

    page = await open_page(f"{gateway.url}/#/", viewport=size, token=TOKEN)
    await page.screenshot(path=screenshots / "page-gallery.png")
    await page.goto(f"{gateway.url}/#/e/receipts")
    await page.get_by_role("button", name="A till receipt").click()
    await page.get_by_text("receipt.png, ").first.wait_for()
    await page.get_by_role("button", name="Send", exact=True).click()
    await page.locator(".output canvas").wait_for()
    # A photograph twice over: as PNG it has three times the size.
    await page.screenshot(path=screenshots / "page-endpoint.jpg", full_page=True, quality=60)
    await page.goto(f"{gateway.url}/#/new?template=ocr")
    await page.get_by_label("Least replicas").fill("5")
    await page.get_by_label("Most replicas").fill("3")
    await page.get_by_text("scaling.min_replicas is 5").first.wait_for()
    await page.evaluate("scrollTo(0, 0)")  # the field that is typed in is scrolled into view
    await page.screenshot(path=screenshots / "page-new.png")
    _check_pictures(screenshots)


def _check_pictures(screenshots: Path) -> None:
    made = {path.name for path in screenshots.glob("page-*")}
    assert made == {path.name for path in GUIDE.glob("page-*")}
    for folder in (screenshots, GUIDE):
        for path in folder.glob("page-*"):
            assert path.stat().st_size < MAX_PICTURE_BYTES, path
