"""Child processes of the host: started with their output as a stream, and ended with it."""

from __future__ import annotations

import queue
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Final, Literal

Channel = Literal["stdout", "stderr"]

END_S: Final = 5.0
"""How long a child may take to end after SIGTERM before it is killed."""


class Children:
    """Every process that the host has started and that may still run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._over = False

    def start(
        self,
        command: Sequence[str | Path],
        *,
        cwd: str | Path,
        environment: Mapping[str, str] | None = None,
        piped: bool,
    ) -> subprocess.Popen[bytes]:
        """Start a child. `piped`: its output is read by the caller; else it goes where the host's goes."""
        output = subprocess.PIPE if piped else None
        child = subprocess.Popen(
            command, cwd=cwd, env=environment, stdin=subprocess.PIPE, stdout=output, stderr=output
        )
        with self._lock:
            self._running.add(child)
            over = self._over
        if over:
            self.end(child)  # the call that started it had not heard of the end
        return child

    def wait(self, child: subprocess.Popen[bytes]) -> int:
        """Wait for the end of a child and forget it; returns its exit code."""
        code = child.wait()
        with self._lock:
            self._running.discard(child)
        return code

    def end(self, child: subprocess.Popen[bytes]) -> None:
        """End a child; nothing happens when it has ended."""
        with suppress(ProcessLookupError):
            child.terminate()
        try:
            child.wait(END_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def end_all(self) -> None:
        """End every child that still runs, and every one that is started from now on."""
        with self._lock:
            self._over = True
            running = list(self._running)
        for child in running:
            self.end(child)


def lines(child: subprocess.Popen[bytes]) -> Iterator[tuple[Channel, bytes]]:
    """Its output line by line as it comes, until both channels are closed."""
    found: queue.Queue[tuple[Channel, bytes] | None] = queue.Queue()

    def pump(stream: IO[bytes], channel: Channel) -> None:
        for line in iter(stream.readline, b""):
            found.put((channel, line))
        found.put(None)

    assert child.stdout is not None, "started with piped output"
    assert child.stderr is not None, "started with piped output"
    sources: tuple[tuple[IO[bytes], Channel], ...] = ((child.stdout, "stdout"), (child.stderr, "stderr"))
    for stream, channel in sources:
        threading.Thread(target=pump, args=(stream, channel), daemon=True).start()
    open_channels = len(sources)
    while open_channels:
        item = found.get()
        if item is None:
            open_channels -= 1
        else:
            yield item
