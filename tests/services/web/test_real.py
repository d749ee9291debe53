"""The page against a real gateway, broker, worker and model stand-in; and its code, run as people would."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from holdfast_contract import names
from holdfast_contract.document import TemplateRef, Visibility

ROOT = Path(__file__).resolve().parents[3]
RECEIPT = ROOT / "templates/ocr/examples/receipt.png"


@pytest.fixture
async def real(plane: Any) -> Any:
    """A gateway that serves the page and the catalogue."""
    return await plane.gateway(
        **{names.ENV_WEB_DIR: str(ROOT / "web"), names.ENV_TEMPLATES_DIR: str(ROOT / "templates")}
    )


async def _send(page: Page) -> None:
    await page.get_by_role("button", name="Send", exact=True).click()


async def _answered(page: Page) -> None:
    await expect(page.locator(".answer .state")).to_contain_text("Answered with 200", timeout=20_000)


async def _declared(real: Any, page: Page, plane: Any) -> None:
    await page.goto(f"{real.url}/#/e/demo")
    await expect(page.get_by_role("heading", level=1, name="demo")).to_be_visible()


async def test_a_request_is_held_without_replicas_and_answered_by_the_first(
    plane: Any, real: Any, open_page: Any
) -> None:
    plane.document("demo", template=TemplateRef(name="ocr", version="1.0.0"))
    page = await open_page(f"{real.url}/#/tokens", token=plane.token)
    await expect(page.get_by_text("opens demo")).to_be_visible()
    await _declared(real, page, plane)
    await page.get_by_role("button", name="A till receipt").click()
    await expect(page.get_by_text("receipt.png, 139 kB").first).to_be_visible()
    await _send(page)
    await expect(page.locator(".answer .state")).to_have_text(
        "In the queue: 1 request waiting for a replica."
    )
    replica = await plane.replica("demo")
    await _answered(page)
    [execution] = replica.begun()
    assert execution["path"] == "/ocr"
    await expect(page.locator(".answer")).to_contain_text(f"replica {replica.name}")
    await expect(page.locator(".status")).to_contain_text("of 1 in the last 15 min")
    await expect(page.locator(".status")).to_contain_text("Errorsnone")


async def test_going_away_withdraws_a_held_request(plane: Any, real: Any, open_page: Any) -> None:
    plane.document("demo", visibility=Visibility.PUBLIC, tokens=())
    page = await open_page(f"{real.url}/#/")
    await page.get_by_role("link", name="demo", exact=True).click()
    await _send(page)
    await plane.until_depth(1, 0)
    await page.get_by_role("link", name="Endpoints", exact=True).first.click()
    await plane.until_depth(0, 0)


async def test_a_stream_comes_through_as_it_is_written(plane: Any, real: Any, open_page: Any) -> None:
    plane.document("demo", visibility=Visibility.PUBLIC, tokens=())
    await plane.replica("demo")
    page = await open_page(f"{real.url}/#/")
    await page.get_by_role("link", name="demo", exact=True).click()
    await page.get_by_label("Route").fill(
        "/chat?x-stream-chunks=4&x-chunk-interval-ms=400&x-stream-kind=sse&x-size=3"
    )
    await _send(page)
    await expect(page.locator(".output pre.text")).to_have_text("012")
    await _answered(page)
    await expect(page.locator(".output pre.text")).to_have_text("012" * 4)


async def _run(argv: list[str], folder: Path, **env: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *argv,
        cwd=folder,
        env={**os.environ, "HOLDFAST_CONFIG": str(folder / "none.toml"), **env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), 30)
    except TimeoutError:
        process.kill()
        raise
    assert process.returncode == 0, err.decode()
    return out.decode()


async def _by_all_three(page: Page, folder: Path, token: str, node: str) -> dict[str, str]:
    """What the page's curl, Python and JavaScript print."""
    printed = {}
    for tab, name, argv in (
        ("curl", "call.sh", ["sh", "call.sh"]),
        ("Python", "call.py", [sys.executable, "call.py"]),
        ("JavaScript", "call.mjs", [node, "call.mjs"]),
    ):
        await page.get_by_role("button", name=tab, exact=True).click()
        (folder / name).write_text(await page.locator(".codes pre").inner_text())
        printed[tab] = await _run(argv, folder, HOLDFAST_TOKEN=token)
    return printed


async def test_page_curl_python_and_javascript_get_the_same_answer(
    plane: Any, real: Any, open_page: Any, tmp_path: Path, node: str
) -> None:
    plane.document("demo")
    replica = await plane.replica("demo")
    folder = tmp_path / "caller"
    folder.mkdir()
    body = {"text": 'it\'s 100 % "odd" \\ `$HOME` ☂', "n": 1.5, "on": True, "none": None, "list": [1, "b"]}
    page = await open_page(f"{real.url}/#/tokens", token=plane.token)
    await _declared(real, page, plane)
    await page.get_by_label("Route").fill("/echo")
    await page.get_by_label("Body", exact=True).fill(json.dumps(body))
    await _send(page)
    await _answered(page)
    for printed in (await _by_all_three(page, folder, plane.token, node)).values():
        assert json.loads(printed) == body
    assert len(replica.begun()) == 4
    assert plane.token not in "".join(path.read_text() for path in folder.iterdir())


async def test_a_file_in_the_form_is_the_same_file_in_the_code(
    plane: Any, real: Any, open_page: Any, tmp_path: Path, node: str
) -> None:
    plane.document("demo", template=TemplateRef(name="ocr", version="1.0.0"))
    replica = await plane.replica("demo")
    folder = tmp_path / "caller"
    folder.mkdir()
    shutil.copy(RECEIPT, folder)
    page = await open_page(f"{real.url}/#/tokens", token=plane.token)
    await _declared(real, page, plane)
    await page.locator("input[type=file]").first.set_input_files(RECEIPT)
    await expect(page.get_by_text("receipt.png, 139 kB").first).to_be_visible()
    await _send(page)
    await _answered(page)
    await _by_all_three(page, folder, plane.token, node)
    digests = [
        json.loads(text)["body_sha256"]
        for text in (await _by_all_three(page, folder, plane.token, node)).values()
    ]
    assert len(set(digests)) == 1
    assert len(replica.begun()) == 7
    assert {one["body_sha256"] for one in replica.begun()} == set(digests)


async def test_a_form_with_a_recording_is_the_same_by_all_four(
    plane: Any, real: Any, open_page: Any, tmp_path: Path, node: str
) -> None:
    plane.document("demo", template=TemplateRef(name="speech-to-text", version="1.0.0"))
    await plane.replica("demo", argv=(sys.executable, str(ROOT / "tests/support/openai_standin.py")))
    folder = tmp_path / "caller"
    folder.mkdir()
    shutil.copy(ROOT / "templates/speech-to-text/examples/sentence.wav", folder)
    page = await open_page(f"{real.url}/#/tokens", token=plane.token)
    await _declared(real, page, plane)
    await page.get_by_role("button", name="One spoken sentence").click()
    await expect(page.get_by_text("sentence.wav, 85 kB").first).to_be_visible()
    await page.get_by_label("Context").fill('@holdfast; it\'s "held"')
    await _send(page)
    await _answered(page)
    said = "sentence.wav: 84542 bytes, speech-to-text"
    await expect(page.locator(".output")).to_contain_text(said)
    for printed in (await _by_all_three(page, folder, plane.token, node)).values():
        assert json.loads(printed) == {"text": said}


async def test_a_container_that_tells_its_interface_gets_a_form_and_a_page(
    plane: Any, real: Any, open_page: Any
) -> None:
    plane.document("demo")
    await plane.replica("demo", argv=(sys.executable, str(ROOT / "tests/support/openai_standin.py")))
    headers = {"authorization": f"Bearer {plane.token}"}
    async with plane.http.get(f"{real.url}/e/demo/v1/models", headers=headers) as answer:
        assert answer.status == 200
    page = await open_page(f"{real.url}/#/tokens", token=plane.token)
    await _declared(real, page, plane)
    await page.get_by_label("Route").select_option(label="/v1/embeddings: Vectors")
    await page.get_by_label("Text").fill("abc")
    await _send(page)
    await _answered(page)
    await expect(page.locator(".output")).to_contain_text("embedding")
    await page.get_by_role("link", name="The container's own interface").click()
    await expect(page.get_by_role("heading", level=1, name="demo: Parrot")).to_be_visible()
    await expect(page.get_by_text(f"{real.url}/e/demo")).to_be_visible()


async def test_every_way_to_wait_works_in_the_code(
    plane: Any, real: Any, open_page: Any, tmp_path: Path, node: str
) -> None:
    plane.document("demo")
    await plane.replica("demo")
    folder = tmp_path / "caller"
    folder.mkdir()
    page = await open_page(f"{real.url}/#/tokens", token=plane.token)
    await _declared(real, page, plane)
    await page.get_by_label("Route").fill("/run?x-stream-chunks=3&x-size=4")
    await page.get_by_label("As it comes").check()
    assert set((await _by_all_three(page, folder, plane.token, node)).values()) == {"0123" * 3}

    await page.get_by_label("Route").fill("/echo")
    await page.get_by_label("In the background").check()
    await _send(page)
    await _answered(page)
    printed = await _by_all_three(page, folder, plane.token, node)
    assert printed["curl"] == "{}"
    assert printed["Python"].splitlines()[1] == "{}"
    assert printed["JavaScript"].strip() == "{}"
