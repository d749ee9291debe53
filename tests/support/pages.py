"""Pages of the documentation as their readers follow them: fenced blocks, and a terminal that keeps its state.

What follows a block's language says what a test does with it: `run` is run; `file=<path>` is written there; `beside` is
a command in a second terminal, which runs until the next `run` has ended. A `text` block right after a `run` is what
that prints.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

DEADLINE_S = 180
_FENCE = re.compile(r"^( *)```(.*)$")
_STATE = '\n{ pwd -P; env -0; } >"$READER_STATE"'
"""Appended to a command: where the terminal is afterwards, and with which variables."""


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    line: int
    """Of its first fence, counted from 1."""
    language: str
    mark: str
    """What follows the language."""
    text: str


def blocks(page: str) -> list[Block]:
    """Every fenced block of a page, in order."""
    found: list[Block] = []
    opened: tuple[int, str, str] | None = None
    inside: list[str] = []
    for number, line in enumerate(page.splitlines(), 1):
        fence = _FENCE.match(line)
        if opened is None and fence:
            opened, inside = (number, fence[1], fence[2]), []
        elif opened is not None and fence and not fence[2]:
            language, _, mark = opened[2].partition(" ")
            found.append(Block(opened[0], language, mark, "".join(f"{one}\n" for one in inside)))
            opened = None
        elif opened is not None:
            inside.append(line.removeprefix(opened[1]))
    assert opened is None, f"the block of line {opened and opened[0]} has no end"
    return found


def shows(shown: str, printed: str) -> bool:
    """Whether a page's `text` is what was printed: `…` stands for anything, a figure with a decimal point for any other
    such figure; runs of spaces are one."""
    parts = re.split(r"(…|\b\d+\.\d+\b| +)", shown.strip("\n"))
    rule = {"…": "(?s:.*?)", " ": " +"}
    pattern = "".join(
        rule.get(one[:1], r"\d+\.\d+") if n % 2 else re.escape(one) for n, one in enumerate(parts)
    )
    return re.fullmatch(pattern, printed.strip("\n")) is not None


@dataclass
class Reader:
    """Somebody who does what a page says, in one terminal, and compares what it shows."""

    folder: Path
    """Where the terminal is."""
    environment: dict[str, str]
    state: Path
    """A file of ours, beside the reader's folder."""
    _beside: list[subprocess.Popen[str]] = field(default_factory=list)

    def follow(self, page: str) -> list[tuple[Block, float]]:
        """Do it all; what was run, with the seconds it took. Fails at the first block that does not work, or that
        shows what was not printed."""
        done: list[tuple[Block, float]] = []
        printed: str | None = None
        for block in blocks(page):
            if block.mark.startswith("file="):
                (self.folder / block.mark.removeprefix("file=")).write_text(block.text)
            elif block.mark == "beside":
                self._beside.append(self._start(block))
            elif block.mark == "run":
                began = time.monotonic()
                printed = self._run(block)
                done.append((block, time.monotonic() - began))
                continue
            elif block.language == "text" and printed is not None:
                assert shows(block.text, printed), (
                    f"line {block.line} shows\n{block.text}\nand not\n{printed}"
                )
            elif block.mark or block.language != "console":
                raise AssertionError(f"line {block.line}: nobody knows whether this {block.language} works")
            printed = None
        return done

    def close(self) -> None:
        """End what runs beside."""
        for process in self._beside:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(20)
        self._beside.clear()

    def _start(self, block: Block) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", f"exec {block.text}"],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

    def _run(self, block: Block) -> str:
        done = subprocess.run(
            # -a: what a block assigns is there in the next one, as in a terminal.
            ["bash", "-aeuo", "pipefail", "-c", block.text + _STATE],
            cwd=self.folder,
            env={**self.environment, "READER_STATE": str(self.state)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        assert done.returncode == 0, f"line {block.line}:\n{block.text}\n{done.stdout}\n{done.stderr}"
        self._remember(self.state.read_text())
        self.close()
        # A terminal gets a line's end after an answer; notes follow it.
        return "\n".join(one.rstrip("\n") for one in (done.stdout, done.stderr) if one)

    def _remember(self, state: str) -> None:
        where, _, variables = state.partition("\n")
        self.folder = Path(where)
        pairs = (one.partition("=") for one in variables.split("\0") if one)
        self.environment = {name: value for name, _, value in pairs if name != "READER_STATE"}
