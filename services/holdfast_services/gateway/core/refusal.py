"""Why a request is not served. The contract's table of problems turns it into HTTP."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from holdfast_contract import names
from holdfast_contract.problems import Problem

__all__ = ["Answer", "Refusal", "problem_answer"]


class Refusal(Exception):
    """A request is refused or failed, for a reason of the contract's table."""

    def __init__(
        self,
        problem: Problem,
        detail: str = "",
        *,
        retry_after_s: float | None = None,
        headers: Mapping[str, str] | None = None,
        retry: bool | None = None,
    ) -> None:
        """`retry_after_s`: when it may work again, None: unknown. `retry`: overrides the problem's own word,
        where execution may have begun."""
        super().__init__(f"{problem.slug}: {detail}")
        self.problem = problem
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.headers = dict(headers or {})
        self.retry = problem.retry if retry is None else retry


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete small answer of the gateway itself."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = field(default=())


def _openai_error(refusal: Refusal) -> dict[str, str | None]:
    """The same once more where OpenAI's clients look for it (an extension member, RFC 9457 3.2): they show the
    message, and only the status where there is none."""
    problem = refusal.problem
    said = f"{problem.title}: {refusal.detail}" if refusal.detail else problem.title
    message = f"{said.removesuffix('.')}. {problem.remedy}"
    return {"message": message, "type": problem.slug, "code": problem.slug, "param": None}


def problem_answer(refusal: Refusal, request_id: str | None) -> Answer:
    """The RFC 9457 document of a refusal. `request_id` stands in it and in a header where there is one."""
    problem = refusal.problem
    document: dict[str, object] = {
        "type": problem.type,
        "title": problem.title,
        "status": problem.status,
        "detail": refusal.detail,
        "remedy": problem.remedy,
        "error": _openai_error(refusal),
    }
    headers = {
        "content-type": "application/problem+json",
        names.HEADER_SHOULD_RETRY: "true" if refusal.retry else "false",
        **refusal.headers,
    }
    if request_id is not None:
        document["request_id"] = request_id
        headers[names.HEADER_REQUEST_ID] = request_id
    if refusal.retry_after_s is not None:
        # Whole seconds, rounded up: earlier would be too early.
        headers["retry-after"] = str(max(1, -int(-refusal.retry_after_s // 1)))
    if problem.status == 401:
        headers["www-authenticate"] = 'Bearer realm="holdfast"'
    body = json.dumps(document).encode()
    headers["content-length"] = str(len(body))
    return Answer(
        problem.status,
        body,
        tuple((name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()),
    )
