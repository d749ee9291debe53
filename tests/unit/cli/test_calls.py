"""Asking endpoints from the command line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from holdfast_cli.exits import Exit

Run = Callable[..., Any]
PNG = b"\x89PNG\r\n\x1a\n" + bytes(4)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A file that is a picture by name and content."""
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    return path


def test_json_goes_in_and_the_answer_comes_out_as_it_is(holdfast: Run, gateway: Any) -> None:
    assert holdfast("infer", "echo", "/", "-d", '{"text": "hi"}').out == '{"text":"hi"}'
    assert gateway.requests[0].headers["authorization"] == "Bearer hf_test_secret"


def test_a_file_is_sent_as_it_is_with_its_type(holdfast: Run, gateway: Any, picture: Path) -> None:
    holdfast("infer", "echo", "/", "-d", f"@{picture}")
    assert gateway.requests[0].content == PNG
    assert gateway.requests[0].headers["content-type"] == "image/png"


def test_standard_input_is_recognised_as_json(holdfast: Run, gateway: Any) -> None:
    holdfast("infer", "echo", "/", "-d", "@-", stdin=b'{"a": 1}')
    assert gateway.requests[0].headers["content-type"] == "application/json"
    holdfast("infer", "echo", "/", "-d", "@-", stdin=PNG)
    assert gateway.requests[1].headers["content-type"] == "image/png"


def test_fields_and_files_make_a_form(holdfast: Run, gateway: Any, picture: Path) -> None:
    holdfast("infer", "echo", "/", "-F", "lang=en", "-F", f"image=@{picture}", "-F", str(picture))
    sent = gateway.requests[0].content
    assert b'name="lang"\r\n\r\nen' in sent
    assert b'name="image"; filename="a.png"' in sent
    assert b'name="file"; filename="a.png"' in sent


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-d", "{oops"], "-d '{oops' is not JSON"),
        (["-d", "@/no/such.png"], "/no/such.png cannot be read: No such file or directory"),
        (["-d", "1", "-F", "a=b"], "-d and -F exclude each other"),
        (["-F", "a=b", "-F", "a=c"], "field 'a' is empty or given twice"),
        (["-H", "nocolon"], "-H 'nocolon' has no colon"),
        (["-H", "Authorization: Bearer x"], "credentials on a command line are seen by every user"),
        (["--stream", "--json"], "--stream and --json exclude each other"),
    ],
)
def test_mistakes_on_the_command_line_are_explained_and_nothing_is_sent(
    words: list[str], message: str, holdfast: Run, gateway: Any
) -> None:
    done = holdfast("infer", "echo", "/", *words, expect=Exit.USAGE)
    assert message in done.err
    assert gateway.requests == []


def test_a_token_in_a_header_is_not_repeated(holdfast: Run, gateway: Any) -> None:
    done = holdfast("infer", "echo", "/", "-H", "Authorization: Bearer hf_x_y", expect=Exit.USAGE)
    assert "hf_x_y" not in done.err


def test_without_a_route_the_templates_input_route_is_used(holdfast: Run, gateway: Any) -> None:
    described = {"name": "receipts", "template": {"name": "ocr", "version": "1.0.0"}}
    gateway.script.append(httpx2.Response(200, json=described))
    gateway.script.append(httpx2.Response(200, json={}))
    holdfast("infer", "receipts", "-d", "{}")
    assert [request.url.path for request in gateway.requests] == ["/v1/endpoints/receipts", "/e/receipts/ocr"]


def test_without_a_route_and_a_template_it_is_the_root(holdfast: Run, gateway: Any) -> None:
    holdfast("infer", "echo", "-d", "1")
    assert gateway.requests[-1].url.path == "/e/echo/"


def test_method_header_key_and_timeout_reach_the_gateway(holdfast: Run, gateway: Any) -> None:
    words = ["-X", "PUT", "-H", "X-Mode: fast", "--key", "k1", "--timeout", "5"]
    holdfast("infer", "echo", "/v1/x?y=1", *words)
    sent = gateway.requests[0]
    assert (sent.method, sent.url.raw_path) == ("PUT", b"/e/echo/v1/x?y=1")
    assert (sent.headers["x-mode"], sent.headers["idempotency-key"]) == ("fast", "k1")
    assert float(sent.headers["x-deadline"]) <= 5


def test_output_goes_to_a_file(holdfast: Run, gateway: Any, picture: Path, tmp_path: Path) -> None:
    done = holdfast("infer", "echo", "/", "-d", f"@{picture}", "-o", tmp_path / "b.png")
    assert (tmp_path / "b.png").read_bytes() == PNG
    assert done.out == ""
    assert "saved to" in done.err


def test_what_a_terminal_cannot_show_is_kept_in_a_new_file(
    holdfast: Run, gateway: Any, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    first = holdfast("infer", "echo", "/", "-d", f"@{picture}")
    holdfast("infer", "echo", "/", "-d", f"@{picture}")
    assert "saved to answer-r-1.png (--output FILE chooses the name)" in first.err
    assert (tmp_path / "answer-r-1.png").read_bytes() == (tmp_path / "answer-r-1-2.png").read_bytes() == PNG


def test_json_carries_answer_timings_and_request_id(holdfast: Run, gateway: Any, picture: Path) -> None:
    found = json.loads(holdfast("infer", "echo", "/", "-d", '{"a": 1}', "--json").out)
    assert (found["body"], found["request_id"], found["status"]) == ({"a": 1}, "r-1", 200)
    assert (found["timings"]["queue_s"], found["timings"]["replica"]) == (0.25, "echo-0")
    assert "base64" in json.loads(holdfast("infer", "echo", "/", "-d", f"@{picture}", "--json").out)


def test_timings_go_to_standard_error(holdfast: Run, gateway: Any) -> None:
    done = holdfast("infer", "echo", "/", "-d", "1", "--timings")
    assert done.out == "1"
    assert "held     0.250 s" in done.err
    assert "model    0.500 s" in done.err
    assert "replica  echo-0, attempt 1" in done.err


def test_a_stream_of_events_is_printed_as_its_data(holdfast: Run, gateway: Any) -> None:
    assert holdfast("infer", "count", "/", "-d", '{"to": 3}', "--stream").out == "1\n2\n3\n"


def test_any_other_stream_is_printed_as_it_is(holdfast: Run, gateway: Any, tmp_path: Path) -> None:
    assert holdfast("infer", "echo", "/", "-d", '"ab"', "--stream").out == '"ab"'
    holdfast("infer", "count", "/", "-d", '{"to": 1}', "--stream", "-o", tmp_path / "raw")
    assert (tmp_path / "raw").read_text() == ": keep-alive\n\ndata: 1\n\n"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, Exit.REFUSED),
        (401, Exit.NOT_ALLOWED),
        (403, Exit.NOT_ALLOWED),
        (404, Exit.NOT_FOUND),
        (413, Exit.REFUSED),
        (422, Exit.REFUSED),
        (429, Exit.BUSY),
        (502, Exit.FAILED),
        (503, Exit.BUSY),
        (504, Exit.TIMEOUT),
    ],
)
def test_every_refusal_has_its_exit_code(
    status: int, code: Exit, holdfast: Run, gateway: Any, standin: Any
) -> None:
    gateway.script += [standin.problem("some-problem", status, detail="it is so.", remedy="Do this.")] * 3
    done = holdfast("infer", "echo", "/", expect=code)
    assert done.err == f"error: {status} some-problem: it is so (request r-1)\n  next: Do this.\n"


def test_an_error_of_the_model_has_an_exit_code_of_its_own(holdfast: Run, gateway: Any, standin: Any) -> None:
    gateway.script.append(httpx2.Response(422, headers=standin.MODEL_HEADERS, text="no image"))
    done = holdfast("infer", "echo", "/", expect=Exit.MODEL)
    assert "the model answered 422: no image" in done.err


def test_a_gateway_that_is_not_there_is_unreachable(holdfast: Run, gateway: Any) -> None:
    gateway.script += [httpx2.ConnectError("Connection refused")] * 3
    done = holdfast("infer", "echo", "/", expect=Exit.UNREACHABLE)
    assert "http://gateway.test could not be reached" in done.err
    assert "`holdfast sandbox status`" in done.err


def test_without_a_url_it_says_where_to_put_one(
    holdfast: Run, gateway: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HOLDFAST_URL")
    assert "no gateway URL" in holdfast("ls", expect=Exit.USAGE).err
    assert holdfast("ls", "--url", "http://gateway.test").code == Exit.OK


def test_a_token_file_is_read_and_a_missing_one_named(holdfast: Run, gateway: Any, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hf_file_token\n")
    holdfast("ls", "--token-file", tmp_path / "token")
    assert gateway.requests[0].headers["authorization"] == "Bearer hf_file_token"
    assert "cannot be read" in holdfast("ls", "--token-file", tmp_path / "no", expect=Exit.USAGE).err


def test_a_request_is_submitted_watched_and_fetched(holdfast: Run, gateway: Any) -> None:
    submitted = holdfast("submit", "echo", "/", "-d", '{"n": 1}', "--webhook-url", "https://me.test/h")
    assert submitted.out == "job-1\n"
    assert "holdfast result job-1" in submitted.err
    assert gateway.requests[0].headers["webhook-url"] == "https://me.test/h"
    assert holdfast("result", "job-1", "--status").out == "QUEUED\n"
    assert holdfast("result", "job-1").out == '{"n":1}'
    assert json.loads(holdfast("result", "job-1", "--status", "--json").out)["status"] == "SUCCEEDED"


def test_a_canceled_request_has_an_exit_code_of_its_own(holdfast: Run, gateway: Any) -> None:
    holdfast("submit", "echo", "/", "-d", "1", "--json")
    assert holdfast("cancel", "job-1").out == "CANCELED: it was made to be canceled\n"
    assert "ended CANCELED" in holdfast("result", "job-1", expect=Exit.CANCELED).err


def test_an_unknown_request_is_not_found(holdfast: Run, gateway: Any) -> None:
    assert "no request nope" in holdfast("result", "nope", expect=Exit.NOT_FOUND).err


def test_the_list_shows_what_scripts_and_people_need(holdfast: Run, gateway: Any) -> None:
    lines = holdfast("ls").out.splitlines()
    assert lines[0].split() == ["NAME", "URL", "VISIBILITY", "STATE", "REPLICAS", "WAITING"]
    assert lines[2].split() == ["echo", "http://gateway.test/e/echo", "private", "active", "1/3", "0"]
    listed = json.loads(holdfast("ls", "--json").out)
    assert [(one["name"], one["url"], one["replicas"]["ready"]) for one in listed] == [
        ("count", "http://gateway.test/e/count", 1),
        ("echo", "http://gateway.test/e/echo", 1),
    ]


def test_an_empty_list_says_why_it_may_be_empty(holdfast: Run, gateway: Any) -> None:
    gateway.script.append(httpx2.Response(200, json={"endpoints": []}))
    done = holdfast("ls")
    assert done.out == ""
    assert "your token opens none" in done.err


def test_status_names_what_is_wrong(holdfast: Run, gateway: Any) -> None:
    found = {
        "name": "echo",
        "state": "active",
        "failure": "image x: not found",
        "last_request_at": 0,
        "last_cold_start": {"scaled": 0.1, "ready": 2.25, "pulled": None},
    }
    gateway.script.append(httpx2.Response(200, json=found))
    shown = holdfast("status", "echo").out
    assert "state            failing" in shown
    assert "wrong            image x: not found" in shown
    assert "last request     1970-01-01T00:00:00+00:00" in shown
    assert "last cold start  scaled 0.1 s, ready 2.2 s" in shown
    assert holdfast("status", "nope", expect=Exit.NOT_FOUND).err.startswith("error: 404 unknown-endpoint")


NODE = {
    "phase": "node",
    "low_s": 80.0,
    "high_s": 120.0,
    "last_s": 131.25,
    "verdict": "slower",
    "why": "a GPU",
}
PULL = {"phase": "pull", "low_s": None, "high_s": None, "last_s": 61.0, "verdict": None, "why": "no size"}
LOAD = {
    "phase": "load and ready",
    "low_s": 2.9,
    "high_s": None,
    "last_s": None,
    "verdict": None,
    "why": "19 GB",
}


def test_status_shows_each_phase_of_a_cold_start_beside_its_estimate(holdfast: Run, gateway: Any) -> None:
    found = {"name": "echo", "cold_start_phases": [NODE, PULL, LOAD]}
    gateway.script += [httpx2.Response(200, json=found), httpx2.Response(200, json=found)]
    table = holdfast("status", "echo").out.split("\n\n")[1].splitlines()
    assert [re.split(r"  +", line) for line in table] == [
        ["COLD START", "ESTIMATED", "LAST", "THAN ESTIMATED", "FROM"],
        ["node", "80–120 s", "131.2 s", "slower", "a GPU"],
        ["pull", "unknown", "61.0 s", "-", "no size"],
        ["load and ready", "2.9 s or more", "-", "-", "19 GB"],
    ]
    assert json.loads(holdfast("status", "echo", "--json").out)["cold_start_phases"] == [NODE, PULL, LOAD]


def test_status_of_a_start_within_its_estimate_calls_it_neither_slower_nor_faster(
    holdfast: Run, gateway: Any
) -> None:
    within = {**NODE, "last_s": 95.0, "verdict": "within"}
    gateway.script.append(httpx2.Response(200, json={"name": "echo", "cold_start_phases": [within]}))
    assert re.search(r"^node +80–120 s +95.0 s +- ", holdfast("status", "echo").out, re.MULTILINE)


def test_status_shows_no_table_where_an_older_gateway_tells_no_phases(holdfast: Run, gateway: Any) -> None:
    gateway.script.append(httpx2.Response(200, json={"name": "echo"}))
    assert "ESTIMATED" not in holdfast("status", "echo").out


def test_no_output_carries_colours_when_it_is_no_terminal(holdfast: Run, gateway: Any) -> None:
    done = holdfast("ls")
    assert "\x1b" not in done.out + done.err


def test_an_answer_that_could_not_be_kept_is_not_asked_for(
    holdfast: Run, gateway: Any, tmp_path: Path
) -> None:
    output = tmp_path / "none" / "answer.json"
    done = holdfast("infer", "echo", "/", "-d", "1", "-o", output, expect=Exit.USAGE)
    assert f"--output {output} cannot be written; nothing was sent" in done.err
    assert "next: name a file in a folder that exists" in done.err
    assert gateway.requests == []


def test_numbers_that_json_does_not_know_are_a_mistake_of_the_command_line(holdfast: Run) -> None:
    done = holdfast("infer", "echo", "/", "-d", '{"a": NaN}', expect=Exit.USAGE)
    assert "is not JSON: NaN is no JSON number" in done.err


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (("infer", "echo", "/"), "next: --timeout SECONDS allows more"),
        (("ls",), "next: try again; if it stays so, look how the gateway does"),
    ],
)
def test_a_timeouts_remedy_names_only_options_that_the_command_has(
    words: tuple[str, ...], remedy: str, holdfast: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ReadTimeout("late", request=request)

    threads = httpx2.Client
    monkeypatch.setattr(httpx2, "Client", lambda **_: threads(transport=httpx2.MockTransport(late)))
    monkeypatch.setenv("HOLDFAST_URL", "http://gateway.test")
    assert remedy in holdfast(*words, expect=Exit.TIMEOUT).err
