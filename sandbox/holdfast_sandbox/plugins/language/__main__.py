"""`pulumi-language-python <engine address>`: started by the engine, never by hand."""

from __future__ import annotations

import sys
import threading

from pulumi.runtime.proto import language_pb2_grpc

from holdfast_sandbox.plugins.language.host import PythonHost
from holdfast_sandbox.plugins.serving import serve


def main() -> int:
    """Serve one engine until it ends."""
    addresses = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    stopped = threading.Event()
    host = PythonHost(engine_address=addresses[-1] if addresses else "", end=stopped.set)
    return serve(
        lambda server: language_pb2_grpc.add_LanguageRuntimeServicer_to_server(host, server),
        stopped=stopped,
        on_stop=host.end_children,
    )


if __name__ == "__main__":
    sys.exit(main())
