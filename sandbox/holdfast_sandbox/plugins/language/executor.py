"""Runs one Pulumi program. A script: it is started by path, with the interpreter of the program.

It may import nothing but the standard library and `pulumi`, since that interpreter need not have the sandbox.
What it needs to know comes as one JSON line on standard input, not as arguments, because the configuration has
secrets. Standard input stays open as a lifeline: when the host is gone, so is the program.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import os
import runpy
import signal
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

SHOWN = 32
"""Exit code for: it failed, and the user has been told why. The official host uses the same."""


def main() -> int:
    """Run the program described on standard input; returns the exit code."""
    lifeline = os.fdopen(os.dup(0), "rb", buffering=0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    request = json.loads(_read_line(lifeline))
    threading.Thread(target=_die_with_host, args=(lifeline,), daemon=True).start()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: os._exit(SHOWN))
    try:
        import pulumi.runtime
    except ImportError:
        print(
            f"the Pulumi SDK is not installed for {sys.executable}: run `pulumi install`, or name the "
            "environment that has it in runtime.options.virtualenv of Pulumi.yaml",
            file=sys.stderr,
        )
        return 1
    pulumi.runtime.set_all_config(request["config"], request["config_secret_keys"])
    settings = _settings(request["settings"])
    pulumi.runtime.configure(settings)
    os.chdir(request["pwd"])
    sys.argv = [request["program"], *request["args"]]
    # The folder of this script must not shadow modules of the program.
    sys.path[0] = request["program_directory"]
    return _run(request["program"], request["program_directory"], int(settings.parallel or 1))


def _read_line(stream: Any) -> bytes:
    # Unbuffered, byte by byte up to the newline would be slow for large configurations; the line is the only
    # thing that the host ever writes, so whatever has arrived belongs to it.
    collected = b""
    while not collected.endswith(b"\n"):
        part = stream.read(65536)
        if not part:
            break
        collected += part
    return collected


def _die_with_host(lifeline: Any) -> None:
    while lifeline.read(1):
        pass
    os._exit(SHOWN)


def _settings(given: dict[str, Any]) -> Any:
    """The SDK's settings, without what an older SDK does not know."""
    import pulumi.runtime

    known = inspect.signature(pulumi.runtime.Settings.__init__).parameters
    return pulumi.runtime.Settings(**{key: value for key, value in given.items() if key in known})


def _run(program: str, directory: str, parallel: int) -> int:
    import grpc
    import pulumi

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    executor = ThreadPoolExecutor(max_workers=max(parallel, 1) * 4)
    loop.set_default_executor(executor)
    # A graph that fails half-way leaves futures that nobody awaits; asyncio's complaints about them only hide
    # the reason (as the official executor notes).
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    try:
        loop.run_until_complete(pulumi.runtime.run_in_stack(lambda: _start(program)))
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    except grpc.RpcError as error:
        # An engine that was told to stop has closed its monitor: not the program's fault.
        if error.code() != grpc.StatusCode.UNAVAILABLE:
            pulumi.log.error(f"RPC error: {error.details()}")
        return SHOWN
    except Exception as error:
        pulumi.log.error(describe(error, Path(directory)))
        return SHOWN
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
        loop.close()
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def _start(program: str) -> None:
    path = Path(program)
    if path.is_dir() and not (path / "__main__.py").is_file():
        import pulumi

        raise pulumi.RunError(f"there is no `__main__.py` in {path}: that file is the program")
    runpy.run_path(program, run_name="__main__")


def describe(error: BaseException, directory: Path) -> str:
    """The message alone where an error explains itself, else with the traceback of the user's code."""
    if _explains_itself(error):
        return f"{error}{_location(error, directory)}"
    return f"Program failed with an unhandled exception:\n{_users_traceback(error, directory)}"


def _explains_itself(error: BaseException) -> bool:
    """RunError is Pulumi's own sign. Errors about what a user declared name path, value, rule and remedy."""
    names = {f"{kind.__module__}.{kind.__name__}" for kind in type(error).__mro__}
    if names & {"pulumi.errors.RunError", "pydantic_core._pydantic_core.ValidationError"}:
        return True
    return getattr(error, "explains_itself", False) is True


def _users_frames(error: BaseException, directory: Path) -> list[traceback.FrameSummary]:
    """From the first frame in the program's folder on; all of them where there is none."""
    frames = list(traceback.extract_tb(error.__traceback__))
    for number, frame in enumerate(frames):
        if _is_users(frame, directory):
            return frames[number:]
    return frames


def _is_users(frame: traceback.FrameSummary, directory: Path) -> bool:
    # Frozen modules have names like `<frozen runpy>`, which would be taken for files of the current folder.
    file = Path(frame.filename)
    return file.is_absolute() and file.resolve().is_relative_to(directory.resolve())


def _location(error: BaseException, directory: Path) -> str:
    mine = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_users(frame, directory)]
    if not mine:
        return ""
    file = Path(mine[-1].filename).resolve().relative_to(directory.resolve())
    return f"\n  declared at {file}:{mine[-1].lineno}"


def _users_traceback(error: BaseException, directory: Path) -> str:
    kept = len(_users_frames(error, directory))
    return "".join(traceback.format_exception(type(error), error, error.__traceback__, limit=-kept))


if __name__ == "__main__":
    sys.exit(main())
