"""Real processes: started, recorded, recognised, restarted, ended."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from holdfast_sandbox import processes
from holdfast_sandbox.errors import SandboxError
from holdfast_sandbox.paths import Paths


@pytest.fixture
def paths(tmp_path: Path) -> Iterator[Paths]:
    """Folders of a sandbox; whatever was started in it is ended."""
    made = Paths(state=tmp_path / "state", run=tmp_path / "run", cache=tmp_path / "cache")
    yield made
    processes.stop(made, list(processes.running(made)))
    processes.end(processes.strays(made), grace_s=1)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_what_runs_is_not_started_twice(paths: Paths) -> None:
    assert processes.start(paths, "sleeper", ["sleep", "60"])
    pid = processes.pid_of(paths, "sleeper")

    assert not processes.start(paths, "sleeper", ["sleep", "60"])
    assert processes.running(paths) == {"sleeper": pid}


def test_other_arguments_restart_it(paths: Paths) -> None:
    processes.start(paths, "sleeper", ["sleep", "60"])
    before = processes.pid_of(paths, "sleeper")

    assert processes.start(paths, "sleeper", ["sleep", "61"])
    assert processes.pid_of(paths, "sleeper") != before
    assert before is not None
    assert not alive(before)


def test_other_variables_or_configuration_restart_it_and_another_path_does_not(
    paths: Paths, tmp_path: Path
) -> None:
    configuration = tmp_path / "configuration"
    configuration.write_text("a")

    def start(text: str, **environment: str) -> bool:
        configuration.write_text(text)
        return processes.start(
            paths,
            "sleeper",
            ["sleep", "60"],
            environment={"PATH": "/bin:/usr/bin", **environment},
            files=[configuration],
        )

    assert start("a", A="1")
    assert not start("a", A="1", PATH="/usr/bin:/bin")
    assert start("a", A="2")
    assert start("b", A="2")


def test_a_process_that_died_is_not_running(paths: Paths) -> None:
    processes.start(paths, "sleeper", ["sleep", "60"])
    pid = processes.pid_of(paths, "sleeper")
    assert pid is not None
    psutil.Process(pid).send_signal(signal.SIGKILL)

    deadline = time.monotonic() + 5
    while processes.pid_of(paths, "sleeper") is not None:
        assert time.monotonic() < deadline


@pytest.mark.parametrize("damage", ["other start time", "other boot", "garbage"])
def test_a_pid_that_is_not_ours_is_neither_believed_nor_killed(paths: Paths, damage: str) -> None:
    with subprocess.Popen(["sleep", "60"]) as other:
        processes.start(paths, "sleeper", ["sleep", "60"])
        processes.stop(paths, ["sleeper"])
        ticks = processes._start_ticks(other.pid)
        record = {
            "other start time": f"{other.pid} {(ticks or 0) + 1} {processes.boot_id()} x",
            "other boot": f"{other.pid} {ticks} another-boot x",
            "garbage": f"{other.pid}",
        }[damage]
        (paths.run / "pids" / "sleeper").write_text(record)

        assert processes.pid_of(paths, "sleeper") is None
        processes.stop(paths, ["sleeper"])
        assert other.poll() is None
        other.kill()


def test_children_and_those_that_ignore_sigterm_are_ended(paths: Paths) -> None:
    script = "trap '' TERM; sleep 61 & echo ready; wait; wait"
    processes.start(paths, "stubborn", ["sh", "-c", script])
    pid = processes.pid_of(paths, "stubborn")
    assert pid is not None
    deadline = time.monotonic() + 5
    while "ready" not in processes.log_tail(paths, "stubborn"):
        assert time.monotonic() < deadline
    children = psutil.Process(pid).children()
    assert children

    processes.end([*children, psutil.Process(pid)], grace_s=0.3)

    assert not any(alive(one) for one in (pid, *(child.pid for child in children)))


def test_a_process_whose_record_was_lost_is_a_stray_and_its_children_are_not(paths: Paths) -> None:
    processes.start(paths, "parent", ["sh", "-c", "sleep 62 & wait"])
    pid = processes.pid_of(paths, "parent")
    assert processes.strays(paths) == []

    (paths.run / "pids" / "parent").unlink()

    assert [stray.pid for stray in processes.strays(paths)] == [pid]


def test_another_sandbox_does_not_see_it(paths: Paths, tmp_path: Path) -> None:
    processes.start(paths, "sleeper", ["sleep", "60"])
    pid = processes.pid_of(paths, "sleeper")
    other = Paths(state=tmp_path / "other", run=tmp_path / "other-run", cache=tmp_path / "cache")

    assert pid is not None
    assert processes.is_ours(paths, pid)
    assert not processes.is_ours(other, pid)
    assert processes.strays(other) == []


def test_the_terminals_variables_stay_in_the_terminal(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "real")
    processes.start(paths, "sleeper", ["sleep", "60"], environment={"GIVEN": "1"})
    pid = processes.pid_of(paths, "sleeper")
    assert pid is not None

    seen = psutil.Process(pid).environ()

    assert "AWS_SECRET_ACCESS_KEY" not in seen
    assert seen["GIVEN"] == "1"


def test_waiting_ends_at_once_with_the_log_when_the_process_has_ended(paths: Paths) -> None:
    processes.start(paths, "failing", ["sh", "-c", "sleep 0.2; echo no disk; exit 1"])
    began = time.monotonic()

    with pytest.raises(SandboxError) as error:
        processes.wait_until("it does not answer", lambda: False, 30, paths, "failing")

    assert time.monotonic() - began < 5
    assert str(error.value) == (
        f"it does not answer: it has ended; the end of {paths.log / 'failing.log'}:\n    no disk"
    )


def test_waiting_gives_up_after_its_time(paths: Paths) -> None:
    processes.start(paths, "sleeper", ["sleep", "60"])

    with pytest.raises(SandboxError) as error:
        processes.wait_until("it does not answer", lambda: False, 0.2, paths, "sleeper")

    assert str(error.value).startswith("it does not answer: not within 0 s; the end of ")
