"""The gateway's OpenAPI document against a real gateway, queue, worker and model.

Schemathesis makes up requests from the document, right and wrong ones, and holds every answer to what it says of it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from holdfast_contract import names, problems, tokens
from holdfast_contract.document import RateLimit, Visibility

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataplane import Gateway, Plane

ROOT: Final = Path(__file__).resolve().parents[3]
OTHER: Final = tokens.new_token("other001")
EXAMPLES: Final = 12
"""Of each operation, right and wrong ones each."""
CHECKS: Final = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@pytest.mark.timeout(180)
async def test_every_answer_to_made_up_requests_is_one_that_the_document_describes(
    plane: Plane, figures: Callable[[str], None]
) -> None:
    plane.document(max_request_s=10)
    plane.document("open", visibility=Visibility.PUBLIC, tokens=())
    plane.document("secret", tokens=(tokens.hash_token(OTHER),))
    plane.document("limited", rate_limit=RateLimit(requests=1, window_s=3600))
    folders = {names.ENV_WEB_DIR: str(ROOT / "web"), names.ENV_TEMPLATES_DIR: str(ROOT / "templates")}
    gateway = await plane.gateway(**folders)
    await asyncio.gather(*(plane.replica(endpoint) for endpoint in ("demo", "open", "limited")))
    async with plane.post(gateway.endpoint("demo"), headers={"prefer": "respond-async"}) as answer:
        request_id = json.loads(await answer.read())["id"]
    known = {
        "endpoint": ["demo", "demo", "open", "secret", "limited"],
        "id": [request_id],
        "template": ["ocr", "embeddings"],
        "path": ["examples/receipt.png"],
        "slug": [problem.slug for problem in problems.ALL],
    }
    seen: Counter[str] = Counter()
    began = time.monotonic()
    operations = await asyncio.to_thread(_try_all, gateway, plane.token, known, seen)
    figures(
        f"{sum(seen.values())} made-up requests to {operations} operations in {time.monotonic() - began:.0f} s, all as "
        f"described; by status {dict(sorted(seen.items()))}"
    )
    assert {"200", "202", "400", "401", "403", "404"} <= set(seen), "too tame"
    assert not {"500", "501", "502"} & set(seen)
    async with plane.post(gateway.endpoint("demo")) as answer:
        assert answer.status == 200


def _try_all(gateway: Gateway, token: str, known: dict[str, list[str]], seen: Counter[str]) -> int:
    """Returns how many operations there are. Raises what Schemathesis finds."""
    schema = schemathesis.openapi.from_url(f"{gateway.url}/openapi.json")
    operations = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        operations += 1
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            _try(operation, mode, gateway, token, known, seen)
    return operations


def _try(
    operation: Any,
    mode: GenerationMode,
    gateway: Gateway,
    token: str,
    known: dict[str, list[str]],
    seen: Counter[str],
) -> None:
    real = st.fixed_dictionaries(
        {name: st.sampled_from([*values, *values, None]) for name, values in known.items()}
    )
    preference = st.sampled_from(["respond-async", "wait=1", None, None])
    sent_token = st.sampled_from([token, token, token, OTHER, "hf_none_" + "x" * 43, None])

    @seed(20261124)
    @settings(
        max_examples=EXAMPLES,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(mode), real=real, token=sent_token, preference=preference)
    def one(case: Any, real: dict[str, str | None], token: str | None, preference: str | None) -> None:
        for name, value in real.items():
            # Names that exist are hard to make up.
            if value is not None and name in (case.path_parameters or {}):
                case.path_parameters[name] = value
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        if preference is not None and "{route}" in operation.path:
            headers["prefer"] = preference
        try:
            answer = case.call(base_url=gateway.url, headers=headers, timeout=20)
        except UnicodeError:
            return  # requests refuses to send it
        seen[str(answer.status_code)] += 1
        if names.HEADER_REPLICA in answer.headers:
            assert answer.status_code < 500, "the stand-in itself fails only when it is told to"
            return  # the model's own answer, whatever it is
        if answer.status_code == 400 and answer.headers["content-type"][0].startswith("text/plain"):
            return  # not HTTP, or above its bounds: refused by the server, before there is a request
        case.validate_response(answer, checks=CHECKS)

    try:
        one()
    except Unsatisfiable:
        # Nothing can be wrong in a request without parameters.
        assert mode is GenerationMode.NEGATIVE


async def test_the_document_describes_every_kind_of_problem(plane: Plane) -> None:
    gateway = await plane.gateway()
    async with plane.http.get(f"{gateway.url}/openapi.json") as answer:
        text = await answer.text()
    document = json.loads(text)
    answers = [
        response
        for operations in document["paths"].values()
        for operation in operations.values()
        for response in operation["responses"].items()
    ]
    described = {(status, body) for status, response in answers for body in [json.dumps(response)]}
    for problem in problems.ALL:
        if problem is problems.METHOD_NOT_ALLOWED:
            continue  # of methods that are not described
        assert any(
            status == str(problem.status) and f"`{problem.slug}`" in body for status, body in described
        ), problem.slug
        async with plane.http.get(f"{gateway.url}/problems/{problem.slug}") as answer:
            assert answer.status == 200
