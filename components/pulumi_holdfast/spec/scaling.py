"""How many replicas run, and how long requests and replicas wait for each other."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from pulumi_holdfast.spec.model import Spec, Whole

MAX_REQUEST_LIMIT_S: Final = 12 * 3600
"""Half of the queue's retention: a request that began on its last minute still has its result kept."""


class ScalingSpec(Spec):
    """How many replicas run, and how long requests and replicas wait for each other."""

    min_replicas: Whole = Field(default=0, ge=0, le=1000)
    """Replicas that always run. 0, the default: nothing runs and nothing is paid for while idle, and the
    first request wakes the endpoint."""
    max_replicas: Whole = Field(default=1, ge=1, le=1000)
    """Replicas that run at most; what exceeds them waits in the queue. 1 by default, so that no declaration
    spends more than one machine unasked."""
    timeout_s: Whole = Field(default=300, ge=1, le=7 * 24 * 3600)
    """Seconds without a request after which the endpoint goes down to `min_replicas`. 300 by default: longer
    than most pauses within a session, shorter than a forgotten afternoon."""
    concurrency: Whole = Field(default=1, ge=1, le=1000)
    """Requests that one replica works on at a time. 1 by default: a model that does not batch is slower with
    two. Servers that batch by themselves (vLLM, TGI) take 16 and more."""
    max_queue: Whole = Field(default=1000, ge=0, le=1_000_000)
    """Requests that wait while all replicas are busy; one more is answered 429. 0: nothing ever waits beyond
    what the replicas themselves can hold."""
    startup_budget_s: Whole = Field(default=600, ge=1, le=6 * 3600)
    """Seconds from a replica being asked for until it must be ready: machine, image, weights. After it, held
    requests are answered 503 with the cause. 600 by default: a GPU machine takes 80-120 s on AWS and a 20 GB
    image 4-6 minutes."""
    max_request_s: Whole = Field(default=900, ge=1, le=MAX_REQUEST_LIMIT_S)
    """Seconds from acceptance until a request must be answered; also how long a stopping replica may still
    work. 900 by default; at most 12 hours."""
