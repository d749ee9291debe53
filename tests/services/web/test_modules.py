"""The page's pure modules, in the browser that runs them."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from typing import Any

import pytest

from pulumi_holdfast.plan import prices
from pulumi_holdfast.plan.cost import cost_of
from pulumi_holdfast.spec.endpoint import EndpointSpec
from pulumi_holdfast.spec.hardware import hardware_table
from pulumi_holdfast.spec.parse import parse_endpoint
from pulumi_holdfast.spec.problems import SpecError
from pulumi_holdfast.spec.scaling import ScalingSpec
from pulumi_holdfast.spec.template import catalogue

HASH = "0" * 64
IMAGE = "ghcr.io/acme/chat:1"

DECLARATIONS: list[tuple[str, dict[str, Any]]] = [
    ("chat", {"image": IMAGE}),
    ("chat", {"template": "ocr"}),
    ("chat", {}),
    ("Chat_1", {"image": IMAGE}),
    ("chat-", {"image": IMAGE}),
    ("c" * 41, {"image": IMAGE}),
    ("chat", {"image": "https://ghcr.io/acme/chat"}),
    ("chat", {"image": "ghcr.io/Acme/chat"}),
    ("chat", {"image": f"ghcr.io/acme/chat@sha256:{HASH}"}),
    ("chat", {"image": "localhost:5000/a/b__c:1"}),
    ("chat", {"image": IMAGE, "port": 0}),
    ("chat", {"image": IMAGE, "port": 70000}),
    ("chat", {"image": IMAGE, "port": 8095}),
    ("chat", {"image": IMAGE, "port": "80a"}),
    ("chat", {"image": IMAGE, "health_check_path": "health"}),
    ("chat", {"image": IMAGE, "health_check_path": "/is it"}),
    ("chat", {"image": IMAGE, "scaling": {"min_replicas": 5, "max_replicas": 4}}),
    ("chat", {"image": IMAGE, "scaling": {"max_replicas": 0}}),
    ("chat", {"image": IMAGE, "scaling": {"max_replicas": 1001, "timeout_s": 0}}),
    ("chat", {"image": IMAGE, "scaling": {"max_replicas": 1.5}}),
    ("chat", {"image": IMAGE, "scaling": {"max_replicas": "two"}}),
    ("chat", {"image": IMAGE, "scaling": {"max_replicas": 200, "concurrency": 100}}),
    ("chat", {"image": IMAGE, "scaling": {"startup_budget_s": 900}}),
    ("chat", {"image": IMAGE, "scaling": {"startup_budget_s": 900, "min_replicas": 1}}),
    ("chat", {"template": "ocr", "scaling": {"max_request_s": 100}}),
    ("chat", {"image": IMAGE, "registry_credentials": {"secret": "acme/ghcr"}}),
    ("chat", {"image": IMAGE, "registry_credentials": {"secret": "a secret"}}),
    ("chat", {"image": IMAGE, "tokens": [f"sha256:abcd1:{HASH}"]}),
    ("chat", {"image": IMAGE, "tokens": [f"sha256:abcd1:{HASH}", f"sha256:abcd1:{'1' * 64}"]}),
    ("chat", {"image": IMAGE, "tokens": ["hf_abcd1_" + "x" * 43]}),
    ("chat", {"image": IMAGE, "tokens": ["what"]}),
    ("chat", {"image": IMAGE, "tokens": [f"sha256:abcd1:{HASH}"], "visibility": "public"}),
]


def _by_the_spec(name: str, args: Mapping[str, Any]) -> list[str]:
    try:
        parse_endpoint(name, args, catalogue())
    except SpecError as error:
        return sorted(str(problem) for problem in error.problems)
    return []


async def test_the_new_endpoint_form_says_what_the_spec_says(module_values: Any) -> None:
    template = catalogue().find("ocr")
    assert template is not None
    scaling = json.dumps(dict(template.scaling))
    said = await module_values(
        f"const {{ problems }} = await load('rules'); return {json.dumps(DECLARATIONS)}.map(([name, args]) => "
        f"problems(name, args, args.template ? {scaling} : {{}}).map((one) => one.text))"
    )
    for (name, args), texts in zip(DECLARATIONS, said, strict=True):
        assert sorted(texts) == _by_the_spec(name, args), (name, args)


async def test_the_forms_bounds_and_presets_are_the_specs(module_values: Any) -> None:
    rules = await module_values(
        "const { PRESETS, SCALING, DEFAULTS } = await load('rules'); return { PRESETS, SCALING, DEFAULTS }"
    )
    assert rules["PRESETS"] == sorted(hardware_table().presets)
    assert set(rules["SCALING"]) == set(ScalingSpec.model_fields)
    for field, (low, high, default) in rules["SCALING"].items():
        assert ScalingSpec.model_fields[field].default == default
        ScalingSpec.model_validate({field: low})
        ScalingSpec.model_validate({field: high})
        for beyond in (low - 1, high + 1):
            with pytest.raises(ValueError, match=field):
                ScalingSpec.model_validate({field: beyond})
    for field, default in rules["DEFAULTS"].items():
        assert EndpointSpec.model_fields[field].default == default


def test_the_pages_price_table_is_the_librarys() -> None:
    remedy = "run: python -m pulumi_holdfast.plan.prices --write"
    assert prices.PAGE.read_text() == prices.page_prices(hardware_table()), remedy
    assert prices.main(["--wrong"]) == 2


async def test_the_form_works_costs_out_as_the_library_does(module_values: Any) -> None:
    cases = [
        ({"preset": preset, **parts}, {"min_replicas": low, "max_replicas": high})
        for preset in hardware_table().presets
        for parts in ({}, {"cpu": 0.5, "memory_mib": 512})
        for low, high in ((0, 1), (1, 7), (3, 17))
    ]
    found = await module_values(
        "const { cost } = await load('cost'); const table = await (await fetch('/page/prices.json')).json();"
        f"return {json.dumps(cases)}.map(([hardware, scaling]) => cost(table, hardware, scaling))"
    )
    for (hardware, scaling), made in zip(cases, found, strict=True):
        args = {"image": IMAGE, "hardware": hardware, "scaling": scaling}
        priced = cost_of(parse_endpoint("chat", args, catalogue()), hardware_table())
        assert priced is not None
        assert made == {
            "floor": priced.floor_usd_month,
            "ceiling": priced.ceiling_usd_month,
            "hour": priced.usd_per_hour,
            "machine": priced.instance_type,
            "packed": priced.replicas_per_instance,
        }, (hardware, scaling)


async def test_quantities_and_dollars_are_written_for_people(module_values: Any) -> None:
    assert await module_values(
        "const { quantity } = await load('cost'); const { dollars } = await load('words');"
        "return [['1', '500m', '512Mi', '2Gi', 'x'].map(quantity).map((one) => one ?? null),"
        " [0, 0.0123, 0.8048, 99.5, 1234.5, null].map(dollars)]"
    ) == [[1, 0.5, 512, 2048, None], ["$0.00", "$0.0123", "$0.80", "$99.50", "$1,235", "not known"]]


@pytest.mark.parametrize(
    ("tags", "document", "told"),
    [
        ([None, None], [], [["", "/0 /1"]]),
        ([[], ["chat"]], [], [["Chat", "/1"], ["Other", "/0"]]),
        ([[""], ["b", "a"]], ["a", "empty"], [["A", "/1"], ["B", "/1"], ["Other", "/0"]]),
    ],
)
async def test_every_operation_of_a_document_is_shown_whatever_its_tags(
    module_values: Any, tags: list[Any], document: list[str], told: list[list[str]]
) -> None:
    root = {
        "tags": [{"name": name} for name in document],
        "paths": {
            f"/{index}": {"get": {} if one is None else {"tags": one}} for index, one in enumerate(tags)
        },
    }
    found = await module_values(
        "const { groups } = await load('interface');"
        f"return groups({json.dumps(root)}).map((one) => [one.title, one.operations.map((o) => o.path).join(' ')])"
    )
    assert found == told


async def test_a_containers_routes_become_forms_with_references_resolved(module_values: Any) -> None:
    interface = {
        "paths": {
            "/run": {"post": {"summary": "Runs", "requestBody": {"$ref": "#/components/requestBodies/Run"}}},
            "/say": {"post": {"requestBody": {"content": {"multipart/form-data": {"schema": {}}}}}},
            "/items/{id}": {"post": {"requestBody": {"content": {"application/json": {"schema": {}}}}}},
            "/health": {"get": {}},
            "/raw": {"post": {"requestBody": {"content": {"image/png": {"schema": {}}}}}},
        },
        "components": {
            "requestBodies": {
                "Run": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Input"}}}}
            },
            "schemas": {"Input": {"type": "object", "properties": {"prompt": {"type": "string"}}}},
        },
    }
    found = await module_values(
        f"const made = (await load('interface')).routes({json.dumps(interface)});"
        "const { plain } = await load('schema');"
        "return made.map((one) => [one.title, one.input_path, one.input_encoding,"
        " Object.keys(plain(one.input_schema, one.input_schema).properties ?? {})])"
    )
    assert found == [["/run: Runs", "/run", "json", ["prompt"]], ["/say", "/say", "multipart", []]]
    assert await module_values("return (await load('interface')).routes(null)") == []


async def test_the_written_python_declares_what_the_form_holds(module_values: Any) -> None:
    args = {
        "image": IMAGE,
        "hardware": "a10g",
        "visibility": "private",
        "scaling": {
            "min_replicas": 1,
            "max_replicas": 12,
            "timeout_s": 120,
            "startup_budget_s": 601,
            "max_request_s": 4000,
        },
        "registry_credentials": {"secret": "acme/\"ghcr'"},
        "tokens": [f"sha256:abcd1:{HASH}"],
    }
    code = await module_values(f"return (await load('declare')).declaration('chat', {json.dumps(args)})")
    call = ast.parse(code).body[0]
    assert isinstance(call, ast.Expr)
    assert isinstance(call.value, ast.Call)
    assert ast.unparse(call.value.func) == "holdfast.Endpoint"
    name, declared = call.value.args
    assert ast.literal_eval(name) == "chat"
    assert isinstance(declared, ast.Dict)
    keys = [ast.literal_eval(key) for key in declared.keys if key]
    assert keys[0] == "platform"
    values = {key: ast.literal_eval(value) for key, value in zip(keys[1:], declared.values[1:], strict=True)}
    assert values == args
    assert max(len(line) for line in code.splitlines()) <= 110


INPUTS: list[tuple[Any, list[str]]] = [
    ({}, ["Image is missing: choose a file", "Size is missing: fill it in"]),
    ({"image": "data:,", "size": 3}, []),
    ({"image": "data:,", "size": 2.5}, ["Size is 2.5, not a whole number: write it without a fraction"]),
    ({"image": "data:,", "size": 0}, ["Size is 0, below 1: use 1 or more"]),
    ({"image": "data:,", "size": 11}, ["Size is 11, above 10: use 10 or less"]),
    ({"image": "data:,", "size": "a"}, ["Size is not a number: write digits, with a point before decimals"]),
    ({"image": "", "size": 1}, ["Image is empty: write at least 1"]),
    (
        {"image": "x", "size": 1, "style": "odd"},
        ["Style is not one of the choices: choose one of soft, hard"],
    ),
    ({"image": "x", "size": 1, "tags": ["a", "a"]}, ["Tags is a list with the same entry twice: remove one"]),
    ({"image": "x", "size": 1, "tags": ["toolong"]}, ["Tags 1 is 7 characters, above 3: shorten it"]),
    ({"image": "x", "size": 1, "more": {}}, ["Depth is missing: fill it in"]),
    (
        {"image": "x", "size": 1, "more": {"depth": 0.3}},
        ["Depth is 0.3, not a multiple of 0.25: use steps of 0.25"],
    ),
    (
        {"image": "x", "size": 1, "code": "12"},
        ["Code is not of the form that is asked for: it must match ^[A-Z]+$"],
    ),
]


async def test_a_wrong_input_is_told_in_words(module_values: Any) -> None:
    schema = {
        "type": "object",
        "required": ["image", "size"],
        "properties": {
            "image": {"type": "string", "format": "uri", "minLength": 1},
            "size": {"type": "integer", "minimum": 1, "maximum": 10},
            "style": {"enum": ["soft", "hard"]},
            "tags": {"type": "array", "uniqueItems": True, "items": {"type": "string", "maxLength": 3}},
            "more": {"$ref": "#/$defs/More"},
            "code": {"type": "string", "pattern": "^[A-Z]+$"},
        },
        "$defs": {
            "More": {
                "type": "object",
                "required": ["depth"],
                "properties": {
                    "depth": {"anyOf": [{"type": "number", "multipleOf": 0.25}, {"type": "null"}]}
                },
            }
        },
    }
    found = await module_values(
        f"const {{ problems }} = await load('schema'); const schema = {json.dumps(schema)};"
        f" const values = {json.dumps([value for value, _ in INPUTS])};"
        " return values.map((value) => problems(value, schema).map((one) => one.text))"
    )
    for (value, told), texts in zip(INPUTS, found, strict=True):
        assert texts == told, value


async def test_a_held_request_is_told_in_words(module_values: Any) -> None:
    none = {"desired": 0, "pending": 0, "ready": 0, "busy": 0}
    busy = {"desired": 1, "pending": 0, "ready": 1, "busy": 1}
    full = {"replicas": busy, "waiting": 3, "running": 1, "scaling": {"concurrency": 1}}
    starting = "Scaled: 1 replica starting. The image is pulled and the model loads."
    cases: list[tuple[Any, str, str]] = [
        ({"replicas": none}, "held", "No replica runs. The request is held and wakes the endpoint."),
        ({"replicas": {**none, "desired": 1}}, "asked", "Woken: the cluster is asked for a replica."),
        ({"replicas": {**none, "desired": 1, "pending": 1}}, "starting", starting),
        (full, "waiting", "The one ready replica is busy; 3 requests waiting."),
        ({"replicas": busy, "waiting": 0, "running": 1}, "working", "A replica works on it."),
        (
            {"replicas": {"desired": None, "ready": None}, "waiting": 1, "running": 0},
            "waiting",
            "In the queue: 1 request waiting for a replica.",
        ),
        ({"failure": "image not found"}, "failed", "No replica can start: image not found"),
        (None, "unknown", "Sent. Waiting for the answer."),
    ]
    told = await module_values(
        f"const {{ holding }} = await load('words'); return {json.dumps([case[0] for case in cases])}.map(holding)"
    )
    assert [(one["step"], one["text"]) for one in told] == [case[1:] for case in cases]


async def test_busy_replicas_are_told_as_part_of_the_ready_ones(module_values: Any) -> None:
    counts = [
        {"desired": 3, "pending": 1, "ready": 2, "busy": 1},
        {"desired": 2, "pending": 0, "ready": 2, "busy": 0},
        {"desired": 1, "pending": 1, "ready": 0, "busy": 0},
    ]
    cases = [{"replicas": one, "scaling": {"max_replicas": 3}} for one in counts]
    told = await module_values(
        f"const {{ replicas }} = await load('words'); return {json.dumps(cases)}.map(replicas)"
    )
    assert told == [
        "1 starting, 2 ready (1 busy), 3 at most.",
        "2 ready, 3 at most.",
        "1 starting, 3 at most.",
    ]


async def test_times_and_sizes_are_told_for_people(module_values: Any) -> None:
    told = await module_values(
        "const { seconds, bytes, ago, coldStart } = await load('words');"
        "return { s: [null, 0.0342, 0.9999, 5.62, 59.4, 75, 7260].map(seconds),"
        " b: [0, 999, 1234, 138847, 2e6].map(bytes),"
        " a: [null, 99, 40, -200, -172699, -350000].map((at) => ago(at, 100)),"
        " c: coldStart({ accepted: 0, scaled: 0.5, scheduled: null, pulled: 2.5, ready: 4, answered: 4.25 })"
        ".map((one) => [one.phase, one.seconds]) }"
    )
    assert told["s"] == ["–", "34 ms", "1.0 s", "5.6 s", "59 s", "1 min 15 s", "2 h 1 min"]
    assert told["b"] == ["0 B", "999 B", "1.2 kB", "139 kB", "2.0 MB"]
    assert told["a"] == ["none yet", "just now", "1 min ago", "5 min ago", "48 h ago", "4 days ago"]
    assert told["c"] == [["scaled", 0.5], ["pulled", 2.0], ["ready", 1.5], ["answered", 0.25]]
