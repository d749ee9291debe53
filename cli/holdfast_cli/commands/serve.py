"""`holdfast serve`: one's own code on this machine, started anew at every change."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click

from holdfast_cli.errors import CommandError
from holdfast_cli.exits import Exit
from holdfast_cli.output import note

_LOOK_EVERY_S = 0.3
_STOP_WITHIN_S = 10.0
"""A call that still runs then is cut off: at a change, the new code matters more."""
_NEEDED = ("starlette", "uvicorn", "multipart")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--port", type=click.IntRange(1, 65535), default=8000, show_default=True, help="On the loopback."
)
@click.option("--reload/--no-reload", default=True, show_default=True, help="Start anew at every change.")
def serve(folder: Path, port: int, reload: bool) -> None:
    """Run the service in FOLDER on this machine until Ctrl-C.

    Uses this Python and its packages: install those of the folder's requirements.in beside holdfast.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise CommandError(
            f"{', '.join(missing)} cannot be imported", "install them: pip install 'pulumi-holdfast[runtime]'"
        )
    if not (folder / "service.py").is_file():
        raise CommandError(
            f"{folder / 'service.py'} is missing", "make a folder with `holdfast init NAME`", Exit.NOT_FOUND
        )
    for line in requests_to_try(folder, port):
        note(line)
    while True:
        with _running(folder, port) as process:
            seen = stamps(folder)
            ended = _until_change(process, folder, seen, reload=reload)
            if ended is not None and not reload:
                raise click.exceptions.Exit(Exit.OK if ended == 0 else Exit.FAILED)
            if ended is not None:
                note(f"it ended with {ended}; waiting for a change in {folder}")
                _until_change(None, folder, seen, reload=True)
            note("changed: starting anew")


def requests_to_try(folder: Path, port: int) -> list[str]:
    """What to paste into another terminal."""
    url = f"http://127.0.0.1:{port}"
    lines = [f"serving {folder} at {url}; its interface: {url}/openapi.json"]
    if (folder / "request.json").is_file():
        lines.append(f"try it: curl {url}/ -H 'content-type: application/json' -d @{folder}/request.json")
    return lines


def stamps(folder: Path) -> Mapping[str, tuple[int, int]]:
    """Time and size of every file that a change of matters; hidden ones and byte code are left out."""
    return {
        str(file): (file.stat().st_mtime_ns, file.stat().st_size)
        for file in folder.rglob("*")
        if file.is_file()
        and not any(
            part.startswith(".") or part in {"__pycache__", "venv"} for part in file.relative_to(folder).parts
        )
    }


def _until_change(
    process: subprocess.Popen[bytes] | None,
    folder: Path,
    seen: Mapping[str, tuple[int, int]],
    *,
    reload: bool,
) -> int | None:
    """The process's exit code where it ended; None where a file changed."""
    while True:
        if process is not None and (code := process.poll()) is not None:
            return code
        try:
            if reload and stamps(folder) != seen:
                return None
        except FileNotFoundError:
            return None  # a file went while it was looked at: that is a change
        time.sleep(_LOOK_EVERY_S)


@contextmanager
def _running(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """The server as a process of its own, ended at the end."""
    environment = {**os.environ, "HOST": "127.0.0.1", "PORT": str(port), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen([sys.executable, "-m", "holdfast_runtime", str(folder)], env=environment)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
