"""`holdfast replay`: where requests and settings come from, what is shown, and what is said where they are wrong."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from holdfast_cli.exits import Exit
from pulumi_holdfast.foresight import replayed
from pulumi_holdfast.plan.declared import declared
from pulumi_holdfast.plan.replay import parse_trace
from pulumi_holdfast.spec.endpoint import EndpointSpec
from pulumi_holdfast.spec.hardware import hardware_table
from pulumi_holdfast.spec.parse import parse_endpoint
from pulumi_holdfast.spec.template import catalogue

Run = Callable[..., Any]
GUIDE = Path(__file__).resolve().parents[3] / "docs" / "guides" / "sizing.md"
PROMETHEUS = "http://localhost:9090"
URN = "urn:pulumi:prod::holdfast::holdfast:index:Endpoint::"
TRACE = "at_s,service_s\n0,10\n500,10\n1000,10\n"


def _spec(**scaling: int) -> EndpointSpec:
    return parse_endpoint(
        "chat", {"image": "ghcr.io/acme/chat:1", "hardware": "a10g", "scaling": scaling}, catalogue()
    )


def _state(**scaling: int) -> dict[str, Any]:
    return {"inputs": {"declared": declared(_spec(**scaling), hardware_table())}}


def _step(before: Any, after: Any, name: str = "chat") -> dict[str, Any]:
    return {"op": "update", "urn": f"{URN}{name}", "oldState": before, "newState": after}


def _preview(*steps: Any) -> str:
    return json.dumps({"steps": list(steps)})


def _described(**more: Any) -> httpx2.Response:
    scaling = _spec().scaling.model_dump()
    cost = {"usd_per_replica_hour": 1.006, "instance_type": "g5.xlarge"}
    phases = [{"phase": "node", "low_s": 80}, {"phase": "pull"}, {"phase": "load and ready"}]
    told = {"name": "chat", "scaling": scaling, "cost": cost, "cold_start_phases": phases}
    return httpx2.Response(200, json=told | more)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a trace and a preview in which `timeout_s` goes from 300 to 600."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "traces").mkdir()
    (tmp_path / "chat.csv").write_text(TRACE)
    preview = _preview(_step(_state(), _state(timeout_s=600)))
    (tmp_path / "preview.json").write_text(f"Previewing update (prod)\n{preview}\n")
    return tmp_path


def _finished() -> list[list[tuple[float, float, float]]]:
    """(end, service, wait) of each replica's requests, in seconds since the day began: one every eight minutes, from
    9 h to 13 h, each by a replica of its own; then 30, one every 5 s, on one replica."""
    alone = [[(9 * 3600 + number * 480 + 105.0, 20.0, 85.0)] for number in range(30)]
    begins = 16 * 3600.0
    row = [(begins + 85 + 20 * (n + 1), 20.0, 85 + 20 * n - 5.0 * n) for n in range(20)]
    return [*alone, row]


def _prometheus(request: httpx2.Request) -> httpx2.Response:
    """The counters of those replicas, from their first finished request until 300 s after their last."""
    assert request.url.path == "/api/v1/query_range"
    start, end, step = (float(request.url.params[name]) for name in ("start", "end", "step"))
    looks = [start + step * number for number in range(int((end - start) / step) + 1)]
    series = []
    for pod, ended in enumerate(_finished()):
        lived = [at for at in looks if ended[0][0] <= at - start <= ended[-1][0] + 300]
        done = {at: [one for one in ended if one[0] <= at - start] for at in lived}
        for name, place in (("holdfast_attempt_seconds", 1), ("holdfast_attempt_wait_seconds", 2)):
            labels = {"endpoint": "chat", "pod": f"chat-{pod}"}
            counted = [[at, str(len(done[at]))] for at in lived]
            summed = [[at, str(sum(one[place] for one in done[at]))] for at in lived]
            series.append({"metric": {"__name__": f"{name}_count", **labels}, "values": counted})
            series.append({"metric": {"__name__": f"{name}_sum", **labels}, "values": summed})
    data = {"resultType": "matrix", "result": series}
    return httpx2.Response(200, json={"status": "success", "data": data})


# --- the guide ----------------------------------------------------------------------------------------------
def test_the_guides_commands_print_what_stands_there(holdfast: Run, gateway: Any, folder: Path) -> None:
    blocks = re.findall(r"^```sh run\n(.*?)^```\n\n```text\n(.*?)^```", GUIDE.read_text(), re.M | re.S)
    assert GUIDE.read_text().count("```sh") == len(blocks) == 2
    gateway.script += [_prometheus, _described()]
    for command, output in blocks:
        name, *words = shlex.split(command)
        assert name == "holdfast"
        assert holdfast(*words).out == output
    assert len(parse_trace((folder / "traces/chat.csv").read_text())) == 50


def test_the_guides_trace_is_one() -> None:
    (trace,) = re.findall(r"^```text\n(at_s,.*?)^```", GUIDE.read_text(), re.M | re.S)
    assert len(parse_trace(trace)) == 2


# --- where the settings come from ---------------------------------------------------------------------------
def test_a_preview_gives_what_is_deployed_and_what_is_declared_now(holdfast: Run, folder: Path) -> None:
    words = ("replay", "chat", "--trace", "chat.csv", "--declared", "preview.json", "--json")
    told = json.loads(holdfast(*words).out)
    assert (told["endpoint"], told["seconds"]) == ("chat", 1010 + 600 + 5)
    assert (told["present"]["timeout_s"], told["proposed"]["timeout_s"]) == (300, 600)
    assert (told["present"]["cold_starts"], told["proposed"]["cold_starts"]) == (3, 1)
    assert told["present"]["cold_start_s"] == 85.05
    changed = json.loads(holdfast(*words, "--timeout-s", "900", "--max-queue", "0").out)["proposed"]
    assert (changed["timeout_s"], changed["max_queue"]) == (900, 0)


def test_it_says_what_the_preview_says_of_the_same_trace(holdfast: Run, folder: Path) -> None:
    words = ("replay", "chat", "--trace", "chat.csv", "--declared", "preview.json", "--json")
    side = json.loads(holdfast(*words).out)["present"]
    assert replayed(_spec(), parse_trace(TRACE)).startswith(
        f"replay of {side['requests']} requests: {side['cold_starts']} cold starts, waiting p50 "
        f"{side['waiting_p50_s']:.1f} s, p99 {side['waiting_p99_s']:.1f} s, {side['gpu_hours']:.2f} GPU hours"
    )


def test_an_export_gives_what_is_deployed_alone(holdfast: Run, folder: Path) -> None:
    resource = {"type": "holdfast:index:Endpoint", "urn": f"{URN}chat", **_state(max_replicas=4)}
    export = json.dumps({"version": 3, "deployment": {"resources": [{"type": "other"}, resource]}})
    words = ("replay", "chat", "--trace", "chat.csv", "--declared", "-", "--json")
    told = json.loads(holdfast(*words, stdin=export.encode()).out)
    assert set(told) == {"endpoint", "seconds", "present"}
    assert told["present"]["max_replicas"] == 4


def test_declared_sizes_count_in_the_start_as_they_do_in_a_preview(holdfast: Run, folder: Path) -> None:
    state = _state()
    state["inputs"]["declared"]["sizes"] = {"image_gb": 10, "weights_gb": 19}
    (folder / "sized.json").write_text(_preview(_step(state, state)))
    told = json.loads(
        holdfast("replay", "chat", "--trace", "chat.csv", "--declared", "sized.json", "--json").out
    )
    assert told["present"]["cold_start_s"] == pytest.approx(0.05 + 80 + 48 + 2.9 + 5, abs=0.1)


@pytest.mark.parametrize(("before", "after"), [(None, _state(timeout_s=60)), (_state(timeout_s=60), None)])
def test_an_endpoint_that_comes_or_goes_has_one_side(
    holdfast: Run, folder: Path, before: Any, after: Any
) -> None:
    (folder / "one.json").write_text(_preview(_step(before, after)))
    told = json.loads(
        holdfast("replay", "chat", "--trace", "chat.csv", "--declared", "one.json", "--json").out
    )
    assert told["present"]["timeout_s"] == 60
    assert "proposed" not in told


def test_the_gateway_gives_settings_price_and_the_last_real_cold_start(
    holdfast: Run, gateway: Any, folder: Path
) -> None:
    phases = {"scaled": 0.2, "scheduled": 41.0, "pulled": 50.0, "ready": 70.5, "answered": 80.0}
    gateway.script += [_described(last_cold_start=phases)] * 2
    words = ("replay", "chat", "--trace", "chat.csv", "--min-replicas", "1", "--json")
    told = json.loads(holdfast(*words).out)
    assert told["present"]["cold_start_s"] == 70.5
    assert told["present"]["waiting_p99_s"] == 70.5
    # One replica for as long as both sides are watched: 1,010 s, and the timeout after it.
    assert told["proposed"]["replica_hours"] == pytest.approx((1010 + 300 + 5) / 3600, abs=1e-4)
    assert told["proposed"]["cost_usd"] == pytest.approx(1.006 * (1010 + 300 + 5) / 3600, abs=0.005)
    assert told["proposed"]["gpu_hours"] is None
    assert json.loads(holdfast(*words, "--cold-start-s", "5").out)["present"]["waiting_p99_s"] == 5


@pytest.mark.parametrize(
    ("estimated", "cold_start_s"),
    [
        ([("node", 80), ("pull", None), ("load and ready", None)], 85.05),
        ([("node", 80), ("pull", 48), ("load and ready", 2.85)], 135.9),
        ([("node", None), ("pull", None), ("load and ready", None)], 5.05),
        ([], 5.05),
    ],
)
def test_without_a_real_cold_start_the_gateways_estimate_counts(
    holdfast: Run,
    gateway: Any,
    folder: Path,
    estimated: list[tuple[str, float | None]],
    cold_start_s: float,
) -> None:
    phases = [{"phase": phase, "low_s": low_s} for phase, low_s in estimated]
    gateway.script.append(_described(cost=None, cold_start_phases=phases))
    told = json.loads(holdfast("replay", "chat", "--trace", "chat.csv", "--json").out)
    assert told["present"]["cold_start_s"] == cold_start_s
    assert told["present"]["cost_usd"] is None


def test_a_day_without_requests_is_paid_for_whole(holdfast: Run, gateway: Any) -> None:
    gateway.script += [_prometheus, _described()]
    words = ("replay", "chat", "--prometheus", PROMETHEUS, "--min-replicas", "1", "--json")
    told = json.loads(holdfast(*words).out)
    assert told["seconds"] == 24 * 3600
    assert told["proposed"]["replica_hours"] == 24
    assert (told["present"]["requests"], told["proposed"]["cold_starts"]) == (50, 0)


def test_gpu_hours_count_every_gpu_of_a_replica_and_its_share_of_the_machine(
    holdfast: Run, folder: Path
) -> None:
    state = _state(min_replicas=1)
    state["inputs"]["declared"]["hardware"]["gpus"] = 4
    state["inputs"]["declared"]["cost"] |= {"usd_per_hour": 12.0, "replicas_per_instance": 2}
    (folder / "four.json").write_text(_preview(_step(state, state)))
    told = json.loads(
        holdfast("replay", "chat", "--trace", "chat.csv", "--declared", "four.json", "--json").out
    )
    hours = told["present"]["replica_hours"]
    assert told["present"]["gpu_hours"] == pytest.approx(4 * hours, abs=1e-3)
    assert told["present"]["cost_usd"] == pytest.approx(6.0 * hours, abs=0.01)


def test_a_queue_that_is_too_short_refuses(holdfast: Run, folder: Path) -> None:
    (folder / "burst.csv").write_text("at_s,service_s\n" + "0,10\n" * 5)
    words = (
        "replay",
        "chat",
        "--trace",
        "burst.csv",
        "--declared",
        "preview.json",
        "--max-queue",
        "1",
        "--json",
    )
    told = json.loads(holdfast(*words).out)
    assert (told["present"]["refused"], told["proposed"]["refused"]) == (0, 3)


# --- errors -------------------------------------------------------------------------------------------------
FROM_FILES = ("--trace", "chat.csv", "--declared", "preview.json")


@pytest.mark.parametrize(
    ("words", "code", "message", "remedy"),
    [
        ((), Exit.USAGE, "the requests come from one place", "give --trace FILE or --prometheus URL"),
        (
            ("--trace", "chat.csv", "--prometheus", PROMETHEUS),
            Exit.USAGE,
            "the requests come from one place",
            "give --trace FILE or --prometheus URL",
        ),
        (
            ("--trace", "chat.csv", "--hours", "3"),
            Exit.USAGE,
            "--hours is given beside --trace",
            "it belongs to --prometheus; a trace is replayed whole",
        ),
        (
            ("--trace", "none.csv"),
            Exit.USAGE,
            "--trace none.csv cannot be read: No such file or directory",
            "name a file that exists",
        ),
        (
            ("--trace", "wrong.csv"),
            Exit.USAGE,
            "--trace wrong.csv: trace line 3: service_s is 'ten', not a number of seconds of at least 0",
            "correct it",
        ),
        (
            ("--trace", "columns.csv"),
            Exit.USAGE,
            "--trace columns.csv: trace has no column service_s",
            "name the columns at_s and service_s in its first line",
        ),
        (
            ("--trace", "empty.csv"),
            Exit.USAGE,
            "--trace empty.csv has no request",
            "give one line for each below at_s,service_s",
        ),
        (("--trace", "latin.csv"), Exit.USAGE, "--trace latin.csv is not UTF-8 text", "save it as UTF-8"),
        (
            ("--prometheus", PROMETHEUS, "--hours", "200"),
            Exit.USAGE,
            "--hours is 200.0, not above 0 and at most 168",
            "choose a window within",
        ),
        (
            ("--prometheus", "localhost:9090"),
            Exit.USAGE,
            "--prometheus 'localhost:9090' is no URL",
            "write it as http://localhost:9090",
        ),
        (
            ("--prometheus", "http://me:hunter2@localhost:9090"),
            Exit.USAGE,
            "--prometheus holds credentials: every user of this machine sees a command line",
            "reach Prometheus without a login, as by `kubectl port-forward`",
        ),
        (
            (*FROM_FILES, "--save", "none/chat.csv"),
            Exit.FAILED,
            "--save none/chat.csv cannot be written: No such file or directory",
            "name a file in a folder that exists",
        ),
        (
            ("--trace", "chat.csv", "--declared", "wrong.csv"),
            Exit.USAGE,
            "--declared wrong.csv is not JSON (line 1)",
            "give what `pulumi preview --json` or `pulumi stack export` printed",
        ),
        (
            ("--trace", "chat.csv", "--declared", "other.json"),
            Exit.NOT_FOUND,
            '--declared other.json has no endpoint "chat"',
            "did you mean chats?",
        ),
        (
            ("--trace", "chat.csv", "--declared", "none.json"),
            Exit.NOT_FOUND,
            '--declared none.json has no endpoint "chat"',
            "give the stack that declares it",
        ),
        (
            ("--trace", "chat.csv", "--declared", "old.json"),
            Exit.USAGE,
            '--declared old.json does not say what endpoint "chat" declares',
            "give a preview by this version of holdfast, made with `pulumi preview --json`",
        ),
        (
            (*FROM_FILES, "--min-replicas", "5", "--max-replicas", "2"),
            Exit.USAGE,
            "proposed: scaling.min_replicas is 5, above max_replicas=2",
            "lower it or raise max_replicas",
        ),
        (
            (*FROM_FILES, "--max-replicas", "0", "--concurrency", "0"),
            Exit.USAGE,
            "proposed: scaling.max_replicas is 0, below 1; scaling.concurrency is 0, below 1",
            "use 1 or more; use 1 or more",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_remedy(
    holdfast: Run, folder: Path, words: tuple[str, ...], code: Exit, message: str, remedy: str
) -> None:
    (folder / "wrong.csv").write_text("at_s,service_s\n0,1\n1,ten\n")
    (folder / "columns.csv").write_text("at_s\n0\n")
    (folder / "empty.csv").write_text("at_s,service_s\n")
    (folder / "latin.csv").write_bytes(b"at_s,service_s,k\xfcrze\n")
    (folder / "other.json").write_text(_preview(_step(_state(), _state(), "chats")))
    (folder / "none.json").write_text("{}")
    (folder / "old.json").write_text(_preview(_step({"inputs": {}}, {"inputs": {}})))
    done = holdfast("replay", "chat", *words, expect=code)
    assert (done.out, done.err) == ("", f"error: {message}\n  next: {remedy}\n")


def test_an_endpoint_that_the_gateway_does_not_know_is_said(
    holdfast: Run, gateway: Any, folder: Path
) -> None:
    done = holdfast("replay", "chat", "--trace", "chat.csv", expect=Exit.NOT_FOUND)
    assert "no endpoint chat" in done.err
