"""What both plugins share: a gRPC server that Pulumi's engine starts, finds, and can rely on to end.

The engine starts a plugin as a child and reads its port from the first line of standard output. It ends a
plugin by SIGINT to its process group, or by a Cancel call in the case of a language host. A plugin also ends
when its engine is gone, however that went.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from concurrent import futures
from types import FrameType
from typing import Final

import grpc

MAX_MESSAGE_BYTES: Final = 400 * 1024 * 1024
"""The engine's own limit for one message (`rpcutil.GrpcChannelOptions`)."""
WORKERS: Final = 32
"""Calls served at the same time; `pulumi up` runs at most 16 operations in parallel unless told otherwise."""
PARENT_CHECK_S: Final = 1.0
"""How often a plugin looks whether its engine is still there."""


def serve(
    add_services: Callable[[grpc.Server], None],
    *,
    stopped: threading.Event | None = None,
    on_stop: Callable[[], None] = lambda: None,
) -> int:
    """Serve until the engine says so or is gone; returns the exit code.

    `stopped`: set it to make the server stop. `on_stop` ends what the plugin started.
    """
    ending = stopped or threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        ending.set()

    # The engine gives plugins a process group of their own, so a SIGINT is never the user's Ctrl-C: it is the
    # engine's way to say that it is done.
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    limits = [
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ]
    server = grpc.server(futures.ThreadPoolExecutor(WORKERS), options=limits)
    add_services(server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    parent = os.getppid()
    print(port, flush=True)
    while not ending.wait(PARENT_CHECK_S) and os.getppid() == parent:
        pass
    on_stop()
    server.stop(grace=0.5).wait()
    return 0
