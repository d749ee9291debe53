"""Reading logs and events with kubectl."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast_cli.commands.cluster import events_of
from holdfast_cli.exits import Exit
from holdfast_cli.kubectl import started

Run = Callable[..., Any]


def _event(about: str, at: str = "2026-01-01T00:00:00Z", **more: Any) -> dict[str, Any]:
    return {
        "metadata": {"uid": f"{about}{at}", "creationTimestamp": at},
        "involvedObject": {"kind": "Pod", "name": about},
        "lastTimestamp": at,
        "type": "Warning",
        "reason": "Failed",
        "message": "it did\n not work",
        **more,
    }


def test_events_of_one_endpoint_are_not_those_of_another_with_a_longer_name() -> None:
    about = [
        "ocr",
        "ocr-5f6b-x2",
        "keda-hpa-ocr",
        "ocr-big",
        "ocr-big-77-a",
        "keda-hpa-ocr-big",
        "ocrs",
        "chat-1",
    ]
    found = events_of("ocr", {"ocr", "ocr-big", "chat"}, [_event(name) for name in about])
    assert [one["involvedObject"]["name"] for one in found] == ["ocr", "ocr-5f6b-x2", "keda-hpa-ocr"]
    assert len(events_of("ocr-big", {"ocr", "ocr-big"}, [_event(name) for name in about])) == 3


def test_events_come_in_the_order_of_time() -> None:
    found = events_of(
        "a", {"a"}, [_event("a", "2026-01-02T00:00:00Z"), _event("a-1", "2026-01-01T00:00:00Z")]
    )
    assert [one["involvedObject"]["name"] for one in found] == ["a-1", "a"]


def test_a_container_that_has_not_begun_has_no_log() -> None:
    def pod(**state: Any) -> dict[str, Any]:
        return {"status": {"containerStatuses": [{"name": "model", **state}]}}

    assert started(pod(state={"running": {}}, restartCount=0), "model") == 0
    assert started(pod(state={"waiting": {}}, lastState={"terminated": {}}, restartCount=2), "model") == 2
    assert started(pod(state={"waiting": {}}, lastState={}), "model") is None
    assert started(pod(state={"running": {}}), "worker") is None
    assert started({}, "model") is None


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Puts a `kubectl` on PATH that does as the script says and notes how it was called."""

    def put(script: str) -> Path:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        calls = tmp_path / "calls"
        program = folder / "kubectl"
        program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >> {calls}\n{script}\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        monkeypatch.setenv("KUBECONFIG", "/some/where")
        return calls

    return put


def _answer(value: Any) -> str:
    return f"cat <<'END'\n{json.dumps(value)}\nEND"


def test_logs_are_asked_for_by_replica_with_the_pods_name_before_each_line(
    holdfast: Run, kubectl: Callable[[str], Path]
) -> None:
    status = {"containerStatuses": [{"name": "model", "state": {"running": {}}}]}
    pods = {"items": [{"metadata": {"name": "ocr-1"}, "status": status}]}
    script = f'case "$*" in *logs*) echo "[pod/ocr-1/model] hello";; *) {_answer(pods)}\n;; esac'
    calls = kubectl(script)
    assert holdfast("logs", "ocr", "--tail", "5").out == "[pod/ocr-1/model] hello\n"
    assert calls.read_text().splitlines() == [
        "-n holdfast get pods -o json -l holdfast.dev/endpoint=ocr",
        "-n holdfast logs ocr-1 -c model --prefix --tail=5",
    ]


def test_logs_that_kubectl_cannot_read_are_no_success(holdfast: Run, kubectl: Callable[[str], Path]) -> None:
    pods = _answer({"items": [_pod({"running": {}})]})
    kubectl(f'case "$*" in *logs*) echo forbidden >&2; exit 1;; *) {pods}\n;; esac')
    done = holdfast("logs", "ocr", expect=Exit.FAILED)
    assert "forbidden\nerror: kubectl could not read the logs of ocr-1; it says why above\n" in done.err
    assert "next: check that your kubeconfig may read pods/log" in done.err


def test_logs_whose_reader_left_are_no_failure(holdfast: Run, kubectl: Callable[[str], Path]) -> None:
    pods = _answer({"items": [_pod({"running": {}})]})
    kubectl(f'case "$*" in *logs*) kill -PIPE $$;; *) {pods}\n;; esac')
    assert holdfast("logs", "ocr").err == ""


def test_an_endpoint_without_replicas_has_no_logs_and_says_what_to_do(
    holdfast: Run, kubectl: Callable[[str], Path]
) -> None:
    kubectl(_answer({"items": []}))
    done = holdfast("logs", "ocr", expect=Exit.NOT_UP)
    assert "endpoint ocr has no replica in namespace holdfast" in done.err
    assert "`holdfast events ocr`" in done.err


def _pod(state: dict[str, Any], restarts: int = 0) -> dict[str, Any]:
    status = {"containerStatuses": [{"name": "model", "state": state, "restartCount": restarts}]}
    return {"metadata": {"name": "ocr-1"}, "status": status}


def test_a_replica_that_answers_before_its_kubelet_says_that_it_runs_has_logs(
    holdfast: Run, kubectl: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = _answer({"items": [_pod({"waiting": {}})]}), _answer({"items": [_pod({"running": {}})]})
    seen = f"if mkdir {tmp_path}/looked 2>/dev/null; then {before}\nelse {after}\nfi"
    kubectl(f'case "$*" in *logs*) echo hello;; *) {seen};; esac')
    monkeypatch.setattr("holdfast_cli.commands.cluster.time.sleep", lambda _: None)
    assert holdfast("logs", "ocr").out == "hello\n"


def test_a_replica_that_does_not_start_has_no_logs_and_says_what_to_do(
    holdfast: Run, kubectl: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = kubectl(_answer({"items": [_pod({"waiting": {}})]}))
    monkeypatch.setattr("holdfast_cli.commands.cluster.time.sleep", lambda _: None)
    done = holdfast("logs", "ocr", expect=Exit.NOT_UP)
    assert "the model container of no replica has started yet: it has no log" in done.err
    assert "`holdfast events ocr` says what happened; -f waits for one" in done.err
    assert len(calls.read_text().splitlines()) == 5


def test_events_are_shown_one_a_line(holdfast: Run, kubectl: Callable[[str], Path]) -> None:
    kubectl(
        f'case "$*" in *configmaps*) {_answer({"items": []})}\n;; *) {_answer({"items": [_event("ocr-1")]})}\n;; esac'
    )
    lines = holdfast("events", "ocr").out.splitlines()
    assert lines[1].split(maxsplit=4) == [
        "2026-01-01T00:00:00Z",
        "Warning",
        "pod/ocr-1",
        "Failed",
        "it did not work",
    ]
    assert json.loads(holdfast("events", "ocr", "--json").out)[0]["reason"] == "Failed"


def _stop_after(monkeypatch: pytest.MonkeyPatch, rounds: int) -> None:
    """Ctrl-C, once a command that goes on for ever has looked so many times."""
    left = iter(range(rounds))

    def sleep(_: float) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt

    monkeypatch.setattr("holdfast_cli.commands.cluster.time.sleep", sleep)


def test_following_logs_ends_when_its_reader_left(
    holdfast: Run, kubectl: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pods = _answer({"items": [_pod({"running": {}})]})
    kubectl(f'case "$*" in *logs*) kill -PIPE $$;; *) {pods}\n;; esac')
    # As many looks as a busy machine may need until the follower has ended; then the test fails.
    _stop_after(monkeypatch, 200)
    assert holdfast("logs", "ocr", "-f").err == ""


def test_following_logs_takes_up_replicas_that_start_later_and_leaves_no_process(
    holdfast: Run, kubectl: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = {"containerStatuses": [{"name": "model", "state": {"running": {}}}]}
    one, two = ({"metadata": {"name": name}, "status": status} for name in ("ocr-1", "ocr-2"))
    first, both = _answer({"items": [one]}), _answer({"items": [one, two]})
    kubectl(f"if mkdir {tmp_path}/looked 2>/dev/null; then {first}\nelse {both}\nfi")
    followed: list[str] = []
    processes: list[subprocess.Popen[bytes]] = []

    class Recorded(subprocess.Popen[bytes]):
        def __init__(self, words: list[str], **how: Any) -> None:
            if "logs" in words:
                assert words[-4:] == ["model", "--prefix", "--tail=100", "--follow"]
                followed.append(words[4])
                processes.append(self)
                words = ["sleep", "60"]
            super().__init__(words, **how)

    monkeypatch.setattr(subprocess, "Popen", Recorded)
    _stop_after(monkeypatch, 3)
    holdfast("logs", "ocr", "-f", expect=Exit.INTERRUPTED)
    assert followed == ["ocr-1", "ocr-2"]
    assert all(one.returncode is not None for one in processes)


def test_following_logs_takes_up_a_container_that_was_restarted(
    holdfast: Run, kubectl: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash loop went silent after its first crash."""
    before, after = (_answer({"items": [_pod({"running": {}}, restarts)]}) for restarts in (0, 1))
    kubectl(
        f'case "$*" in *logs*) echo "$*" >> {tmp_path}/followed;; '
        f"*) if mkdir {tmp_path}/looked 2>/dev/null; then {before}\nelse {after}\nfi;; esac"
    )
    _stop_after(monkeypatch, 3)
    holdfast("logs", "ocr", "-f", expect=Exit.INTERRUPTED)
    followed = (tmp_path / "followed").read_text().splitlines()
    assert [line.split()[-2] for line in followed] == ["--tail=100", "--tail=-1"]


def test_following_events_shows_each_once(
    holdfast: Run, kubectl: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing, something = _answer({"items": []}), _answer({"items": [_event("ocr-1")]})
    kubectl(f'case "$*" in *configmaps*) {nothing}\n;; *) {something}\n;; esac')
    _stop_after(monkeypatch, 3)
    assert holdfast("events", "ocr", "-f", expect=Exit.INTERRUPTED).out.count("it did not work") == 1


def test_kubectls_own_words_are_passed_on(holdfast: Run, kubectl: Callable[[str], Path]) -> None:
    kubectl("echo 'The connection to the server was refused' >&2; exit 1")
    done = holdfast("logs", "ocr", expect=Exit.FAILED)
    assert (
        "kubectl cannot read pods in namespace holdfast: The connection to the server was refused" in done.err
    )


def test_without_kubectl_or_kubeconfig_it_says_where_to_get_them(
    holdfast: Run, kubectl: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubectl("exit 1")
    monkeypatch.delenv("KUBECONFIG")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "no kubeconfig" in holdfast("logs", "ocr", expect=Exit.USAGE).err
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "kubectl is not on PATH" in holdfast("events", "ocr", expect=Exit.USAGE).err
