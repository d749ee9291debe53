"""An endpoint's page as a person uses it: what it is tried with, its button, and what is said of the answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.async_api import Page

ROOT = Path(__file__).resolve().parents[2]
RECEIPT = ROOT / "templates/ocr/examples/receipt.png"
OCR = {"name": "ocr", "version": "1.0.0"}
READY = {"desired": 1, "pending": 0, "ready": 1, "busy": 0}


async def send(page: Page) -> None:
    await page.get_by_role("button", name="Send", exact=True).click()


def state(page: Page) -> Any:
    return page.locator(".answer .state")
