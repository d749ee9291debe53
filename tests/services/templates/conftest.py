"""Templates' servers as processes, each in an environment made from its own lock file."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
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

ROOT = Path(__file__).resolve().parents[3]
START_DEADLINE_S = 60


@dataclass(frozen=True)
class Running:
    """A template's server that is ready."""

    url: str
    pid: int
    log: Path
    ready_after_s: float


def _environment(folder: Path) -> Path:
    """A Python with exactly the template's locked packages; made once per lock and kept in the cache."""
    lock = folder / "requirements.lock"
    key = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()[:12]
    cache = (
        Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "holdfast" / "test-environments"
    )
    cache.mkdir(parents=True, exist_ok=True)
    made = cache / f"{folder.name}-{key}"
    with (cache / f"{folder.name}.lock").open("w") as exclusive:
        fcntl.flock(exclusive, fcntl.LOCK_EX)
        if not (made / "complete").is_file():
            shutil.rmtree(made, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", str(made)], check=True)
            install = [
                str(made / "bin" / "python"),
                "-m",
                "pip",
                "install",
                "-q",
                "--require-hashes",
                "-r",
                str(lock),
            ]
            subprocess.run(install, check=True)
            (made / "complete").touch()
    return made / "bin" / "python"


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/healthcheck", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@contextlib.contextmanager
def _serve(name: str, log: Path) -> Iterator[Running]:
    folder = ROOT / "templates" / name
    python = _environment(folder)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    # As in its image: nothing of this process's environment but PATH.
    environ = {
        "PATH": os.environ["PATH"],
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [python, folder / "server.py"], env=environ, stdout=output, stderr=output, start_new_session=True
        )
    began = time.monotonic()
    try:
        while not _healthy(url):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() - began < START_DEADLINE_S, log.read_text()
            time.sleep(0.05)
        yield Running(url, process.pid, log, time.monotonic() - began)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture(scope="session")
def template_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Running]]:
    """Starts a template's server by the template's name, once per session."""
    with contextlib.ExitStack() as stack:
        running: dict[str, Running] = {}

        def start(name: str) -> Running:
            if name not in running:
                log = tmp_path_factory.mktemp(name) / "log"
                running[name] = stack.enter_context(_serve(name, log))
            return running[name]

        yield start
