"""The names of the HTTP interface. This package imports nothing of ours, so they stand here a second time; a test
compares them with the contract that gateway and worker use."""

from __future__ import annotations

from typing import Final

HEADER_REQUEST_ID: Final = "x-request-id"
HEADER_DEADLINE: Final = "x-deadline"
HEADER_IDEMPOTENCY_KEY: Final = "idempotency-key"
HEADER_WEBHOOK_URL: Final = "webhook-url"
HEADER_SHOULD_RETRY: Final = "x-should-retry"
HEADER_ATTEMPT: Final = "x-attempt"
HEADER_REPLICA: Final = "x-replica"
HEADER_QUEUE_SECONDS: Final = "x-queue-s"
HEADER_MODEL_SECONDS: Final = "x-model-s"
PATH_ENDPOINT: Final = "/e"
PATH_REQUESTS: Final = "/requests"
PATH_ENDPOINTS: Final = "/v1/endpoints"
PATH_TEMPLATES: Final = "/v1/templates"
PATH_HEALTH: Final = "/healthz"
PROBLEM_TYPE: Final = "application/problem+json"
"""Media type of the gateway's own errors (RFC 9457)."""
IDEMPOTENCY_RUNNING: Final = "idempotency-running"
"""The problem that says: an earlier attempt with this key is still being worked on."""
MAX_POLL_S: Final = 20
"""The gateway holds `GET /requests/<id>?wait=` at most this long."""
