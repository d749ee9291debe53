"""Serve the language host; the engine reads the port from the first line of output."""

from __future__ import annotations

import signal
import sys
from concurrent import futures

import grpc
from pulumi.runtime.proto import language_pb2_grpc

from holdfast_sandbox.plugins.language.host import LanguageHost

MAX_MESSAGE_BYTES = 400 * 1024 * 1024
"""The engine's own limit."""


def main() -> int:
    """Serve until the engine ends this process."""
    # Ctrl-C reaches the whole terminal group; the engine decides what it means and ends us when it is done.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    addresses = [word for word in sys.argv[1:] if not word.startswith("-")]
    options = [
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ]
    server = grpc.server(futures.ThreadPoolExecutor(16), options=options)
    host = LanguageHost(addresses[0] if addresses else "", end=lambda: server.stop(grace=1))
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(host, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)

    def end(_signal: int, _frame: object) -> None:
        host.end_programs()
        server.stop(grace=1)

    signal.signal(signal.SIGTERM, end)
    server.wait_for_termination()
    return 0


if __name__ == "__main__":
    sys.exit(main())
