"""What people do on the page, with a gateway whose endpoints are in the state that each test needs."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from aiohttp import web
from playwright.async_api import expect
from trying import OCR, READY, RECEIPT, send, state

from holdfast_contract import tokens

TOKEN = tokens.new_token("page1")


def _write_template(folder: Path, schema: dict[str, Any]) -> None:
    """A catalogue of one template `every` whose form is made from `schema`."""
    (folder / "every").mkdir(parents=True)
    (folder / "every" / "in.json").write_text(json.dumps(schema))
    example = {
        "name": "full",
        "title": "A full one",
        "path": "/run",
        "body_json": {"prompt": "hi", "steps": 7, "tags": ["a", "b"], "inner": {"depth": 2}},
    }
    declared = {
        "name": "every",
        "version": "1",
        "title": "Every",
        "input_schema": "in.json",
        "input_path": "/run",
    }
    (folder / "every" / "template.yaml").write_text(json.dumps({**declared, "examples": [example]}))


EVERY = {
    "type": "object",
    "required": ["prompt", "steps"],
    "properties": {
        "steps": {"type": "integer", "minimum": 1, "maximum": 50, "default": 20, "x-order": 1},
        "prompt": {"type": "string", "minLength": 1, "description": "What to draw.", "x-order": 0},
        "style": {"enum": ["soft", "hard"], "default": "soft", "x-order": 2},
        "safe": {"type": "boolean", "default": True},
        "seed": {"type": "integer"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "inner": {"type": "object", "properties": {"depth": {"type": "integer"}}},
        "free": {},
    },
}


async def _echo(request: web.Request) -> web.StreamResponse:
    return web.Response(body=await request.read(), content_type="application/json")


async def test_private_endpoints_show_up_once_a_token_is_entered_and_it_stays_in_this_tab(
    gateway: Any, open_page: Any
) -> None:
    gateway.add("receipts", visibility="private", template=OCR)
    gateway.add("open")
    gateway.tokens[TOKEN] = ["receipts"]
    page = await open_page(gateway.url)
    await expect(page.get_by_role("link", name="open", exact=True)).to_be_visible()
    await expect(page.get_by_role("link", name="receipts", exact=True)).to_have_count(0)

    await page.get_by_role("link", name="Tokens").click()
    await page.get_by_label("Token", exact=True).fill("hf_short")
    await page.get_by_role("button", name="Use this token").click()
    await expect(page.locator(".error")).to_have_text(
        "token has another form: hf_, an id, _ and 43 characters, as `holdfast token new` prints it"
    )
    await page.get_by_label("Token", exact=True).fill(TOKEN)
    await page.get_by_role("button", name="Use this token").click()
    await expect(page.get_by_text("opens receipts")).to_be_visible()
    assert TOKEN not in await page.content()
    await page.get_by_role("link", name="Endpoints", exact=True).click()
    await expect(page.get_by_role("link", name="receipts", exact=True)).to_be_visible()

    assert TOKEN not in "".join(path for _, path, _, _ in gateway.requests)
    assert await page.evaluate("[localStorage.length, document.cookie, location.href]") == [
        0,
        "",
        f"{gateway.url}/#/",
    ]
    other_tab = await page.context.new_page()
    await other_tab.goto(gateway.url)
    await expect(other_tab.get_by_role("link", name="open", exact=True)).to_be_visible()
    await expect(other_tab.get_by_role("link", name="receipts", exact=True)).to_have_count(0)


async def test_the_form_has_a_control_for_every_kind_of_field_and_sends_what_it_shows(
    gateway: Any, open_page: Any, tmp_path: Path, fake: Any
) -> None:
    _write_template(tmp_path / "templates", EVERY)
    gateway._templates = fake.Templates.load(tmp_path / "templates")
    gateway.add("every", template={"name": "every", "version": "1"}, replicas=READY)
    gateway.handlers["every"] = _echo
    page = await open_page(f"{gateway.url}/#/e/every")
    labels = await page.locator(
        "form[aria-label=Request] > .fields > .field label, form[aria-label=Request] > .fields > fieldset > legend"
    ).all_inner_texts()
    assert labels[:3] == ["Prompt", "Steps", "Style (optional)"]
    assert await page.get_by_label("Steps", exact=True).input_value() == "20"

    await page.get_by_label("Prompt").fill("a cat")
    await page.get_by_role("slider").fill("35")
    await page.get_by_label("Style").select_option("hard")
    await page.get_by_label("Safe").uncheck()
    await page.get_by_role("button", name="Add to Tags").click()
    await page.get_by_label("Tags 1", exact=True).fill("x")
    await page.get_by_label("Depth").fill("3")
    await page.get_by_label("Free").fill('{"a": [1]}')
    await send(page)
    await expect(state(page)).to_contain_text("Answered with 200")
    method, path, headers, body = (
        gateway.requests[-1]
        if gateway.requests[-1][0] == "POST"
        else next(one for one in reversed(gateway.requests) if one[0] == "POST")
    )
    assert (method, path, headers["Content-Type"]) == ("POST", "/e/every/run", "application/json")
    assert json.loads(body) == {
        "prompt": "a cat",
        "steps": 35,
        "style": "hard",
        "safe": False,
        "tags": ["x"],
        "inner": {"depth": 3},
        "free": {"a": [1]},
    }

    await page.get_by_role("button", name="A full one").click()
    assert await page.get_by_label("Tags 2", exact=True).input_value() == "b"
    assert await page.get_by_label("Free").input_value() == ""


async def test_wrong_input_is_summed_up_with_links_and_nothing_is_sent(
    gateway: Any, open_page: Any, tmp_path: Path, fake: Any, screenshots: Path
) -> None:
    _write_template(tmp_path / "templates", EVERY)
    gateway._templates = fake.Templates.load(tmp_path / "templates")
    gateway.add("every", template={"name": "every", "version": "1"}, replicas=READY)
    gateway.handlers["every"] = _echo
    page = await open_page(f"{gateway.url}/#/e/every")
    await page.get_by_label("Steps", exact=True).fill("99")
    await send(page)
    summary = page.locator("form .notice")
    await expect(summary).to_be_focused()
    await expect(summary).to_contain_text("2 things to correct")
    assert await summary.locator("li").all_inner_texts() == [
        "Prompt is missing: fill it in",
        "Steps is 99, above 50: use 50 or less",
    ]
    steps = page.get_by_label("Steps", exact=True)
    assert await steps.get_attribute("aria-invalid") == "true"
    described = (await steps.get_attribute("aria-describedby") or "").split()
    assert "Steps is 99, above 50: use 50 or less" in [
        await page.locator(f"[id='{one}']").inner_text() for one in described
    ]
    await page.screenshot(path=screenshots / "wrong-input.png", full_page=True)
    await summary.get_by_role("link", name="Prompt is missing").click()
    await expect(page.get_by_label("Prompt")).to_be_focused()
    assert all(method == "GET" for method, _, _, _ in gateway.requests)
    await page.keyboard.type("a dog")
    await steps.fill("9")
    await steps.press("Enter")
    await expect(state(page)).to_contain_text("Answered with 200")
    assert await steps.get_attribute("aria-invalid") is None


async def test_the_new_endpoint_form_writes_code_and_tells_problems_beside_the_field(
    gateway: Any, open_page: Any
) -> None:
    page = await open_page(f"{gateway.url}/#/new?template=ocr")
    code = page.get_by_label("Python code")
    await page.get_by_label("Name").fill("receipts")
    await page.get_by_label("Most replicas").fill("3")
    await page.get_by_label("Idle timeout, s").fill("120")
    await expect(code).to_contain_text('"scaling": {"max_replicas": 3, "timeout_s": 120}')
    await page.get_by_label("Least replicas").fill("5")
    words = "scaling.min_replicas is 5, above max_replicas=3: lower it or raise max_replicas"
    await expect(page.locator(".field .error", has_text=words)).to_be_visible()
    await expect(page.locator(".notice.bad")).to_contain_text("One thing to correct")
    await page.get_by_label("Least replicas").fill("")
    await expect(page.locator(".notice.bad")).to_have_count(0)
    await page.get_by_label("Made from").select_option("A container image")
    await expect(page.locator(".notice.bad")).to_contain_text("declare exactly one of image, code, template")
    await page.get_by_label("Image", exact=True).fill("ghcr.io/acme/chat:1")
    await expect(code).to_contain_text('"image": "ghcr.io/acme/chat:1"')


async def test_the_new_endpoint_form_tells_floor_and_ceiling_as_they_change(
    gateway: Any, open_page: Any
) -> None:
    page = await open_page(f"{gateway.url}/#/new?template=chat")
    cost = page.locator(".cost")
    await expect(cost).to_contain_text("Costs at least $0.00 and at most $1,359 a month: g6e.xlarge at $1.86")
    await page.get_by_label("Least replicas").fill("1")
    await page.get_by_label("Most replicas").fill("2")
    await expect(cost).to_contain_text("at least $1,359 and at most $2,717 a month")
    await page.get_by_label("Hardware").select_option("h100")
    await expect(cost).to_contain_text("p5.4xlarge at $6.88 an hour")
    await page.get_by_label("Most replicas").fill("x")
    await expect(cost).to_contain_text("No cost is known until the replicas are corrected")
    await page.get_by_label("Least replicas").fill("3")
    await page.get_by_label("Most replicas").fill("2")
    await expect(cost).to_contain_text("No cost is known until the replicas are corrected")


async def test_cost_events_and_logs_of_an_endpoint_are_shown(gateway: Any, open_page: Any) -> None:
    cost = {
        "usd_per_replica_hour": 0.8048,
        "usd_per_hour_now": 1.6096,
        "usd_this_month": 42.5,
        "instance_type": "g6.xlarge",
        "region": "us-east-1",
        "prices_from": "2026-07-20",
        "note": "",
    }
    gateway.add("chat", cost=cost, rate_limit={"requests": 15, "window_s": 3600})
    gateway.parts["chat", "events"] = {
        "events": [
            {
                "at": "2026-11-24T10:00:00Z",
                "type": "Normal",
                "reason": "Pulled",
                "object": "pod/chat-1",
                "message": "m",
                "count": 1,
            },
            {
                "at": "2026-11-24T10:00:01Z",
                "type": "Warning",
                "reason": "BackOff",
                "object": "pod/chat-1",
                "message": "<b>crashed</b>",
                "count": 3,
            },
        ]
    }
    page = await open_page(f"{gateway.url}/#/e/chat")
    await expect(page.locator(".status")).to_contain_text("$1.61 an hour now, $42.50 this month")
    await expect(page.get_by_text("15 an hour")).to_be_visible()
    asked = [path for _, path, _, _ in gateway.requests]
    assert not [path for path in asked if path.endswith(("/events", "/logs?tail=100"))], "nobody looks yet"
    await page.get_by_text("Events", exact=True).click()
    await expect(page.get_by_role("row").nth(1)).to_contain_text("Warning: BackOff (3×)")
    await expect(page.get_by_role("row").nth(1)).to_contain_text("<b>crashed</b>")
    await page.get_by_text("Logs", exact=True).click()
    await expect(page.get_by_text("endpoint chat tells no logs")).to_be_visible()
    gateway.parts["chat", "logs"] = {
        "container": "model",
        "replicas": [{"replica": "chat-1", "text": "line <1>"}],
    }
    await expect(page.get_by_label("Log of chat-1")).to_have_text("line <1>")


async def test_an_image_can_be_dropped_and_pasted(gateway: Any, open_page: Any) -> None:
    gateway.add("receipts", template=OCR, replicas=READY)
    page = await open_page(f"{gateway.url}/#/e/receipts")
    picture = base64.b64encode(RECEIPT.read_bytes()).decode()
    make = (
        "([kind, text]) => { const data = new DataTransfer();"
        " const raw = Uint8Array.from(atob(text), (one) => one.charCodeAt(0));"
        " data.items.add(new File([raw], `${kind}.png`, { type: 'image/png' }));"
        " const event = kind === 'drop'"
        " ? new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true })"
        " : new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true });"
        " document.querySelector('.drop').dispatchEvent(event); }"
    )
    for kind in ("drop", "paste"):
        await page.evaluate(make, [kind, picture])
        await expect(page.get_by_text(f"{kind}.png, 139 kB").first).to_be_visible()
        await expect(page.locator(".preview img")).to_be_visible()
    await page.get_by_role("button", name="Remove").click()
    await expect(page.locator(".preview img")).to_have_count(0)


async def test_the_page_is_used_with_the_keyboard_alone(gateway: Any, open_page: Any) -> None:
    gateway.add("echo", replicas=READY)
    gateway.handlers["echo"] = _echo
    page = await open_page(gateway.url)
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="echo", exact=True)).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1, name="echo")).to_be_focused()
    for _ in range(20):
        await page.keyboard.press("Tab")
        if await page.evaluate("document.activeElement.textContent === 'Send'"):
            break
    await page.keyboard.press("Enter")
    await expect(state(page)).to_contain_text("Answered with 200")


async def test_the_gallery_follows_replicas_and_survives_a_gateway_that_is_away(
    gateway: Any, open_page: Any
) -> None:
    one = gateway.add("receipts")
    page = await open_page(gateway.url)
    card = page.locator('.card:has(a[href="#/e/receipts"])')
    await expect(card).to_contain_text("Nothing runs; the first request wakes it.")
    one["replicas"] = {"desired": 2, "pending": 1, "ready": 1, "busy": 1}
    await expect(card).to_contain_text("1 starting, 1 ready (1 busy), 3 at most.")
    await page.context.set_offline(True)
    await expect(page.get_by_role("alert")).to_be_visible()
    await page.context.set_offline(False)
    await expect(page.get_by_role("alert")).to_have_count(0)
    gateway.endpoints.pop("receipts")
    await expect(card).to_have_count(0)


async def test_the_first_view_is_light_and_asks_this_gateway_only(gateway: Any, open_page: Any) -> None:
    gateway.add("receipts", template=OCR)
    page = await open_page(gateway.url)
    static = [path for _, path, _, _ in gateway.requests if path == "/" or path.startswith("/page/")]
    files = gateway._page.files
    assert len(static) == len(set(static)) <= 11
    assert sum(len(files[path].body) for path in static) < 40_000
    await page.goto(f"{gateway.url}/#/e/receipts")
    await expect(page.get_by_role("heading", level=1, name="receipts")).to_be_visible()
    used = {path for _, path, _, _ in gateway.requests if path == "/" or path.startswith("/page/")}
    assert sum(len(files[path].body) for path in used) < 115_000
    hosts = {request_headers["Host"] for _, _, request_headers, _ in gateway.requests}
    assert hosts == {gateway.url.removeprefix("http://")}
