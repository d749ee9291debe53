"""`holdfast serve` as a process: it answers, takes changes, and lives through a mistake."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from bench.ports import free_port

from holdfast_cli.main import main

DEADLINE_S = 30.0


@dataclass(frozen=True)
class Serving:
    """A running `holdfast serve`."""

    folder: Path
    url: str
    log: Path

    def ask(self) -> str:
        """The answer to the folder's test request; empty while nothing answers."""
        body = (self.folder / "request.json").read_bytes()
        request = urllib.request.Request(self.url, body, {"content-type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return str(json.load(answer)["greeting"])
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return ""

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for it; fails the test with the log at the deadline."""
        ends = time.monotonic() + DEADLINE_S
        while not condition():
            if time.monotonic() > ends:
                pytest.fail(f"not within {DEADLINE_S} s: {what}\n{self.log.read_text()}")
            time.sleep(0.1)


@pytest.fixture
def serving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serving]:
    monkeypatch.chdir(tmp_path)
    assert main(["init", "hello"]) == 0
    port = free_port()
    log = tmp_path / "log"
    words = ["-c", "import sys; from holdfast_cli.main import main; sys.exit(main())", "serve", "hello"]
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, *words, "--port", str(port)],
            stdout=out,
            stderr=out,
            start_new_session=True,
            # A shell makes what it starts in the background deaf to interrupts, and tests may run there.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    try:
        yield Serving(tmp_path / "hello", f"http://127.0.0.1:{port}/", log)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(20) == 130
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_change_is_served_and_a_mistake_is_shown_and_mended(serving: Serving) -> None:
    serving.until(lambda: serving.ask() == "Hello, Ada! Hello, Ada!", "the first answer")
    file = serving.folder / "service.py"
    text = file.read_text()
    file.write_text(text.replace('"Hello"', '"Moin"'))
    serving.until(lambda: serving.ask() == "Moin, Ada! Moin, Ada!", "the changed answer")
    file.write_text(text.replace("def infer(self, name: str", "def infer(self, name"))
    serving.until(
        lambda: "parameter name has no annotation: write its type" in serving.log.read_text(), "the mistake"
    )
    serving.until(lambda: "waiting for a change" in serving.log.read_text(), "it waits")
    file.write_text(text)
    serving.until(lambda: serving.ask() == "Hello, Ada! Hello, Ada!", "the mended answer")
