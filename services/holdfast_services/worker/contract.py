"""The contract before traffic: a replica answers its declared examples, or never takes a request."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Final, Protocol

from holdfast_contract.document import ContractExample
from holdfast_services.worker.model import ModelUnreachable

__all__ = ["ExampleModel", "broken_example"]

_SHOWN_CHARS: Final = 200


class ExampleModel(Protocol):
    """What is needed of the model."""

    async def post(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        """See Model."""


async def broken_example(model: ExampleModel, examples: tuple[ContractExample, ...]) -> str | None:
    """Run the examples in order; what is wrong with the first that fails, for people. None: all are answered as
    declared."""
    for example in examples:
        headers = {name.lower(): value for name, value in example.headers.items()}
        if example.body_base64 is not None:
            body = base64.b64decode(example.body_base64)
        elif example.body_json is not None:
            body = json.dumps(example.body_json).encode()
            headers.setdefault("content-type", "application/json")
        else:
            body = b""
        where = f"contract example {example.name!r} ({example.method} {example.path})"
        try:
            async with asyncio.timeout(example.timeout_s):
                status, answer = await model.post(example.method, example.path, headers, body)
        except TimeoutError:
            return f"{where}: no answer within timeout_s={example.timeout_s}"
        except ModelUnreachable as error:
            return f"{where}: the model broke the connection ({error})"
        shown = answer[:_SHOWN_CHARS].decode("utf-8", "replace")
        if status != example.expect_status:
            return f"{where}: status {status}, not {example.expect_status}: {shown}"
        if example.expect_text is not None and example.expect_text.encode() not in answer:
            return f"{where}: the answer does not contain {example.expect_text!r}: {shown}"
    return None
