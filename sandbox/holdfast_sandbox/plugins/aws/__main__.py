"""`pulumi-resource-aws <engine address>`: started by the engine, never by hand."""

from __future__ import annotations

import sys

from pulumi.runtime.proto import provider_pb2_grpc

from holdfast_sandbox.plugins.aws.provider import AwsProvider
from holdfast_sandbox.plugins.serving import serve


def main() -> int:
    """Serve one engine until it ends."""
    addresses = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    provider = AwsProvider(addresses[-1] if addresses else "")
    return serve(lambda server: provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server))


if __name__ == "__main__":
    sys.exit(main())
