"""What the page shows of a request until its answer is there, and of the answer."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

from aiohttp import web
from playwright.async_api import expect
from trying import OCR, READY, RECEIPT, send, state

from holdfast_contract import problems


async def test_a_held_request_is_told_step_by_step_in_one_polite_region(
    gateway: Any, open_page: Any, screenshots: Path
) -> None:
    held = gateway.add("receipts", template=OCR)
    go = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        await go.wait()
        return web.json_response(
            {"text": "TOTAL EUR 16.50"},
            headers={"x-queue-s": "2.5", "x-model-s": "0.4", "x-replica": "receipts-0"},
        )

    gateway.handlers["receipts"] = handler
    page = await open_page(f"{gateway.url}/#/e/receipts")
    await page.evaluate(
        "window.said = []; new MutationObserver(() => said.push(live.textContent)).observe(live, { childList: true })"
    )
    await page.locator("input[type=file]").first.set_input_files(RECEIPT)
    await expect(page.get_by_text("receipt.png, 139 kB").first).to_be_visible()
    await send(page)
    await expect(state(page)).to_have_text("No replica runs. The request is held and wakes the endpoint.")
    held["replicas"] = {"desired": 1, "pending": 1, "ready": 0, "busy": 0}
    held["waiting"] = 1
    await expect(state(page)).to_contain_text("Scaled: 1 replica starting.")
    await expect(page.locator(".status")).to_contain_text("1 starting")
    await page.screenshot(path=screenshots / "held.png")
    held["replicas"] = {"desired": 1, "pending": 0, "ready": 1, "busy": 1}
    held["waiting"], held["running"] = 0, 1
    await expect(state(page)).to_have_text("A replica works on it.")
    await asyncio.sleep(0)
    go.set()
    await expect(state(page)).to_contain_text("Answered with 200 in")
    await expect(page.locator(".answer")).to_contain_text("waited 2.5 s · model 400 ms · replica receipts-0")
    said = await page.evaluate("said")
    assert said[0] == "receipt.png chosen, 139 kB"
    assert [one.split(".")[0] for one in said[1:]] == [
        "Sending 185 kB",
        "No replica runs",
        "Scaled: 1 replica starting",
        "A replica works on it",
        "The answer is coming in",
        said[-1].split(".")[0],
    ]
    assert await page.locator("[aria-live], [role=status]").count() == 1


async def test_a_refusal_is_told_with_its_cause_and_remedy(gateway: Any, open_page: Any, fake: Any) -> None:
    gateway.add("broken", failure="image ghcr.io/acme/x:1 is not found")
    gateway.handlers["broken"] = fake.refuse(
        problems.ACTIVATION_FAILED, "image ghcr.io/acme/x:1 is not found: correct it", retry_after_s=60
    )
    page = await open_page(f"{gateway.url}/#/e/broken")
    await expect(page.locator(".status")).to_contain_text(
        "No replica can start. image ghcr.io/acme/x:1 is not found"
    )
    await send(page)
    notice = page.locator(".answer .notice")
    await expect(notice).to_contain_text(
        "The endpoint could not start a replica: image ghcr.io/acme/x:1 is not found: correct it"
    )
    await expect(notice).not_to_contain_text("`detail`")
    await expect(notice).to_contain_text("It may work again in 1 min.")
    await expect(page.locator(".answer")).to_contain_text("request req-")


async def test_a_stream_is_shown_as_it_comes(gateway: Any, open_page: Any) -> None:
    gateway.add("chat", replicas=READY)
    more = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await response.write(
            b': keep-alive\n\ndata: {"choices": [{"delta": {"content": "Hel"}}]}\n\ndata: {"choi'
        )
        await more.wait()
        await response.write('ces": [{"delta": {"content": "lo ☂"}}]}\n\ndata: [DONE]\n\n'.encode())
        return response

    gateway.handlers["chat"] = handler
    page = await open_page(f"{gateway.url}/#/e/chat")
    await send(page)
    text = page.locator(".output pre.text")
    await expect(text).to_have_text("Hel")
    await expect(state(page)).to_have_text("The answer is coming in.")
    more.set()
    await expect(text).to_have_text("Hello ☂")
    await expect(page.get_by_text("Events (3)")).to_be_visible()


async def test_a_request_in_the_background_shows_progress_and_can_be_canceled(
    gateway: Any, open_page: Any
) -> None:
    gateway.add("slow", replicas=READY)

    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.headers["prefer"] == "respond-async"
        gateway.jobs["j1"] = {
            "id": "j1",
            "status": "QUEUED",
            "queue_position": 2,
            "result": {"text": "done at last"},
        }
        return web.json_response({"id": "j1", "status": "QUEUED", "poll_url": "/requests/j1"}, status=202)

    gateway.handlers["slow"] = handler
    page = await open_page(f"{gateway.url}/#/e/slow")
    await page.get_by_label("In the background").check()
    await send(page)
    await expect(state(page)).to_have_text("In the queue, 2 requests before it.")
    gateway.jobs["j1"].update(status="RUNNING", attempt=1)
    await expect(state(page)).to_have_text("A replica works on it.")
    gateway.jobs["j1"]["status"] = "SUCCEEDED"
    await expect(page.get_by_text("done at last", exact=True)).to_be_visible()

    await page.get_by_role("button", name="Send", exact=True).click()
    await expect(state(page)).to_have_text("In the queue, 2 requests before it.")
    await page.get_by_role("button", name="Cancel").click()
    await expect(state(page)).to_have_text("Canceled.")
    assert ("DELETE", "/requests/j1") in [(method, path) for method, path, _, _ in gateway.requests]


async def test_answers_are_shown_by_their_type_and_never_run(gateway: Any, open_page: Any) -> None:
    gateway.add("any", replicas=READY)
    silence = base64.b64decode("UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQIAAAAAAA==")
    picture = base64.b64encode(RECEIPT.read_bytes()).decode()
    drawing = b'<svg xmlns="http://www.w3.org/2000/svg" onload="window.ran=1" width="9" height="9"/>'
    answers = {
        "/png": (RECEIPT.read_bytes(), "image/png"),
        "/wav": (silence, "audio/wav"),
        "/html": (b"<script>window.ran = 1</script><b>bold</b>", "text/html"),
        "/svg": (drawing, "image/svg+xml"),
        "/inside": (
            json.dumps({"images": [f"data:image/png;base64,{picture}"]}).encode(),
            "application/json",
        ),
        "/bin": (b"\x00" * 2048, "application/octet-stream"),
    }

    async def handler(request: web.Request) -> web.StreamResponse:
        body, kind = answers[request.path.removeprefix("/e/any")]
        return web.Response(body=body, content_type=kind)

    gateway.handlers["any"] = handler
    page = await open_page(f"{gateway.url}/#/e/any")
    shown = {
        "/png": "img",
        "/wav": "audio[controls]",
        "/html": "pre.text",
        "/svg": "img",
        "/inside": "img",
        "/bin": "p",
    }
    for route, element in shown.items():
        await page.get_by_label("Route").fill(route)
        await send(page)
        await expect(state(page)).to_contain_text("Answered with 200")
        await expect(page.locator(f".output {element}").first).to_be_visible()
        if element == "img":
            await expect(page.locator(".output img").first).to_have_js_property("complete", True)
            assert await page.locator(".output img").first.evaluate("(one) => one.naturalWidth") > 0, route
    assert await page.evaluate("window.ran") is None
    await page.get_by_label("Route").fill("/html")
    await send(page)
    await expect(page.locator(".output pre.text")).to_have_text("<script>window.ran = 1</script><b>bold</b>")
