"""Names that more than one part uses. A name lives here or in exactly one package."""

from __future__ import annotations

from typing import Final

# --- Kubernetes -------------------------------------------------------------------------------------------
DOMAIN: Final = "holdfast.dev"
LABEL_ENDPOINT: Final = f"{DOMAIN}/endpoint"
"""On every object and pod of an endpoint; the value is the endpoint's name."""
LABEL_COMPONENT: Final = f"{DOMAIN}/component"
"""`document`, `replica`, `gateway`, `scaler` or `queue`."""
COMPONENT_DOCUMENT: Final = "document"
COMPONENT_REPLICA: Final = "replica"
DOCUMENT_KEY: Final = "endpoint.json"
"""The key of the endpoint document inside its ConfigMap."""
ANNOTATION_SECRET_VERSION: Final = f"{DOMAIN}/secret-version"
MODEL_CONTAINER: Final = "model"
WORKER_CONTAINER: Final = "worker"
GPU_RESOURCE: Final = "nvidia.com/gpu"
SECRET_STORE: Final = "holdfast-aws"
"""The External Secrets SecretStore, in the endpoints' namespace, that reads AWS Secrets Manager."""

SYSTEM_NAMESPACE: Final = "holdfast-system"
"""Default namespace of NATS, gateway and scaler."""
ENDPOINTS_NAMESPACE: Final = "holdfast"
"""Default namespace of endpoint documents and replicas."""

# --- Ports ------------------------------------------------------------------------------------------------
GATEWAY_PORT: Final = 8080
"""Callers' side: endpoints' routes, requests, /v1, page."""
GATEWAY_INTERNAL_PORT: Final = 8081
"""Workers' replies, /metrics, /healthz, /readyz; never exposed outside the cluster."""
SCALER_PORT: Final = 8090
"""gRPC: KEDA's external scaler protocol."""
SCALER_HTTP_PORT: Final = 8091
"""/metrics, /healthz, /readyz."""
WORKER_PORT: Final = 8095
"""Beside each model: /metrics, /healthz, /readyz, /drain."""
DRAIN_UNTIL_RESTART: Final = "until=model-restart"
"""The query of a drain that ends when another model answers in the container that is stopped."""
NATS_PORT: Final = 4222

# --- Headers ----------------------------------------------------------------------------------------------
HEADER_REQUEST_ID: Final = "x-request-id"
"""On every answer: holdfast's id of the request."""
HEADER_DEADLINE: Final = "x-deadline"
"""From the caller: seconds from now, or an RFC 3339 time, after which the answer is of no use."""
HEADER_IDEMPOTENCY_KEY: Final = "idempotency-key"
HEADER_WEBHOOK_URL: Final = "webhook-url"
HEADER_SHOULD_RETRY: Final = "x-should-retry"
HEADER_ATTEMPT: Final = "x-attempt"
"""To the model and on the answer: 1 for the first delivery."""
HEADER_REPLICA: Final = "x-replica"
"""On the answer: the pod that worked on it."""
HEADER_QUEUE_SECONDS: Final = "x-queue-s"
"""On the answer: seconds from acceptance until a replica took the request."""
HEADER_MODEL_SECONDS: Final = "x-model-s"
"""On the answer: seconds from the replica taking the request to the first byte of its answer."""
HEADER_ACK: Final = "holdfast-ack"
"""From worker to gateway only: the message's acknowledgement subject, so that the gateway can give the request
back at once when the worker dies."""

# --- Paths ------------------------------------------------------------------------------------------------
PATH_ENDPOINT: Final = "/e"
"""`/e/<endpoint>/<route>`: an endpoint's routes where wildcard DNS is missing."""
PATH_REQUESTS: Final = "/requests"
PATH_REPLY: Final = "/reply"
"""On the gateway's internal port: `/reply/<request id>`, where a worker streams an answer to."""

PATH_BODIES: Final = "/bodies"
"""On the gateway's internal port: `/bodies/<name>`, where workers find large bodies that lie in a bucket."""

# --- Queue ------------------------------------------------------------------------------------------------
CONSUMER: Final = "w"
"""The one durable pull consumer of every endpoint's stream."""
BUCKET_REQUESTS: Final = "requests"
"""KV: state and result of every request, 24 h."""
BUCKET_ACTIVITY: Final = "activity"
"""KV: time of the last request of every endpoint, Unix seconds as decimal text."""
BUCKET_USAGE: Final = "usage"
"""KV: what each endpoint cost in each month, by `<endpoint>.<yyyy-mm>`; kept 400 days."""
BUCKET_BODIES: Final = "bodies"
"""Object store: request bodies above INLINE_BODY_BYTES, and stored results."""
INLINE_BODY_BYTES: Final = 256 * 1024
"""Bodies up to this size travel inside the message; NATS's default message limit is 1 MiB."""
STREAM_WEBHOOKS: Final = "webhooks"
"""Work-queue stream: webhooks to be delivered, on subjects `webhook.<endpoint>.<request id>`."""
RETENTION_S: Final = 24 * 3600


def stream_name(endpoint: str) -> str:
    """The work-queue stream of an endpoint: `q_<endpoint>`."""
    return f"q_{endpoint}"


def queue_subject(endpoint: str, request_id: str) -> str:
    """Where a request is published."""
    return f"q.{endpoint}.{request_id}"


def wake_subject(endpoint: str) -> str:
    """Core subject: something was queued for this endpoint just now. `*` for all endpoints."""
    return f"wake.{endpoint}"


def cancel_subject(endpoint: str, request_id: str) -> str:
    """Core subject: stop working on this request. `*` for any request."""
    return f"cancel.{endpoint}.{request_id}"


SUBJECT_GATEWAYS: Final = "gateways"
"""Core subject: every gateway says every two seconds that it lives."""


def webhook_subject(endpoint: str, request_id: str) -> str:
    """Where the end of a request with a webhook is published."""
    return f"webhook.{endpoint}.{request_id}"


def done_subject(endpoint: str, request_id: str) -> str:
    """Core subject: this request ended, and its record says how. `*` for any."""
    return f"done.{endpoint}.{request_id}"


def body_name(endpoint: str, request_id: str, part: str = "request") -> str:
    """What a large body is called in its store: `<endpoint>.<id>.request` or `….result`. The endpoint comes first,
    so that rights can end there."""
    return f"{endpoint}.{request_id}.{part}"


def inbox_prefix(part: str, endpoint: str | None = None) -> str:
    """Below which a part's answers arrive. Each has a prefix of its own, so that none hears another's.

    `part`: `gateway`, `scaler` or `worker`; a worker's has its endpoint's name in it.
    """
    return f"_INBOX_{part}" if endpoint is None else f"_INBOX_{part}.{endpoint}"


# --- Environment of the services --------------------------------------------------------------------------
ENV_NATS_URL: Final = "HOLDFAST_NATS_URL"
ENV_NATS_USER: Final = "HOLDFAST_NATS_USER"
ENV_NATS_PASSWORD: Final = "HOLDFAST_NATS_PASSWORD"
"""The broker's user for this part, where the broker knows users by password."""
ENV_NATS_CREDENTIALS: Final = "HOLDFAST_NATS_CREDENTIALS"
"""Path of the broker's credentials file for this part (NATS's own format), as the components make them. Without it,
and without a user: a broker without authentication, as in process tests."""
ENV_BODIES_BUCKET: Final = "HOLDFAST_BODIES_BUCKET"
"""Gateway: the S3 bucket for large bodies; unset: they are kept in the broker. AWS's own variables say the rest:
AWS_REGION, credentials, and AWS_ENDPOINT_URL_S3 for another server of its protocol."""
ENV_BODIES_URL: Final = "HOLDFAST_BODIES_URL"
"""Worker: a gateway's internal port, by way of which it reaches bodies in a bucket; unset: they are in the broker."""
ENV_BODIES_KEY: Final = "HOLDFAST_BODIES_KEY"
"""Path of a file with the key to bodies in a bucket: a worker's own, and for gateways the one that all are made
from (`tokens.body_key`)."""
ENV_NATS_REPLICAS: Final = "HOLDFAST_NATS_REPLICAS"
"""How many servers keep each stream: 1 or 3."""
ENV_NAMESPACE: Final = "HOLDFAST_NAMESPACE"
"""The namespace whose endpoint documents are served."""
ENV_DOCUMENTS_DIR: Final = "HOLDFAST_DOCUMENTS_DIR"
"""Read endpoint documents from files here instead of from Kubernetes."""
ENV_DOCUMENT: Final = "HOLDFAST_DOCUMENT"
"""Worker: path of its endpoint's document."""
ENV_POD_NAME: Final = "POD_NAME"
ENV_POD_IP: Final = "POD_IP"
ENV_BASE_URL: Final = "HOLDFAST_BASE_URL"
"""The gateway's URL as callers see it, for links in answers."""
ENV_DOMAIN: Final = "HOLDFAST_DOMAIN"
"""Endpoints answer at `<endpoint>.<domain>`; unset: only at `/e/<endpoint>/`."""
ENV_WORKER_STATE_DIR: Final = "HOLDFAST_WORKER_STATE_DIR"
"""Directory shared by worker and model container: the drain script waits for `<dir>/busy` to go."""
ENV_BIND: Final = "HOLDFAST_BIND"
"""The address that gateway, worker and scaler listen on; default `0.0.0.0`."""
ENV_PORT: Final = "HOLDFAST_LISTEN_PORT"
"""Overrides GATEWAY_PORT, a worker's WORKER_PORT or a scaler's SCALER_PORT: for several of them on one machine."""
ENV_INTERNAL_PORT: Final = "HOLDFAST_INTERNAL_LISTEN_PORT"
"""Overrides GATEWAY_INTERNAL_PORT, or a scaler's SCALER_HTTP_PORT."""
ENV_MODEL_URL: Final = "HOLDFAST_MODEL_URL"
"""Worker: where its model answers; default `http://127.0.0.1:<port of the document>`."""
ENV_LOG_LEVEL: Final = "HOLDFAST_LOG_LEVEL"
"""debug, info (default), warning or error."""
ENV_OTLP_ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
"""Gateway and worker: URL of an OpenTelemetry collector (OTLP over HTTP, port 4318 as a rule) that traces are
exported to; unset: no traces. `OTEL_EXPORTER_OTLP_HEADERS` besides, where it wants a key."""
ENV_TRACE_RATIO: Final = "OTEL_TRACES_SAMPLER_ARG"
"""Gateway: share of the traces that begin here which are recorded, 0 to 1 (default). A caller's own decision wins."""
ENV_MAX_BODY_BYTES: Final = "HOLDFAST_MAX_BODY_BYTES"
"""Gateway: the largest request body; default 256 MiB."""
ENV_MAX_CONNECTIONS: Final = "HOLDFAST_MAX_CONNECTIONS"
"""Gateway: how many callers' connections may be at work; default three fifths of the files that it may open, which is
also the most."""
ENV_MAX_RESULT_BYTES: Final = "HOLDFAST_MAX_RESULT_BYTES"
"""Worker: the largest answer that is kept for later, in the broker's store, which all endpoints share; default 1 GiB.
Streamed answers have no limit."""
ENV_DRAIN_S: Final = "HOLDFAST_DRAIN_S"
"""Seconds that a stopping gateway or worker gives to what is under way. A pod's termination grace must be longer."""
ENV_LAME_DUCK_S: Final = "HOLDFAST_LAME_DUCK_S"
"""Gateway: seconds between "not ready" and closing the door, while load balancers take notice; default 5."""
ENV_FORWARDED_HOPS: Final = "HOLDFAST_FORWARDED_HOPS"
"""Gateway: how many proxies in front of it add themselves to X-Forwarded-For; 0 (default): believe nobody."""
ENV_WEBHOOK_NETWORKS: Final = "HOLDFAST_WEBHOOK_NETWORKS"
"""Gateway: private networks (CIDR, separated by commas) that webhooks may go to; default: none."""
ENV_TLS_CERTIFICATE_FILE: Final = "HOLDFAST_TLS_CERTIFICATE_FILE"
ENV_TLS_KEY_FILE: Final = "HOLDFAST_TLS_KEY_FILE"
"""Gateway: paths of a certificate chain and its key (PEM), with which the callers' port speaks TLS; loaded anew when
they are replaced. Both unset: plain HTTP. The internal port is plain always."""
ENV_WEB_DIR: Final = "HOLDFAST_WEB_DIR"
"""Gateway: the folder of the web page; unset: no page."""
ENV_TEMPLATES_DIR: Final = "HOLDFAST_TEMPLATES_DIR"
"""Gateway: the folder of the template catalogue; unset: no catalogue."""
