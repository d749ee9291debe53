"""Runs one Pulumi program to its end, in the program's own interpreter: nothing of holdfast may be imported here.

Standard input holds the engine's RunRequest. Exit code 0: done; 32: the engine has been told what is wrong.
"""

import asyncio
import contextlib
import ctypes
import logging
import os
import runpy
import signal
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor

BAIL_EXIT_CODE = 32
PR_SET_PDEATHSIG = 1


def main() -> int:
    """Run the program that standard input describes."""
    # The engine decides what Ctrl-C means: it closes the monitor, and the program ends by that. But when the
    # language host is gone, nobody is left to end us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    import grpc
    import pulumi
    from pulumi.runtime import proto
    from pulumi.runtime.stack import run_in_stack

    request = proto.language_pb2.RunRequest.FromString(sys.stdin.buffer.read())
    folder = request.info.program_directory or request.pwd
    entry = os.path.normpath(os.path.join(folder, request.info.entry_point or "."))
    sys.path.insert(0, entry if os.path.isdir(entry) else os.path.dirname(entry))
    sys.argv = [entry, *request.args]
    pulumi.runtime.reset_options(
        project=request.project,
        stack=request.stack,
        organization=request.organization or "organization",
        monitor_address=request.monitor_address,
        engine_address=os.environ.get("PULUMI_ENGINE_ADDRESS", ""),
        parallel=request.parallel,
        preview=request.dryRun,
    )
    pulumi.runtime.set_all_config(dict(request.config), list(request.configSecretKeys))
    # Failures of single awaitables reach us through run_in_stack; asyncio would tell them a second time.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.set_default_executor(ThreadPoolExecutor(max_workers=max(request.parallel, 1) * 4))
    try:
        loop.run_until_complete(run_in_stack(lambda: runpy.run_path(entry, run_name="__main__")))
    except pulumi.RunError as error:
        pulumi.log.error(str(error))
        return BAIL_EXIT_CODE
    except grpc.RpcError as error:
        if error.code() == grpc.StatusCode.UNAVAILABLE:
            return 0  # the engine is shutting down, and knows why
        pulumi.log.error(f"the engine refused: {error.details()}")
        return BAIL_EXIT_CODE
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException as error:
        pulumi.log.error(f"Program failed with an unhandled exception:\n{_told(error, entry)}")
        return BAIL_EXIT_CODE
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
            with contextlib.suppress(BaseException):
                loop.run_until_complete(task)
        loop.close()
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def _told(error: BaseException, entry: str) -> str:
    """The traceback from the user's code on; what runs the program is nobody's concern."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [number for number, frame in enumerate(frames) if frame.filename.startswith(entry)]
    kept = frames[own[0] :] if own else frames
    lines = traceback.format_list(kept) + traceback.format_exception_only(error)
    return "Traceback (most recent call last):\n" + "".join(lines)


if __name__ == "__main__":
    sys.exit(main())
