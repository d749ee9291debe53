"""Serves the service in a folder: `python -m holdfast_runtime [FOLDER]`.

HOST (0.0.0.0: the pod's network decides who reaches it) and PORT (8000) say where. SIGTERM ends it once what runs is
finished; exit code 1 where the class cannot be served or its `setup` failed.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import traceback
from pathlib import Path

import uvicorn

from holdfast_runtime.app import Runtime
from holdfast_runtime.loading import load
from holdfast_runtime.routes import ServiceError


def main(arguments: list[str]) -> int:
    """Serve until a signal; returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    folder = Path(arguments[0] if arguments else ".")
    try:
        runtime = Runtime(load(folder), on_failure=lambda: setattr(server, "should_exit", True))
    except ServiceError as error:
        print(f"{folder} cannot be served:", *str(error).splitlines(), sep="\n  ", file=sys.stderr)
        return 1
    except Exception:
        print(f"{folder} cannot be served: importing it failed", file=sys.stderr)
        traceback.print_exc()
        return 1
    server = uvicorn.Server(
        uvicorn.Config(
            runtime.app(),
            host=os.environ.get("HOST") or "0.0.0.0",
            port=int(os.environ.get("PORT") or 8000),
            log_level="warning",
            # No limit of its own: what runs is finished, and the orchestrator's grace is the limit.
            timeout_graceful_shutdown=None,
            ws="none",
        )
    )
    # The server repeats the signals that stopped it once all is done: by then they mean nothing any more.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    server.run()
    return 1 if runtime.failure or not server.started else 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # A thread that hangs must not keep the process from ending.
    os._exit(code)
