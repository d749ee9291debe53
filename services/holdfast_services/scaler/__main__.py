"""`python -m holdfast_services.scaler`: the only place of the scaler that reads the environment."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path

from holdfast_contract import names
from holdfast_services.broker import Broker
from holdfast_services.credentials import Login
from holdfast_services.documents import DirectoryDocuments, DocumentSource, KubernetesDocuments
from holdfast_services.kube import Cluster
from holdfast_services.logs import configure
from holdfast_services.scaler.app import Listen, run


def main() -> int:
    """Run until SIGTERM. Exit code 2: the environment is wrong; the reason is on standard error."""
    env = os.environ
    try:
        configure("scaler", env.get(names.ENV_LOG_LEVEL, "info"))
        documents = _documents()
        url = env.get(names.ENV_NATS_URL)
        if not url:
            raise ValueError(f"{names.ENV_NATS_URL} is not set: give the broker's URL, as nats://host:4222")
        login = Login.read(env)
        listen = Listen(
            host=env.get(names.ENV_BIND, "0.0.0.0"),
            grpc_port=int(env.get(names.ENV_PORT, names.SCALER_PORT)),
            http_port=int(env.get(names.ENV_INTERNAL_PORT, names.SCALER_HTTP_PORT)),
        )
    except ValueError as error:
        print(f"scaler: {error}", file=sys.stderr)
        return 2

    async def connect() -> Broker:
        name = f"scaler-{socket.gethostname()}"
        return await Broker.connect(url, name, login=login, inbox=names.inbox_prefix("scaler"))

    asyncio.run(run(connect, documents, listen))
    return 0


def _documents() -> DocumentSource:
    directory = os.environ.get(names.ENV_DOCUMENTS_DIR)
    if directory:
        return DirectoryDocuments(Path(directory))
    cluster = Cluster.from_pod()
    if cluster is None:
        raise ValueError(
            f"not in a Kubernetes pod, and {names.ENV_DOCUMENTS_DIR} is not set: "
            "give a directory of endpoint documents"
        )
    return KubernetesDocuments(cluster, os.environ.get(names.ENV_NAMESPACE, names.ENDPOINTS_NAMESPACE))


if __name__ == "__main__":
    sys.exit(main())
