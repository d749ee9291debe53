"""What the guide to cold starts shows is what the command prints and the library accepts."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx2

from holdfast_contract.coldstart import compared
from pulumi_holdfast.plan.coldstart import LOAD_S_PER_GB, PULL_S_PER_GB, size_differs
from pulumi_holdfast.plan.document import document_of
from pulumi_holdfast.spec.endpoint import EndpointSpec
from pulumi_holdfast.spec.parse import parse_endpoint
from pulumi_holdfast.spec.template import catalogue

GUIDE = (Path(__file__).resolve().parents[3] / "docs" / "guides" / "cold-starts.md").read_text()
ENDS_S = {"scaled": 0.1, "scheduled": 152.4, "pulled": 226.9, "ready": 291.2, "answered": 292.0}


def _declared(index: int) -> EndpointSpec:
    """The endpoint of the guide's Python, by its place."""
    code = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)[index]
    call = ast.parse(code).body[0]
    assert isinstance(call, ast.Expr)
    assert isinstance(call.value, ast.Call)
    name, args = call.value.args
    assert isinstance(args, ast.Dict)
    pairs = [(ast.literal_eval(key), value) for key, value in zip(args.keys, args.values, strict=True) if key]
    plain = {key: ast.literal_eval(value) for key, value in pairs if key != "platform"}
    return parse_endpoint(ast.literal_eval(name), plain, catalogue())


def test_the_table_of_the_guide_is_what_the_command_prints(
    holdfast: Callable[..., Any], gateway: Any
) -> None:
    estimate = document_of(_declared(0), namespace="n", image="i").cold_start_estimate
    phases = [asdict(phase) for phase in compared(estimate, ENDS_S)]
    gateway.script.append(
        httpx2.Response(200, json=json.loads(json.dumps({"name": "chat", "cold_start_phases": phases})))
    )
    table = holdfast("status", "chat").out.split("\n\n")[1].strip()
    assert f"```text\n{table}\n```" in GUIDE


def test_the_figures_of_the_guide_are_those_of_the_estimate() -> None:
    assert "| {:g}–{:g} s for each GB |".format(*LOAD_S_PER_GB) in GUIDE
    assert "| {:g}–{:g} s for each GB,".format(*PULL_S_PER_GB) in GUIDE
    assert f"```text\n{size_differs(_declared(0), 5_000_000_000)}\n```" in GUIDE


def test_the_streaming_endpoint_of_the_guide_differs_from_its_template_in_where_weights_come_from_alone() -> (
    None
):
    template = catalogue().find("chat")
    assert template is not None
    spec = _declared(1)
    model, load_format, *rest = spec.args
    assert model.startswith("s3://")
    assert load_format == "--load-format=runai_streamer"
    kept = [argument for argument in template.args if not argument.startswith(("Qwen/", "--revision="))]
    assert rest == kept
    assert spec.egress == template.egress
