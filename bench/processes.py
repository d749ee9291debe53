"""Processes of a benchmark: each in a group of its own, its output in a file, ended whatever happens."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import psutil

__all__ = [
    "ROOT",
    "Process",
    "Processes",
]

ROOT = Path(__file__).resolve().parents[1]


class Process:
    """One command; can be killed and started again with the same arguments."""

    def __init__(self, argv: list[str], log: Path, env: Mapping[str, str] | None = None) -> None:
        self.log = log
        self._argv = argv
        self._env = dict(env or {})
        self._popen: subprocess.Popen[bytes] | None = None
        self._spent_before_s = 0.0

    def start(self) -> None:
        """Start it; nothing happens where it runs."""
        if self.alive:
            return
        with self.log.open("ab") as out:
            self._popen = subprocess.Popen(
                self._argv,
                cwd=ROOT,
                env={**os.environ, **self._env},
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Raises RuntimeError where it was never started."""
        if self._popen is None:
            raise RuntimeError(f"{self._argv[0]} was not started")
        return self._popen.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._popen is not None and self._popen.poll() is None

    def signal(self, number: int) -> None:
        """To its whole group; nothing happens where it is gone."""
        if self._popen is not None and self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._popen.pid, number)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        if self._popen is not None:
            self._popen.wait()

    def processor_s(self) -> float:
        """Processor seconds spent so far."""
        times = psutil.Process(self.pid).cpu_times()
        return float(times.user + times.system)

    def memory_bytes(self) -> int:
        """Resident memory now."""
        return int(psutil.Process(self.pid).memory_info().rss)

    def wait_listening(self, port: int, within_s: float = 30.0) -> None:
        """Return when something listens on the port. Raises RuntimeError with the end of the log otherwise."""
        ends = time.monotonic() + within_s
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return
            if not self.alive or time.monotonic() > ends:
                tail = self.log.read_text(errors="replace")[-2000:] if self.log.exists() else ""
                raise RuntimeError(f"{' '.join(self._argv[:4])} does not listen on port {port}:\n{tail}")
            time.sleep(0.02)


class Processes:
    """Ends all that were added when the block ends."""

    def __init__(self) -> None:
        self._all: list[Process] = []

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in reversed(self._all):
            process.signal(signal.SIGKILL)
        for process in self._all:
            process.kill()

    def add(self, process: Process) -> Process:
        """Start it and end it with the others."""
        self._all.append(process)
        process.start()
        return process
