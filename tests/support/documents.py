"""Endpoint documents for tests."""

from __future__ import annotations

from typing import Any

from holdfast_contract.document import EndpointDocument, Scaling

SCALING = {
    "min_replicas": 0,
    "max_replicas": 3,
    "timeout_s": 60,
    "concurrency": 1,
    "max_queue": 10,
    "startup_budget_s": 60,
    "max_request_s": 60,
}


def endpoint_document(name: str = "chat", **fields: Any) -> EndpointDocument:
    """An endpoint with what a test does not care about filled in; fields of `scaling` may stand beside the others."""
    scaling = {key: fields.pop(key, value) for key, value in SCALING.items()}
    filled = {"namespace": "holdfast", "deployment": name, "image": "registry.example/chat:1", "port": 8000}
    return EndpointDocument(name=name, scaling=Scaling(**scaling), **{**filled, **fields})
