"""Call holdfast's endpoints from Python.

>>> import holdfast_client
>>> client = holdfast_client.Client()
>>> client.infer("echo", {"text": "hello"}).json()
{'text': 'hello'}

`Client` is for threads, `AsyncClient` for asyncio; both are shells around one core that does no I/O. Nothing
of the platform is needed here: no Pulumi, no Kubernetes.
"""

from httpx2 import ServerSentEvent

from holdfast_client._async_client import AsyncClient, AsyncJob
from holdfast_client._client import Client, Job
from holdfast_client._config import read_token_file
from holdfast_client._errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadGatewayError,
    BadRequestError,
    ConfigurationError,
    ConflictError,
    DeadlineError,
    GoneError,
    HoldfastError,
    InternalServerError,
    JobCanceledError,
    JobError,
    JobExpiredError,
    JobFailedError,
    NotFoundError,
    PermissionDeniedError,
    Problem,
    RateLimitError,
    RequestTooLargeError,
    ServiceUnavailableError,
    StreamBrokenError,
    UnprocessableEntityError,
)
from holdfast_client._media import Media, MediaError, audio, file, image, video
from holdfast_client._streams import AsyncStream, Stream
from holdfast_client._types import (
    DEFAULT,
    Answer,
    ColdStartPhase,
    EndpointInfo,
    JobState,
    JobStatus,
    Phase,
    Progress,
    Replicas,
    TemplateInfo,
    Timings,
)

__all__ = [
    "DEFAULT",
    "APIConnectionError",
    "APIError",
    "APIStatusError",
    "APITimeoutError",
    "Answer",
    "AsyncClient",
    "AsyncJob",
    "AsyncStream",
    "AuthenticationError",
    "BadGatewayError",
    "BadRequestError",
    "Client",
    "ColdStartPhase",
    "ConfigurationError",
    "ConflictError",
    "DeadlineError",
    "EndpointInfo",
    "GoneError",
    "HoldfastError",
    "InternalServerError",
    "Job",
    "JobCanceledError",
    "JobError",
    "JobExpiredError",
    "JobFailedError",
    "JobState",
    "JobStatus",
    "Media",
    "MediaError",
    "NotFoundError",
    "PermissionDeniedError",
    "Phase",
    "Problem",
    "Progress",
    "RateLimitError",
    "Replicas",
    "RequestTooLargeError",
    "ServerSentEvent",
    "ServiceUnavailableError",
    "Stream",
    "StreamBrokenError",
    "TemplateInfo",
    "Timings",
    "UnprocessableEntityError",
    "audio",
    "file",
    "image",
    "read_token_file",
    "video",
]
