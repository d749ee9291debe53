"""Files that only their owner may read. They appear whole: whoever reads while they are written, or after the writer
was killed, sees all of one content."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def write(file: Path, text: str) -> None:
    """Replace the file, unless it holds the text already."""
    if file.is_file() and file.read_text() == text:
        return
    handle, partial = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")  # of mode 600
    with os.fdopen(handle, "w") as stream:
        stream.write(text)
    Path(partial).replace(file)


def once(file: Path, make: Callable[[], str]) -> str:
    """The text of a file, made at first use, or where a process was killed before it wrote. Of several who are first at
    the same moment, one makes it for all."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        if not file.is_file() or file.stat().st_size == 0:
            write(file, make())
        return file.read_text()
    finally:
        os.close(folder)
