"""Headless Chromium, and gateways for its pages: one that pretends, and a real one with broker, worker and stand-in."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from bench.ports import free_port
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright

TESTS = Path(__file__).resolve().parents[2]
TIMEOUT_MS = 10_000
INSTALL_S = 600


def _load(name: str, path: Path) -> ModuleType:
    if name in sys.modules:
        return sys.modules[name]
    found = importlib.util.spec_from_file_location(name, path)
    assert found
    assert found.loader
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    found.loader.exec_module(module)
    return module


APT = _load("holdfast_test_apt", TESTS / "support" / "apt.py")
FAKE = _load("holdfast_test_fake_gateway", TESTS / "support" / "fake_gateway.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test may have to install the browser: that takes longer than any test."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(INSTALL_S))


@pytest.fixture(scope="session")
def node() -> str:
    """The program that runs the page's JavaScript outside of a browser."""
    path: str = APT.ensure_program("node", "nodejs")
    return path


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's program; its Debian package is installed where it is missing."""
    path: str = APT.ensure_program("chromium", "chromium")
    return path


@pytest.fixture
async def browser(chromium: str) -> AsyncIterator[Browser]:
    """A browser of the test's own."""
    async with async_playwright() as playwright:
        # Root has no sandbox in containers; the pages are ours.
        browser = await playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-gpu", "--use-fake-device-for-media-stream"],
        )
        try:
            yield browser
        finally:
            await browser.close()


OpenPage = Callable[..., Any]


@pytest.fixture
async def open_page(browser: Browser) -> AsyncIterator[OpenPage]:
    """Opens pages at an address; fails the test for anything that the browser complained about."""
    complaints: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        # A refused request is shown on the page, and logged by the browser whatever the page does.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            complaints.append(message.text)

    async def open_it(url: str, *, token: str | None = None, **context: Any) -> Page:
        made = await browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **context})
        made.set_default_timeout(TIMEOUT_MS)
        if token:
            await made.add_init_script(
                f"const key = 'holdfast-tokens', first = '[\"{token}\"]';"
                " sessionStorage.getItem(key) ?? sessionStorage.setItem(key, first);"
            )
        page = await made.new_page()
        page.on("console", listen)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.goto(url)
        await page.locator("main:not([aria-busy])").wait_for()
        return page

    yield open_it
    assert complaints == []


@asynccontextmanager
async def _serving(fake: Any) -> AsyncIterator[Any]:
    runner = await fake.start(free_port())
    try:
        yield fake
    finally:
        await runner.cleanup()


@pytest.fixture
async def gateway() -> AsyncIterator[Any]:
    """A gateway that pretends, without endpoints."""
    async with _serving(FAKE.FakeGateway()) as fake:
        yield fake


@pytest.fixture
def fake() -> ModuleType:
    """The module of the gateway that pretends."""
    return FAKE


@pytest.fixture
def module_values(gateway: Any, open_page: OpenPage) -> Callable[[str], Awaitable[Any]]:
    """Evaluates JavaScript with the page's modules at hand: `await load("words")`."""

    async def evaluate(script: str) -> Any:
        page = await open_page(gateway.url)
        return await page.evaluate(
            "async () => { const load = (name) => import(`/page/${name}.js`); " + script + " }"
        )

    return evaluate


@pytest.fixture
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures go: HOLDFAST_SCREENSHOTS, or a folder of this run."""
    import os

    wanted = os.environ.get("HOLDFAST_SCREENSHOTS")
    folder = Path(wanted) if wanted else tmp_path_factory.getbasetemp() / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
