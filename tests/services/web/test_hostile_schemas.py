"""What containers tell of themselves need not be sound, and people click twice."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web
from playwright.async_api import expect
from trying import READY, send, state

TREE = {
    "type": "object",
    "properties": {
        "label": {"type": "string"},
        "child": {"anyOf": [{"$ref": "#/components/schemas/Tree"}, {"type": "null"}]},
        "children": {"type": "array", "items": {"$ref": "#/components/schemas/Tree"}},
    },
    "required": ["label"],
}


def _told(schema: Any, **components: Any) -> dict[str, Any]:
    operation = {"requestBody": {"content": {"application/json": {"schema": schema}}}}
    return {"openapi": "3.1.0", "paths": {"/run": {"post": operation}}, "components": components}


async def _echo(request: web.Request) -> web.Response:
    return web.json_response(await request.json())


async def test_a_schema_that_refers_to_itself_becomes_a_form_that_ends(gateway: Any, open_page: Any) -> None:
    gateway.add("tree", replicas=READY)
    gateway.parts["tree", "openapi.json"] = _told(
        {"$ref": "#/components/schemas/Tree"}, schemas={"Tree": TREE}
    )
    gateway.handlers["tree"] = _echo
    page = await open_page(f"{gateway.url}/#/e/tree")
    await page.get_by_label("Label", exact=True).fill("root")
    await page.get_by_label("Child (optional)").fill('{"label": "leaf"}')
    await page.get_by_role("button", name="Add to Children").click()
    await page.get_by_role("group", name="Children 1").get_by_label("Label", exact=True).fill("first")
    await send(page)
    await expect(state(page)).to_contain_text("Answered with 200")
    sent = next(body for method, _, _, body in reversed(gateway.requests) if method == "POST")
    assert json.loads(sent) == {"label": "root", "child": {"label": "leaf"}, "children": [{"label": "first"}]}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"type": "string"}}, "required": True},
        {"$ref": "#/components/schemas/%E0%A4%A"},
        {"anyOf": [None, {"type": "string"}]},
        {"type": "object", "properties": {"a": {"enum": "xyz", "allOf": [7]}}, "required": 3},
    ],
    ids=["required says yes", "broken reference", "no schema among the choices", "nothing right"],
)
async def test_a_schema_that_is_none_leaves_the_request_to_be_written_as_json(
    schema: Any, gateway: Any, open_page: Any
) -> None:
    gateway.add("odd", replicas=READY)
    gateway.parts["odd", "openapi.json"] = _told(schema)
    gateway.handlers["odd"] = _echo
    page = await open_page(f"{gateway.url}/#/e/odd")
    await page.locator("form[aria-label=Request] textarea").first.fill('{"a": "b"}')
    await send(page)
    await expect(state(page)).to_contain_text("Answered with 200")
    sent = next(body for method, _, _, body in reversed(gateway.requests) if method == "POST")
    assert json.loads(sent) == {"a": "b"}


async def test_a_request_sent_again_is_not_told_as_canceled(gateway: Any, open_page: Any) -> None:
    gateway.add("slow", replicas=READY)
    go = asyncio.Event()

    async def handler(_: web.Request) -> web.Response:
        await go.wait()
        return web.json_response({"text": "done"})

    gateway.handlers["slow"] = handler
    page = await open_page(f"{gateway.url}/#/e/slow")
    await send(page)
    await expect(page.get_by_role("button", name="Send again")).to_be_visible()
    words = await page.evaluate_handle(
        "() => { const seen = [], at = document.querySelector('.state');"
        " new MutationObserver(() => seen.push(at.textContent)).observe(at, { childList: true }); return seen; }"
    )
    await page.get_by_role("button", name="Send again").click()
    await expect(state(page)).not_to_have_text("Sending.")
    go.set()
    await expect(state(page)).to_contain_text("Answered with 200")
    assert "Canceled." not in await words.json_value()


async def test_a_token_that_opens_no_longer_gives_way_to_another_one(
    gateway: Any, module_values: Any
) -> None:
    first, second = (f"hf_{name}_{'x' * 43}" for name in ("aaaa", "bbbb"))
    gateway.add("chat", visibility="private")
    gateway.tokens[first] = ["chat"]

    async def found(script: str) -> Any:
        return await module_values(
            f"const api = await load('api'); api.addToken('{first}'); api.addToken('{second}');"
            f" await api.endpoint('chat'); {script}"
        )

    assert await found("return api.tokenFor('chat');") == first

    async def renewed(request: web.Request) -> web.Response:
        gateway.tokens.clear()
        gateway.tokens[second] = ["chat"]
        return web.json_response({})

    gateway.add("renew")
    gateway.handlers["renew"] = renewed
    again = "await fetch('/e/renew'); await api.endpoint('chat'); return api.tokenFor('chat');"
    assert await found(again) == second


async def test_an_answer_with_holes_between_its_boxes_is_shown(gateway: Any, module_values: Any) -> None:
    answer = {"words": [{"box": [[0, 0], [1, 0], [1, 1]]}, None, 5, {"box": "none"}]}
    text = await module_values(
        "const { answerView } = await load('answer'); const at = document.createElement('div');"
        " const view = answerView(at, 'application/json', { picture: 'data:image/png;base64,AA==' });"
        f" view.add(new TextEncoder().encode(JSON.stringify({json.dumps(answer)})));"
        " view.end(); await new Promise((done) => setTimeout(done, 200)); return at.textContent;"
    )
    assert "JSON" in text


async def test_of_two_templates_chosen_after_each_other_the_last_one_counts(
    gateway: Any, open_page: Any
) -> None:
    """The first one's description comes last: its limits are not the other's."""
    late = asyncio.Event()

    async def wait(route: Any) -> None:
        await late.wait()
        await route.continue_()

    page = await open_page(f"{gateway.url}/#/new?template=ocr")
    await page.route("**/v1/templates/chat", wait)
    await page.get_by_label("Made from").select_option("chat")
    await page.get_by_label("Made from").select_option("embeddings")
    concurrency = page.get_by_label("Requests at a time")
    await expect(concurrency).to_have_attribute("placeholder", "4")
    async with page.expect_response("**/v1/templates/chat"):
        late.set()
    await page.wait_for_timeout(200)
    await expect(concurrency).to_have_attribute("placeholder", "4")
