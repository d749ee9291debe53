"""The comment of a pull request: what it says first, what it never says, and how long it may be."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast_cli.comment import MAX_BYTES, Facts, Verdict, comment, marker, verdict
from holdfast_cli.main import main
from holdfast_cli.previewplan import PlanError, read

SECRET_MARK = "4dabf18193072939515e22adb298388d"
STACK = "urn:pulumi:prod::holdfast::pulumi:pulumi:Stack::holdfast-prod"


def _urn(name: str) -> str:
    return f"urn:pulumi:prod::holdfast::holdfast:index:Endpoint::{name}"


def _declared(low: int, high: int, price: float | None = 734.38, **more: Any) -> dict[str, Any]:
    cost = None
    if price is not None:
        cost = {"floor_usd_month": low * price, "ceiling_usd_month": high * price}
        cost |= {"prices_from": "2026-07-20", "region": "us-east-1"}
    declared = {"scaling": {"min_replicas": low, "max_replicas": high}, "cost": cost, **more}
    return {"parent": STACK, "inputs": {"declared": declared}}


def _endpoint(name: str, op: str, before: Any = None, after: Any = None) -> dict[str, Any]:
    step: dict[str, Any] = {"op": op, "urn": _urn(name)}
    if before:
        step["oldState"] = before
    if after:
        step["newState"] = after
    return step


def _child(
    endpoint: str, child: str, op: str, kind: str = "kubernetes:apps/v1:Deployment", **inputs: Any
) -> Any:
    urn = f"urn:pulumi:prod::holdfast::holdfast:index:Endpoint${kind}::{endpoint}-{child}"
    return {"op": op, "urn": urn, "newState": {"parent": _urn(endpoint), "inputs": inputs}}


def _text(*steps: Any, **more: Any) -> str:
    return json.dumps({"steps": list(steps), **more})


def _plan() -> str:
    return _text(
        {"op": "same", "urn": STACK},
        _endpoint("chat", "update", _declared(0, 1), _declared(1, 3)),
        _child("chat", "deployment", "create-replacement"),
        _child("chat", "deployment", "replace"),
        _child("chat", "deployment", "delete-replaced"),
        _child("chat", "document", "update", "kubernetes:core/v1:ConfigMap"),
        _endpoint("receipts", "create", None, _declared(0, 2)),
        _child("receipts", "deployment", "create"),
        _endpoint("quiet", "same", _declared(0, 1), _declared(0, 1)),
        _endpoint("gone", "delete", _declared(1, 1)),
        {"op": "create", "urn": "urn:pulumi:prod::holdfast::aws:s3/bucket:Bucket::bodies"},
    )


def test_the_comment_of_a_whole_preview() -> None:
    assert comment(read(_plan()), Facts(commit="0a1b2c3", time="2026-11-24 22:00 UTC")) == (
        Path(__file__).parent / "preview_comment.md"
    ).read_text(encoding="utf-8")


def test_the_summary_comes_first_and_replacements_before_all_else() -> None:
    lines = comment(read(_plan())).splitlines()
    assert lines[0] == "<!-- holdfast-preview holdfast/prod -->"
    assert "3 endpoints of 4 change · 🔥 **1 resource REPLACED**" in lines[2]
    assert "**+2,203.14 $ a month** at most · **±0 $ a month** at least" in lines[2]
    assert lines[6].startswith(
        "| chat | update | 0–1 → 1–3 | 0.00 → 734.38 | 734.38 → 2,203.14 | +1,468.76 | 🔥 1 |"
    )


def test_a_preview_without_a_change_is_one_line() -> None:
    text = comment(read(_text(_endpoint("quiet", "same", _declared(0, 1), _declared(0, 1)))))
    assert [line for line in text.splitlines() if line and not line.startswith("<")] == [
        "✅ **prod**: nothing changes"
    ]


def test_an_operation_that_nobody_knows_counts_as_a_change() -> None:
    text = comment(read(_text(_endpoint("chat", "same"), _child("chat", "deployment", "transmogrify"))))
    assert "1 endpoint of 1 change" in text
    assert "- transmogrify kubernetes:apps/v1:Deployment chat-deployment" in text


def test_a_preview_that_failed_says_so_first() -> None:
    text = comment(read(_text(diagnostics=[{"severity": "error", "message": "boom hunter2"}])))
    assert "❌" in text.splitlines()[2]
    assert "boom" not in text


def test_what_was_not_checked_is_said_and_engine_output_is_not() -> None:
    diagnostics = [
        {
            "urn": _urn("chat"),
            "severity": "info",
            "message": 'endpoint "chat": not checked: image: offline\n',
        },
        {
            "urn": _urn("chat"),
            "severity": "info",
            "message": 'error: endpoint "chat": refused: quota: 4 of 2 GPUs',
        },
        {"urn": _urn("chat"), "severity": "info", "message": "hunter2"},
        {"urn": STACK, "severity": "info", "message": 'endpoint "chat": not checked: from elsewhere'},
    ]
    unpriced = _endpoint("odd", "create", None, _declared(0, 1, None))
    text = comment(read(_text(unpriced, diagnostics=diagnostics)))
    assert "**Not checked**\n\n- chat: image: offline\n- odd: cost: no price for its machines\n" in text
    assert "**Refused**\n\n- chat: quota: 4 of 2 GPUs\n" in text
    assert "hunter2" not in text
    assert "elsewhere" not in text


@pytest.mark.parametrize(
    ("warn", "fail", "expected"),
    [
        (None, None, Verdict.NOTICE),
        (5000, None, Verdict.NOTICE),
        (1000, 5000, Verdict.WARN),
        (None, 1000, Verdict.FAIL),
    ],
)
def test_the_change_in_cost_decides_the_verdict(warn: float, fail: float, expected: Verdict) -> None:
    facts = Facts(warn_above_usd_month=warn, fail_above_usd_month=fail)
    assert verdict(read(_plan()), facts) is expected


def test_a_paused_endpoint_costs_no_replica() -> None:
    (group,) = read(
        _text(_endpoint("chat", "update", _declared(1, 2), _declared(1, 2, state="paused")))
    ).endpoints
    assert group.after is not None
    assert (group.after.min_replicas, group.after.max_replicas) == (0, 0)


# --- properties ---------------------------------------------------------------------------------------------
names = st.from_regex(r"[a-z][-a-z0-9]{0,38}[a-z0-9]", fullmatch=True)
ops = st.sampled_from(
    ["create", "update", "delete", "same", "replace", "create-replacement", "import", "odd"]
)
SECRET = "SECRET-7f3a"
secrets = st.sampled_from(
    [
        SECRET,
        {SECRET_MARK: "1b47061264138c4ac30d75fd1eb44270", "plaintext": SECRET},
        {SECRET_MARK: "1b47061264138c4ac30d75fd1eb44270", "ciphertext": SECRET},
        [SECRET, {"deep": SECRET}],
    ]
)


@st.composite
def _leaky(draw: st.DrawFn) -> str:
    """A preview with secrets wherever a property, a diagnostic or a setting can stand."""
    steps = []
    for name in draw(st.lists(names, min_size=1, max_size=6, unique=True)):
        state = _declared(0, draw(st.integers(0, 9)))
        declared = state["inputs"]["declared"]
        for field in draw(
            st.sets(st.sampled_from(["image", "state", "visibility", "scaling", "cost", "new"]))
        ):
            declared[field] = draw(secrets)
        if isinstance(declared["cost"], dict) and SECRET_MARK not in declared["cost"]:
            for field in draw(st.sets(st.sampled_from(["prices_from", "region", "floor_usd_month", "note"]))):
                declared["cost"][field] = draw(secrets)
        state["outputs"] = {"url": draw(secrets)}
        steps.append(_endpoint(name, draw(ops), state, state))
        steps.append(_child(name, "deployment", draw(ops), password=draw(secrets)))
        steps[-1]["detailedDiff"] = {SECRET: {"kind": "update"}}
        steps[-1]["diffReasons"] = [SECRET]
    diagnostics = [{"urn": steps[0]["urn"], "severity": "error", "message": SECRET, "prefix": SECRET}]
    return _text(*steps, diagnostics=diagnostics, config={"holdfast:brokerSecret": SECRET})


@given(_leaky())
def test_no_secret_ever_stands_in_the_comment(text: str) -> None:
    assert SECRET not in comment(read(text))


def test_a_known_form_of_secret_is_left_out_even_of_our_own_words() -> None:
    message = 'endpoint "chat": warning: image is https://me:hunter2@ghcr.io/chat'
    text = comment(
        read(_text(_endpoint("chat", "create"), diagnostics=[{"urn": _urn("chat"), "message": message}]))
    )
    assert "hunter2" not in text


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    count=st.integers(200, 400),
    letter=st.sampled_from("a&|@<💥"),
    length=st.integers(1, 400),
    children=st.integers(1, 8),
)
def test_the_comment_of_hundreds_of_endpoints_fits_and_has_its_summary(
    count: int, letter: str, length: int, children: int
) -> None:
    steps = []
    for number in range(count):
        name = f"e{number}-{letter * length}"
        steps.append(_endpoint(name, "update", _declared(0, 1), _declared(1, 1 + number % 7)))
        steps += [_child(name, f"{letter * length}-{child}", "replace") for child in range(children)]
        steps.append({"op": "create", "urn": f"urn:pulumi:prod::holdfast::a:b:C::{letter * length}-{number}"})
    told = [
        {"urn": _urn("e"), "message": f'endpoint "e{n}": not checked: {letter * 390}'} for n in range(count)
    ]
    text = comment(read(_text(*steps, diagnostics=told)))
    assert len(text.encode()) <= MAX_BYTES
    assert f"{count} endpoints of {count} change" in text.splitlines()[2]
    assert text.rstrip().endswith("</sub>")
    assert text.count("<details>") == text.count("</details>")


def test_two_hundred_endpoints_each_have_their_row() -> None:
    steps = [
        _endpoint(f"endpoint-number-{n:03}", "update", _declared(0, 1), _declared(1, 2)) for n in range(200)
    ]
    steps += [_child(f"endpoint-number-{n:03}", "deployment", "update") for n in range(200)]
    text = comment(read(_text(*steps)))
    assert len(re.findall(r"^\| endpoint-number-\d{3} \|", text, re.MULTILINE)) == 200
    assert len(text) < 60_000


@given(st.text(max_size=60))
def test_a_name_never_becomes_markup_a_link_or_a_call(name: str) -> None:
    text = comment(read(_text({"op": "create", "urn": f"urn:pulumi:prod::holdfast::a:b:C::{name}"})))
    fold = text.split("</summary>")[1].split("</details>")[0]
    (line,) = [line for line in fold.split("\n") if line]
    shown = line.removeprefix("- create a:b:C ")
    assert not set(shown) & set("<>|`*_[]\\@")


@given(st.permutations(json.loads(_plan())["steps"]))
def test_the_order_of_the_steps_changes_nothing(steps: list[Any]) -> None:
    assert comment(read(_text(*steps))) == comment(read(_plan()))


# --- the command ----------------------------------------------------------------------------------------------
def test_the_command_reads_a_file_and_fails_above_the_limit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "preview.json"
    file.write_text("Previewing update (prod)\n" + _plan())
    assert main(["preview-comment", str(file)]) == 0
    assert capsys.readouterr().out == comment(read(_plan()))
    assert main(["preview-comment", str(file), "--fail-above", "100"]) == 1
    assert "⛔" in capsys.readouterr().out
    assert main(["preview-comment", str(file), "--marker"]) == 0
    assert capsys.readouterr().out == marker(read(_plan())) + "\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the preview is empty, or not JSON: give what `pulumi preview --json` printed"),
        ("{oops", "the preview is not JSON (line 1): give what `pulumi preview --json` printed"),
        ('{"a": 1}', "the preview has no steps: give what `pulumi preview --json` printed, not --diff"),
    ],
)
def test_what_is_no_preview_is_told(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(PlanError) as caught:
        read(text)
    assert str(caught.value) == message
    file = tmp_path / "preview.json"
    file.write_text(text)
    assert main(["preview-comment", str(file)]) == 2
    what, remedy = message.split(": ")
    assert capsys.readouterr().err == f"error: {what}\n  next: {remedy}\n"
